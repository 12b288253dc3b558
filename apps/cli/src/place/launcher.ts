/**
 * Runs a program with the token of a group in its environment, and runs it again with another when the group moves. What
 * is not known for sure moves nothing: a program that runs goes on while nobody answers. Only where the group stops with
 * its lease, the program ends with it.
 */
import { constants } from 'node:os';
import { AntipodeError, type Clock } from '@antipode/runtime';
import { type PassedOn, REQUESTS } from '../supervisor/passed-on.ts';
import { type Program, startProgram } from '../supervisor/supervised-program.ts';
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
  /** By default the program has the input and output of this process. */
  readonly stdio?: 'inherit' | 'ignore';
  /** Whether this process adopts orphans, and starts nothing else. */
  readonly isAlone: boolean;
  /** One line for people. */
  readonly note: (line: string) => void;
}

interface Running {
  readonly program: Program;
  readonly place: Place;
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
    const passOn = (): void => void this.#running?.program.signal(signalOf(stop));
    stop.addEventListener('abort', passOn);
    try {
      while (!stop.aborted) {
        await this.#look();
        const ended = this.#running?.program.ended;
        const pause = new AbortController();
        const status = await Promise.race([
          clock.sleep(everyMs, AbortSignal.any([pause.signal, stop])).then(() => undefined),
          ...(ended === undefined ? [] : [ended]),
        ]);
        pause.abort();
        if (status !== undefined) return status;
      }
      return (await this.#running?.program.ended) ?? statusOf(signalOf(stop));
    } finally {
      stop.removeEventListener('abort', passOn);
    }
  }

  /** For a signal that this process has received. Where no program runs, SIGHUP and every order to end end the wait. */
  receive(signal: PassedOn, stop: AbortController): void {
    const isOnlyPassedOn = REQUESTS.has(signal) || stop.signal.aborted;
    if (isOnlyPassedOn && this.#running?.program.signal(signal) === true) return;
    if (signal === 'SIGUSR1' || signal === 'SIGUSR2') return;
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
      const { message, details } = AntipodeError.from(thrown);
      if (this.#running !== undefined && details['stopsServing'] === true) {
        if (!(await this.#running.program.hasEnded())) await this.#end(message);
        return;
      }
      this.#note(
        this.#running === undefined ? `waiting: ${message}` : `the program goes on where it is, because ${message}`,
      );
      return;
    }
    if (place.epoch < this.#epoch || stop.aborted) return;
    this.#epoch = place.epoch;
    const isWanted = atSite === undefined || place.site === atSite;
    if (this.#running !== undefined) {
      const { program, place: before } = this.#running;
      if (isWanted && isSame(before, place)) {
        this.#noted = '';
        return;
      }
      // It has ended by itself while the answer was awaited. A program that has done its work is not run once more.
      if (await program.hasEnded()) return;
      await this.#end(`group ${place.group} has moved from site ${before.site} to site ${place.site}`);
      if (stop.aborted) return;
    }
    if (!isWanted) this.#note(`waiting: site ${place.site} is active, and the program runs only at site ${atSite}`);
    else if (place.siteState === 'down' || place.partitionErrorCode !== '')
      this.#note(
        `waiting: site ${place.site} is ${place.siteState}${place.partitionErrorCode === '' ? '' : `, and its partition ${place.siteState === 'up' ? 'has' : 'had'} the error ${place.partitionErrorCode}`}`,
      );
    else this.#start(place);
  }

  #start(place: Place): void {
    const { command, graceMs, stdio = 'inherit', isAlone, clock, note } = this.#options;
    this.#note(`started at site ${place.site}: token ${JSON.stringify(place.tokenLabel)}, serial ${place.serial}`);
    const env = { ...process.env, ...environmentOf(place) };
    this.#running = { program: startProgram({ command, env, graceMs, stdio, isAlone, clock, note }), place };
  }

  /** Ends the program with everything that it has started: the group has moved, or stops serving. */
  async #end(why: string): Promise<void> {
    this.#note(`${why}: ending the program`);
    await this.#running!.program.end();
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
