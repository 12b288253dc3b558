/** The antipode command beside a test system: a process of its own, as an operator starts it, that holds up nobody. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The code of one that ended by no exit of its own: by a signal. */
export const STOPPED = -1;

export interface CommandOptions {
  readonly configFile?: string | undefined;
  /** Another program that starts it, and gets the command line behind its own words. */
  readonly within?: readonly string[];
  /** Kills it. */
  readonly signal?: AbortSignal;
}

/** Runs it to its end. */
export function antipode(
  args: readonly string[],
  { configFile, within = [], signal }: CommandOptions = {},
): Promise<Ended> {
  const [program = process.execPath, ...words] = [...within, process.execPath, MAIN, ...args];
  const env = { ...process.env, NO_COLOR: '1', ...(configFile === undefined ? {} : { ANTIPODE_CONFIG: configFile }) };
  return new Promise((resolve) => {
    execFile(program, words, { env, killSignal: 'SIGKILL', ...(signal && { signal }) }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : STOPPED;
      resolve({ code, stdout, stderr });
    });
  });
}

/** The operator's configuration in the folder of a system, and the address of the coordinator in it. */
export function operatorConfigOf(folder: string): { file: string; port: number } {
  const file = join(folder, 'operator', 'operator.yaml');
  const [, port] = /localhost:(\d+)/.exec(readFileSync(file, 'utf8')) ?? [];
  return { file, port: Number(port) };
}

/** A copy beside it that names another address. */
export function operatorConfigAt(folder: string, address: string, name: string): string {
  const { file } = operatorConfigOf(folder);
  const copy = join(folder, 'operator', `${name}.yaml`);
  writeFileSync(copy, readFileSync(file, 'utf8').replace(/localhost:\d+/, address));
  return copy;
}
