/**
 * A server of our own as a child process: started again when it dies, stopped in order, and never left behind, since the
 * kernel ends it when we are killed (PR_SET_PDEATHSIG, set by setpriv).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { AntipodeError, backoffMs, type Clock, type Closeable, type Log, type Prng } from '@antipode/runtime';
import { untilFree } from './folder-holders.ts';

export interface ChildOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Where its data is, and where it lives: nobody else may. */
  readonly folder: string;
  /** Sent by close, and by the kernel when this process is killed. */
  readonly stopSignal: 'SIGTERM' | 'SIGINT';
  /** Another user to run as; only where this process is root. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Resolves when the server answers. */
  readonly answers: () => Promise<boolean>;
  /** For a server whose data may be lost: takes away what it does not start on. It is tried once more after that. */
  readonly wipe?: () => void;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
}

const POLL_MS = 25;
const START_MS_MAX = 30_000;
/** Shorter than a stop of the whole process may take. */
const STOP_MS_MAX = 6_000;
const OUTPUT_LINES_KEPT = 20;

export class SupervisedChild implements Closeable {
  readonly #options: ChildOptions;
  readonly #stop = new AbortController();
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #watching: Promise<void> | undefined;
  #output: string[] = [];

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the server answers. @throws PROGRAM_MISSING, FILE_EXISTS when an earlier one still lives in the folder */
  async start(): Promise<void> {
    await this.#bringUp();
    this.#watching = this.#watch();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#child?.kill(this.#options.stopSignal);
    const forced = new AbortController();
    void this.#options.clock.sleep(STOP_MS_MAX, forced.signal).then(() => {
      if (!forced.signal.aborted) this.#child?.kill('SIGKILL');
    });
    await this.#ended;
    forced.abort();
    await this.#watching;
  }

  async #bringUp(): Promise<void> {
    const { wipe, log, name, folder, clock } = this.#options;
    await untilFree({ folder, server: name }, { clock, signal: this.#stop.signal });
    if (this.#stop.signal.aborted) return;
    this.#spawn();
    try {
      await this.#untilItAnswers();
    } catch (error) {
      if (wipe === undefined || this.#stop.signal.aborted) throw error;
      log.warn('embedded server does not start: wiping its data, which loses nothing', { server: name, error });
      this.#child?.kill('SIGKILL');
      await this.#ended;
      wipe();
      this.#spawn();
      await this.#untilItAnswers();
    }
  }

  #spawn(): void {
    const { command, args, stopSignal, user, name } = this.#options;
    const identity = user === undefined ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--init-groups'];
    const child = spawn(
      'setpriv',
      [...identity, `--pdeathsig=${stopSignal.replace('SIG', '')}`, '--', command, ...args],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8' },
        cwd: '/',
      },
    );
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = [...this.#output, ...text.trimEnd().split('\n')].slice(-OUTPUT_LINES_KEPT);
      });
    }
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => {
        this.#output.push(`${name}: ${error.message}`);
        resolve();
      });
      child.once('exit', () => resolve());
    });
  }

  async #untilItAnswers(): Promise<void> {
    const { clock, name, answers } = this.#options;
    const startedMs = clock.monotonicMs();
    let hasEnded = false;
    void this.#ended.then(() => {
      hasEnded = true;
    });
    while (!(await answers())) {
      if (hasEnded || clock.monotonicMs() - startedMs > START_MS_MAX) {
        throw new AntipodeError(
          'PROGRAM_MISSING',
          `${name} does not start: ${this.#output.slice(-5).join(' | ') || 'no output'}`,
          {
            details: { program: name },
            hint: `Check the data folder (owner, free space, leftovers of an earlier run), or configure an external server. The program is installed; its last lines of output are in the message.`,
          },
        );
      }
      await clock.sleep(POLL_MS, this.#stop.signal);
      if (this.#stop.signal.aborted) return;
    }
  }

  async #watch(): Promise<void> {
    const { clock, prng, log, name } = this.#options;
    for (let failures = 0; ; failures += 1) {
      const pid = this.pid;
      await this.#ended;
      if (this.#stop.signal.aborted) return;
      log.warn('embedded server ended; it is started again', {
        server: name,
        pid,
        output: this.#output.slice(-3).join(' | '),
      });
      await clock.sleep(
        failures === 0 ? 0 : backoffMs(failures, { baseMs: 100, capMs: 5_000 }, prng),
        this.#stop.signal,
      );
      if (this.#stop.signal.aborted) return;
      try {
        await this.#bringUp();
        log.info('embedded server is back', { server: name });
        failures = 0;
      } catch (error) {
        log.error('embedded server does not start again', { server: name, error });
        this.#child?.kill('SIGKILL');
      }
    }
  }
}
