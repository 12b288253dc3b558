/** A program under a supervisor of its own (main.ts), as `antipode run` sees it. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { AntipodeError, type Clock } from '@antipode/runtime';
import type { Order, Report } from './messages.ts';
import { adoptedBy, descendantsOf, endDescendants } from './process-tree.ts';

const MAIN = new URL('./main.ts', import.meta.url);

/** How much longer than the grace time a supervisor may take to end everything, before it is done without it. */
const SUPERVISOR_MS = 2_000;

/** How long it may take to answer. One that is stopped answers nothing. */
const ANSWER_MS = 1_000;

/** Exit status of a program that was killed, as a shell gives it. */
const KILLED = 137;

export interface ProgramOptions {
  readonly command: readonly [string, ...string[]];
  readonly env: NodeJS.ProcessEnv;
  readonly graceMs: number;
  readonly stdio: 'inherit' | 'ignore';
  /**
   * Whether everything below this process belongs to the program, so that this process can end it where the supervisor
   * cannot. It has adopted orphans then, and started nothing else.
   */
  readonly isAlone: boolean;
  readonly clock: Clock;
  /** One line for people. */
  readonly note: (line: string) => void;
}

export interface Program {
  /** The exit status, as a shell gives it, when the program and everything that it has started has ended. */
  readonly ended: Promise<number>;
  /** Whether the program itself has ended, as the supervisor knows. */
  hasEnded(): Promise<boolean>;
  /** @returns false where the program has ended */
  signal(signal: NodeJS.Signals): boolean;
  /** Ends the program and everything that it has started. Resolves when nothing of it is left. */
  end(): Promise<void>;
}

/** `ended` rejects with PROGRAM_MISSING */
export function startProgram({ command, env, graceMs, stdio, isAlone, clock, note }: ProgramOptions): Program {
  const child = fork(fileURLToPath(MAIN), [String(graceMs), ...command], {
    stdio: [stdio, stdio, stdio, 'ipc'],
    execArgv: [],
    env,
  });
  let status: number | undefined;
  let failure: AntipodeError | undefined;
  let onRuns = (): void => {};
  const isReady = (): boolean => child.connected && status === undefined && failure === undefined;
  const tell = (order: Order): boolean => isReady() && child.send(order, () => {});
  const missing = (reason: string, cause?: Error): AntipodeError =>
    new AntipodeError('PROGRAM_MISSING', `cannot start ${command[0]}: ${reason}`, {
      details: { program: 'setpriv' },
      ...(cause === undefined ? {} : { cause }),
    });
  const onRefused = (pid: number): void => note(`waiting for process ${pid}, which this user must not end`);
  const clearAway = async (limitMs: number): Promise<void> => {
    const { reapChild } = await import('@antipode/cryptoki/process-adoption');
    await endDescendants(process.pid, { clock, graceMs: limitMs, onRefused });
    for (const pid of adoptedBy(process.pid, { except: child.pid })) reapChild(pid);
  };

  child.on('message', (report: Report) => {
    if (report.kind === 'refused') return onRefused(report.pid);
    if (report.kind === 'runs') return onRuns();
    if (report.kind === 'not-started') failure = missing(report.reason);
    else {
      status = report.status;
      if (report.left > 0)
        note(`the program has ended. Ending the other processes that it has started: ${report.left}`);
    }
  });
  const { promise: ended, resolve, reject } = Promise.withResolvers<number>();
  child.once('error', (cause) => reject(missing(cause.message, cause)));
  child.once('exit', () => {
    if (failure !== undefined) return reject(failure);
    if (status !== undefined) return resolve(status);
    note('the supervisor of the program was killed: ending the program');
    (isAlone ? clearAway(graceMs) : Promise.resolve()).then(() => resolve(KILLED), reject);
  });
  // Where nobody waits for it at the moment, it is waited for in the next round.
  ended.catch(() => {});

  return {
    ended,
    async hasEnded() {
      const answered = new AbortController();
      if (tell({ kind: 'look' })) {
        onRuns = () => answered.abort();
        void ended.finally(onRuns).catch(() => {});
        await clock.sleep(ANSWER_MS, answered.signal);
      }
      return status !== undefined;
    },
    signal: (signal) => tell({ kind: 'signal', signal }),
    async end() {
      tell({ kind: 'end' });
      const over = new AbortController();
      const isLate = clock.sleep(graceMs + SUPERVISOR_MS, over.signal).then(() => !over.signal.aborted);
      try {
        // A supervisor that is stopped ends nothing.
        if (isAlone && (await Promise.race([ended.then(() => false), isLate]))) {
          note(`the program has not ended in time: killing ${descendantsOf(process.pid).length} processes`);
          await clearAway(0);
        }
        await ended;
      } finally {
        over.abort();
      }
    },
  };
}
