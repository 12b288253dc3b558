/** Bounds the time that an answer to applications waits for a database that stands still. */
import { AntipodeError, type Clock } from '@antipode/runtime';

/** A sound database answers in milliseconds. Applications wait for the answer, and ask the agent of their site next. */
export const DATABASE_MS_MAX = 1_000;

/** @throws DATABASE_UNAVAILABLE if the work takes longer. It goes on, and nobody waits for it any more. */
export async function withinBound<T>(clock: Pick<Clock, 'sleep'>, work: Promise<T>): Promise<T> {
  const ended = new AbortController();
  const late = Symbol('late');
  try {
    const first = await Promise.race([work, clock.sleep(DATABASE_MS_MAX, ended.signal).then(() => late)]);
    if (first !== late) return first as T;
  } finally {
    ended.abort();
  }
  work.catch(() => {});
  throw new AntipodeError('DATABASE_UNAVAILABLE', `the database did not answer within ${DATABASE_MS_MAX} ms`);
}
