/**
 * Runs a program with the token of a group in its environment, and runs it again with another when the group moves. What
 * is not known for sure moves nothing: a program that runs goes on while nobody answers.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { AntipodeError, type Clock } from '@antipode/runtime';
import { environmentOf, type Place } from './place.ts';

export interface LauncherOptions {
  readonly command: readonly [string, ...string[]];
  /** The program runs only while this site is the active one. */
  readonly atSite?: string | undefined;
  readonly find: (signal: AbortSignal) => Promise<Place>;
  /** Whether an error passes by itself. */
  readonly isPassing: (thrown: unknown) => boolean;
  readonly clock: Clock;
  /** How often to ask. */
  readonly everyMs: number;
  /** How long a program may take to end after SIGTERM, before it is killed. */
  readonly graceMs: number;
  /** Aborted with the name of a signal, which the program then receives, and nothing is started any more. */
  readonly stop: AbortSignal;
  /** Those of this process by default. */
  readonly stdio?: StdioOptions;
  /** One line for people. */
  readonly note: (line: string) => void;
}

/** Signals that are passed on to the program. */
export const PASSED_ON = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

interface Running {
  readonly child: ChildProcess;
  readonly place: Place;
  /** The exit status, as a shell gives it. */
  readonly ended: Promise<number>;
}

const isSame = (one: Place, other: Place): boolean =>
  one.site === other.site &&
  one.serial === other.serial &&
  one.module === other.module &&
  one.tokenLabel === other.tokenLabel;

const statusOf = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

export class Launcher {
  readonly #options: LauncherOptions;
  #running: Running | undefined;
  /** Of the newest answer: an older one that comes late moves nothing back. */
  #epoch = 0n;
  #noted = '';

  constructor(options: LauncherOptions) {
    this.#options = options;
  }

  /** Resolves with the exit status of the program. @throws what a person must see to, while no program runs */
  async run(): Promise<number> {
    const { clock, everyMs, stop } = this.#options;
    const passOn = (): void => void this.#running?.child.kill(signalOf(stop));
    stop.addEventListener('abort', passOn);
    try {
      while (!stop.aborted) {
        await this.#look();
        const ended = this.#running?.ended;
        const pause = new AbortController();
        const status = await Promise.race([
          clock.sleep(everyMs, AbortSignal.any([pause.signal, stop])).then(() => undefined),
          ...(ended === undefined ? [] : [ended]),
        ]);
        pause.abort();
        if (status !== undefined) return status;
      }
      return (await this.#running?.ended) ?? statusOf(signalOf(stop));
    } finally {
      stop.removeEventListener('abort', passOn);
    }
  }

  /**
   * For a signal that this process has received. SIGHUP tells many programs to read their configuration again, so it ends
   * nothing here. Where no program runs, every signal ends the wait for one.
   */
  receive(signal: (typeof PASSED_ON)[number], stop: AbortController): void {
    const isOnlyPassedOn = signal === 'SIGHUP' || stop.signal.aborted;
    if (isOnlyPassedOn && this.#running?.child.kill(signal) === true) return;
    stop.abort(signal);
  }

  /** Asks once, and does what the answer says. */
  async #look(): Promise<void> {
    const { find, isPassing, atSite, stop } = this.#options;
    let place: Place;
    try {
      place = await find(stop);
    } catch (thrown) {
      if (stop.aborted) return;
      if (this.#running === undefined && !isPassing(thrown)) throw thrown;
      const { message } = AntipodeError.from(thrown);
      this.#note(
        this.#running === undefined ? `waiting: ${message}` : `the program goes on where it is, because ${message}`,
      );
      return;
    }
    if (place.epoch < this.#epoch || stop.aborted) return;
    this.#epoch = place.epoch;
    const isWanted = atSite === undefined || place.site === atSite;
    if (this.#running !== undefined) {
      // It has ended by itself while the answer was awaited. A program that has done its work is not run once more.
      const { exitCode, signalCode } = this.#running.child;
      if (exitCode !== null || signalCode !== null) return;
      if (isWanted && isSame(this.#running.place, place)) {
        this.#noted = '';
        return;
      }
      await this.#end(place);
      if (stop.aborted) return;
    }
    if (!isWanted) this.#note(`waiting: site ${place.site} is active, and the program runs only at site ${atSite}`);
    else if (place.siteState === 'down' || place.partitionErrorCode !== '')
      this.#note(
        `waiting: site ${place.site} is ${place.siteState}${place.partitionErrorCode === '' ? '' : `, and its partition has the error ${place.partitionErrorCode}`}`,
      );
    else this.#start(place);
  }

  #start(place: Place): void {
    const [program, ...args] = this.#options.command;
    this.#note(`started at site ${place.site}: token ${JSON.stringify(place.tokenLabel)}, serial ${place.serial}`);
    // The kernel ends the program when this process is killed: a second one, started later, must not run beside it.
    const child = spawn('setpriv', ['--pdeathsig', 'SIGTERM', '--', program, ...args], {
      stdio: this.#options.stdio ?? 'inherit',
      env: { ...process.env, ...environmentOf(place) },
    });
    const ended = new Promise<number>((resolve, reject) => {
      child.once('exit', (code, signal) => resolve(code ?? statusOf(signal!)));
      child.once('error', (cause) =>
        reject(
          new AntipodeError('PROGRAM_MISSING', `cannot start ${program}: ${cause.message}`, {
            details: { program: 'setpriv' },
            cause,
          }),
        ),
      );
    });
    // Where nobody waits for it at the moment, it is waited for in the next round.
    ended.catch(() => {});
    this.#running = { child, place, ended };
  }

  /** Ends the program, because the group has moved. */
  async #end(to: Place): Promise<void> {
    const { clock, graceMs } = this.#options;
    const { child, place, ended } = this.#running!;
    this.#note(`group ${to.group} has moved from site ${place.site} to site ${to.site}: ending the program`);
    child.kill('SIGTERM');
    const over = new AbortController();
    await Promise.race([ended, clock.sleep(graceMs, over.signal)]);
    over.abort();
    child.kill('SIGKILL');
    await ended;
    this.#running = undefined;
  }

  /** Says the same thing once. */
  #note(line: string): void {
    if (this.#noted === line) return;
    this.#noted = line;
    this.#options.note(line);
  }
}

const signalOf = (stop: AbortSignal): NodeJS.Signals => stop.reason as NodeJS.Signals;
