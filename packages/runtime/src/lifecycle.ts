/** The life of a process: start, run until told to stop, close everything in order and once. */
import { AntipodeError } from './errors.ts';
import type { Log } from './log.ts';

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

/** What nobody caught is a defect: log it once and end, so that the supervisor starts us afresh. */
export function crashOnDefect(log: Log): void {
  const crash = (thrown: unknown): void => {
    log.error('defect: the process ends', { error: AntipodeError.from(thrown) });
    process.exit(70);
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
}
