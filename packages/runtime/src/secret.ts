/**
 * PINs: read from a file, held in a wrapper that refuses to be printed, wiped after use (I5).
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { inspect } from 'node:util';
import { AntipodeError } from './errors.ts';

const PIN_BYTES_MAX = 256;

/** Bytes that never appear in JSON, logs, inspections or string interpolation. */
export class Secret {
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Lends the bytes to `use`. They must not outlive the call. */
  expose<T>(use: (bytes: Buffer) => T): T {
    return use(this.#bytes);
  }

  wipe(): void {
    this.#bytes.fill(0);
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}

/**
 * Reads a PIN (UTF-8, PKCS#11 section 5.6.8) from the first line of a file: an ordinary file or a systemd credential.
 * @throws PIN_FILE_UNREADABLE, PIN_FILE_EXPOSED
 */
export function readPinFile(path: string): Secret {
  let descriptor: number;
  try {
    // A pipe would block for ever where a file is meant.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new AntipodeError('PIN_FILE_UNREADABLE', `cannot open the PIN file ${path}`, { details: { path }, cause });
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile())
      throw new AntipodeError('PIN_FILE_UNREADABLE', `${path} is not a regular file`, { details: { path } });
    if ((stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8);
      throw new AntipodeError('PIN_FILE_EXPOSED', `${path} has mode ${mode}, expected 600 or 400`, {
        details: { path, mode },
      });
    }
    const buffer = Buffer.alloc(PIN_BYTES_MAX + 2);
    const length = readSync(descriptor, buffer, 0, buffer.length, 0);
    const newline = buffer.subarray(0, length).indexOf(0x0a);
    let end = newline === -1 ? length : newline;
    if (end > 0 && buffer[end - 1] === 0x0d) end -= 1;
    if (end === 0 || end > PIN_BYTES_MAX) {
      buffer.fill(0);
      throw new AntipodeError(
        'PIN_FILE_UNREADABLE',
        `the first line of ${path} must hold 1 to ${PIN_BYTES_MAX} bytes`,
        { details: { path } },
      );
    }
    const pin = Buffer.from(buffer.subarray(0, end));
    buffer.fill(0);
    return new Secret(pin);
  } finally {
    closeSync(descriptor);
  }
}
