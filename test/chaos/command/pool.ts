/** Worker processes that run seeds side by side. They end with this process. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Ask, Tell, Told } from './messages.ts';

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url));

/** Loading the product takes half as long from here. Each mutant has a process of its own. */
const COMPILED = fileURLToPath(new URL('../../../node_modules/.cache/antipode/compiled', import.meta.url));

/** Two of them are in memory. */
const YOUNG_MB = 128;

/**
 * Seeds in turn, each as soon as a worker is free. Ends early where `told` returns true, and at once when the signal
 * aborts: the seeds under way count for nothing then.
 */
export async function runSeeds(options: {
  readonly seeds: Iterable<Ask>;
  readonly workers: number;
  readonly mutant?: string;
  readonly signal?: AbortSignal;
  readonly told: (told: Told) => boolean;
}): Promise<void> {
  const { workers, mutant, signal, told } = options;
  const seeds = options.seeds[Symbol.iterator]();
  let isOver = false;
  const lane = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const child: ChildProcess = fork(WORKER, mutant === undefined ? [] : [mutant], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        env: { ...process.env, NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? COMPILED },
        // A seed leaves much behind that its end makes garbage. There is room for all of it, so that it is collected
        // then, and not before, when most of it would have to be copied.
        execArgv: [`--min-semi-space-size=${YOUNG_MB}`, `--max-semi-space-size=${YOUNG_MB}`, '--expose-gc'],
      });
      let seed: number | undefined;
      const stop = (): void => {
        isOver = true;
        if (child.connected) child.disconnect();
      };
      signal?.addEventListener('abort', stop, { once: true });
      if (signal?.aborted === true) stop();
      const next = (): void => {
        if (!child.connected) return;
        const { done, value } = isOver ? { done: true, value: undefined } : seeds.next();
        seed = value?.seed;
        if (done === true || value === undefined) child.disconnect();
        else child.send(value);
      };
      child.on('message', (message) => {
        const answer = message as Tell;
        if (answer !== 'ready' && told(answer)) isOver = true;
        next();
      });
      child.on('error', reject);
      child.on('exit', (code) => {
        signal?.removeEventListener('abort', stop);
        if (code === 0) return resolve();
        if (seed === undefined) return reject(new Error(`a worker has ended with ${code}`));
        // A defect that ends the process: in a mutant it is caught so.
        const violation = {
          invariant: 'defect',
          checker: 'process',
          text: `the process has ended with ${code}`,
          atMs: 0,
          step: 0,
        };
        told({ seed, violations: [violation], virtualMs: 0, checks: 0, faults: {}, lines: 0, acts: [] });
        isOver = true;
        resolve();
      });
    });
  await Promise.all(Array.from({ length: workers }, lane));
}
