/** The error of a call, so that tests assert its code and never its prose. */
import { AntipodeError } from '../errors.ts';

export function thrown(work: () => unknown): AntipodeError {
  try {
    work();
  } catch (error) {
    if (error instanceof AntipodeError) return error;
    throw error;
  }
  throw new Error('expected an AntipodeError, but nothing was thrown');
}

export async function rejection(work: Promise<unknown> | (() => Promise<unknown>)): Promise<AntipodeError> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    if (error instanceof AntipodeError) return error;
    throw error;
  }
  throw new Error('expected an AntipodeError, but nothing was thrown');
}
