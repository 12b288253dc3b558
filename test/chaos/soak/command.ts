/** The `antipode` command as an operator and a script use it: a process, its exit status, its JSON. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../../apps/cli/src/main.ts', import.meta.url));

export interface Answer {
  /** Exit status; -1 where a signal ended it. */
  readonly status: number;
  /** Its output, if that is JSON. */
  readonly data: unknown;
  readonly stderr: string;
}

export class Command {
  readonly #config: string;
  readonly #cache: string;

  constructor(folder: string) {
    this.#config = join(folder, 'operator', 'operator.yaml');
    this.#cache = join(folder, 'compile-cache');
  }

  run(...args: string[]): Promise<Answer> {
    const env = { ...process.env, ANTIPODE_CONFIG: this.#config, NODE_COMPILE_CACHE: this.#cache };
    return new Promise((resolve) => {
      execFile(process.execPath, [MAIN, ...args, '--json'], { env, timeout: 180_000 }, (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ status, data: parsed(stdout), stderr });
      });
    });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The error from its line of JSON on standard error. */
export function messageOf(stderr: string): string {
  const line = stderr.trim().split('\n').at(-1) ?? '';
  const { error } = (parsed(line) ?? {}) as { error?: { code: string; message: string } };
  return error === undefined ? line : `[${error.code}] ${error.message}`;
}
