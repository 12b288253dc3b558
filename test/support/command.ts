/** The antipode command beside a test system: a process of its own, as an operator starts it, that holds up nobody. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/runtime';

const MAIN = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
}

/** Runs it to its end. `within` starts it by another program, which gets the command line behind its own words. */
export function antipode(
  args: readonly string[],
  { configFile, within = [] }: { configFile?: string | undefined; within?: readonly string[] } = {},
): Promise<Ended> {
  const [program = process.execPath, ...words] = [...within, process.execPath, MAIN, ...args];
  const startedMs = systemClock.monotonicMs();
  const env = { ...process.env, NO_COLOR: '1', ...(configFile === undefined ? {} : { ANTIPODE_CONFIG: configFile }) };
  return new Promise((resolve) => {
    execFile(program, words, { env }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr, tookMs: systemClock.monotonicMs() - startedMs });
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
