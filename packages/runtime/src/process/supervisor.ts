/**
 * Speaks to the service manager that started this process (sd_notify(3)). It reports readiness, status, life and stop.
 * It reports life only while the event loop turns and no watched loop is stuck. Otherwise the watchdog of the manager
 * ends the process and starts another one.
 */
import type { Log } from '../log.ts';
import { printable } from '../printable.ts';
import type { Clock } from '../time/clock.ts';
import type { LoopWatch } from '../time/loop-watch.ts';
import type { Service } from './lifecycle.ts';

/** Sends one message to a datagram socket. @returns whether the system took it */
export type Send = (socket: string, message: string) => boolean;

/** How often the status is sent if the manager has no watchdog. */
const STATUS_MS = 10_000;
/** A device that does not answer must not make the start of its agent fail. */
const SETTLE_MS_MAX = 20_000;
/** More than the pause between two requests for more time. */
const EXTENSION_MS = 60_000;
const EXTEND_EVERY_MS = 10_000;
const STATUS_CHARACTERS_MAX = 500;

export class Supervisor {
  readonly #socket: string;
  readonly #watchdogMs: number | undefined;
  readonly #send: Send;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #watch: LoopWatch;
  readonly #stop = new AbortController();
  #waiting: AbortController | undefined;
  /** The loops that were stuck when it was last asked. */
  #stuck = '';

  constructor({
    socket,
    watchdogMs,
    send,
    clock,
    log,
    watch,
  }: {
    socket: string;
    watchdogMs?: number | undefined;
    send: Send;
    clock: Clock;
    log: Log;
    watch: LoopWatch;
  }) {
    this.#socket = socket;
    this.#watchdogMs = watchdogMs;
    this.#send = send;
    this.#clock = clock;
    this.#log = log;
    this.#watch = watch;
  }

  /** Reads the environment, and takes the variables away, so that no child speaks for this process. */
  static take(
    environment: NodeJS.ProcessEnv,
    { send, clock, log, watch }: { send: Send | undefined; clock: Clock; log: Log; watch: LoopWatch },
  ): Supervisor | undefined {
    const {
      NOTIFY_SOCKET: socket = '',
      WATCHDOG_USEC: microseconds = '',
      WATCHDOG_PID: pid = String(process.pid),
    } = environment;
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
    if (socket === '' || send === undefined) return undefined;
    const watchdogMs =
      pid === String(process.pid) && Number(microseconds) > 0 ? Number(microseconds) / 1_000 : undefined;
    return new Supervisor({ socket, watchdogMs, send, clock, log, watch });
  }

  /** The start waits for something outside: a clock that is not set, say. Undefined: it waits no longer. */
  waiting(why: Error | undefined): void {
    this.#waiting?.abort();
    this.#waiting = undefined;
    if (why === undefined || this.#stop.signal.aborted) return;
    const waiting = new AbortController();
    this.#waiting = waiting;
    void this.#until(waiting.signal, EXTEND_EVERY_MS, () =>
      this.#tell(`EXTEND_TIMEOUT_USEC=${EXTENSION_MS * 1_000}`, statusLine(`waiting: ${why.message}`)),
    );
  }

  /** It serves: says so once all has been tried, and then that it lives. */
  serving(service: Service): void {
    this.waiting(undefined);
    void this.#serving(service);
  }

  stopping(): void {
    this.waiting(undefined);
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#tell('STOPPING=1', statusLine('stopping'));
  }

  async #serving(service: Service): Promise<void> {
    const { signal } = this.#stop;
    const settled = new AbortController();
    const settling = Promise.resolve(service.settled?.()).finally(() => settled.abort());
    await Promise.race([settling.catch(() => {}), this.#clock.sleep(SETTLE_MS_MAX, settled.signal)]);
    if (signal.aborted) return;
    if (!this.#tell('READY=1', statusLine(service.status?.() ?? '')))
      this.#log.error('the service manager cannot be told that this process is ready', { socket: this.#socket });
    const pauseMs = this.#watchdogMs === undefined ? STATUS_MS : this.#watchdogMs / 3;
    await this.#until(signal, pauseMs, () => {
      const stuck = this.#watch.stuck.join(', ');
      if (stuck !== this.#stuck && stuck !== '')
        this.#log.error('a loop of this process is stuck; the service manager will start it again', { loops: stuck });
      this.#stuck = stuck;
      if (stuck === '') this.#tell('WATCHDOG=1', statusLine(service.status?.() ?? ''));
      else this.#tell(statusLine(`stuck: ${stuck}`));
    });
  }

  async #until(signal: AbortSignal, pauseMs: number, work: () => void): Promise<void> {
    while (!signal.aborted) {
      work();
      await this.#clock.sleep(pauseMs, signal);
    }
  }

  #tell(...lines: readonly string[]): boolean {
    return this.#send(this.#socket, lines.filter((line) => line !== '').join('\n'));
  }
}

const statusLine = (status: string): string =>
  status === '' ? '' : `STATUS=${printable(status.replace(/\s+/g, ' ')).slice(0, STATUS_CHARACTERS_MAX)}`;
