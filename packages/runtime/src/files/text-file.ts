/** A file that a person names can be a device that never ends. So it is read up to a limit. */
import { closeSync, openSync, readSync } from 'node:fs';
import { AntipodeError, type ErrorCode } from '../errors.ts';

/** Far more than any configuration, certificate or signed list has. */
export const TEXT_BYTES_MAX = 16 * 1_024 * 1_024;
const CHUNK_BYTES = 64 * 1_024;

/**
 * The UTF-8 text of a file, or of a pipe until its writer ends.
 * @param code of the error where it cannot be read, or is longer than {@link TEXT_BYTES_MAX}
 */
export function readTextFile(path: string, code: ErrorCode, { hint }: { hint?: string } = {}): string {
  const refuse = (message: string, cause?: unknown): never => {
    throw new AntipodeError(code, message, { details: { path }, cause, ...(hint === undefined ? {} : { hint }) });
  };
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    const descriptor = openSync(path, 'r');
    try {
      while (length <= TEXT_BYTES_MAX) {
        const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
        const bytes = readSync(descriptor, chunk);
        if (bytes === 0) break;
        chunks.push(chunk.subarray(0, bytes));
        length += bytes;
      }
    } finally {
      closeSync(descriptor);
    }
  } catch (cause) {
    refuse(`cannot read ${path}: ${(cause as NodeJS.ErrnoException).code}`, cause);
  }
  if (length > TEXT_BYTES_MAX) refuse(`${path} has more than ${TEXT_BYTES_MAX} bytes, expected a text file`);
  return Buffer.concat(chunks).toString('utf8');
}
