/** The life of a process: start, run until told to stop, close everything in order and once. */

import { AntipodeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Clock, systemClock } from '../time/clock.ts';
import type { Supervisor } from './supervisor.ts';

export interface Closeable {
  /** Idempotent; resolves when nothing of it runs any more. */
  close(): Promise<void>;
}

/** Closes in the given order, each even if one before failed; then throws the first failure. */
export async function closeAll(parts: readonly (Closeable | undefined)[]): Promise<void> {
  let first: unknown;
  for (const part of parts) {
    try {
      await part?.close();
    } catch (thrown) {
      first ??= thrown;
    }
  }
  if (first !== undefined) throw first;
}

/** Resolves with the name of the first SIGINT or SIGTERM. */
export function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(signal));
  });
}

export interface Service extends Closeable {
  /** Resolves when it serves. Before it throws, it closes everything again. */
  start(): Promise<void>;
  /** After the start: resolves when all that it serves has been tried once, whether it was found or not. */
  settled?(): Promise<void>;
  /** The state of the service, for people, in one line. */
  status?(): string;
}

/** Supervisors wait 10 s or more before they kill. */
const STOP_MS_MAX = 9_000;

/**
 * Starts a service, waits for SIGINT or SIGTERM, and closes it. A signal during the start counts too. Returns in time
 * whatever of it is stuck: a caller that then ends the process loses nothing, since every part must stand being killed.
 * @throws what the start or the close threw
 */
export async function runUntilStopped(
  service: Service,
  {
    log,
    clock = systemClock,
    onStarted = () => {},
    supervisor,
  }: {
    log: Log;
    clock?: Clock;
    onStarted?: () => void;
    /** Told when it is ready, that it lives, and when it stops. */
    supervisor?: Supervisor | undefined;
  },
): Promise<void> {
  const stopped = stopSignal();
  const started = service.start();
  const first = await Promise.race([started.then(() => 'started' as const), stopped]);
  if (first === 'started') {
    onStarted();
    supervisor?.serving(service);
  }
  const signal = await stopped;
  supervisor?.stopping();
  log.info('stopping', { signal, ...(first === 'started' ? {} : { during: 'start' }) });
  started.catch((error: unknown) => log.debug('the start was cut short', { error }));
  await closeInTime(service, { log, clock });
}

/** Closes it, or gives up waiting for that. A later error of the close is ignored. */
export async function closeInTime(
  service: Closeable,
  { log, clock = systemClock, timeoutMs = STOP_MS_MAX }: { log: Log; clock?: Clock; timeoutMs?: number },
): Promise<void> {
  const done = new AbortController();
  const closing = service.close().finally(() => done.abort());
  await Promise.race([closing, clock.sleep(timeoutMs, done.signal)]);
  if (done.signal.aborted) return closing;
  closing.catch(() => {});
  log.warn('closing takes too long: the process ends without it', { timeoutMs });
}

/** An uncaught error is a defect: log it once and end, so that the supervisor restarts us. */
export function crashOnDefect(log: Log): void {
  const crash = (thrown: unknown): void => {
    log.error('defect: the process ends', { error: AntipodeError.from(thrown) });
    process.exit(70);
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
}
