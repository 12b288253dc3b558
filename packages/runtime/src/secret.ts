/**
 * PINs: read from a file, held in a wrapper that refuses to be printed, wiped after use (I5).
 */
import { isUtf8 } from 'node:buffer';
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
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
 * Reads a PIN (UTF-8, PKCS#11 section 5.6.8) from the first line of a file: an ordinary file or a systemd credential. What
 * would cost a login attempt for nothing is refused: a byte order mark, UTF-16, control characters, blanks at either end.
 * The file must belong to this process's user, to root, or to a user in `owners`.
 * @throws PIN_FILE_UNREADABLE, PIN_FILE_EXPOSED
 */
export function readPinFile(path: string, { owners = [] }: { owners?: readonly number[] } = {}): Secret {
  let descriptor: number;
  try {
    // A pipe would block for ever where a file is meant.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new AntipodeError('PIN_FILE_UNREADABLE', `cannot open the PIN file ${path}`, { details: { path }, cause });
  }
  try {
    checkPinFile(path, fstatSync(descriptor), owners);
    const buffer = Buffer.alloc(PIN_BYTES_MAX + 2);
    try {
      const length = readSync(descriptor, buffer, 0, buffer.length, 0);
      return pinIn(path, buffer.subarray(0, length));
    } finally {
      buffer.fill(0);
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Only the first process of the system makes files there. */
const CREDENTIALS = '/run/credentials/';

/**
 * A credential of systemd 254 or newer belongs to root, and the user of the service reads it by an access list. Such a
 * list shows as a right of the group. It is accepted only where nobody but root can make one.
 */
export const isCredential = (path: string, { uid, gid, mode }: Pick<Stats, 'uid' | 'gid' | 'mode'>): boolean =>
  path.startsWith(CREDENTIALS) && !path.includes('/../') && uid === 0 && gid === 0 && (mode & 0o337) === 0;

function checkPinFile(path: string, stat: Stats, owners: readonly number[]): void {
  if (!stat.isFile())
    throw new AntipodeError('PIN_FILE_UNREADABLE', `${path} is not a regular file`, { details: { path } });
  if ((stat.mode & 0o077) !== 0 && !isCredential(path, stat)) {
    const mode = (stat.mode & 0o777).toString(8);
    throw new AntipodeError('PIN_FILE_EXPOSED', `${path} has mode ${mode}, expected 600 or 400`, {
      details: { path, mode },
    });
  }
  const user = process.geteuid?.() ?? stat.uid;
  if ([user, 0, ...owners].includes(stat.uid)) return;
  throw new AntipodeError('PIN_FILE_EXPOSED', `${path} belongs to user ${stat.uid}, expected ${user} or root`, {
    details: { path, owner: stat.uid, expected: user },
    hint: 'Give the file to the user of the agent (chown). If the other user must not know the PIN, change the PIN too.',
  });
}

function pinIn(path: string, bytes: Buffer): Secret {
  const refuse = (why: string, hint?: string): never => {
    throw new AntipodeError('PIN_FILE_UNREADABLE', `${path} ${why}`, { details: { path }, hint });
  };
  const asText =
    'Save the file as plain UTF-8 text without a byte order mark, for example with `printf`. No login was tried.';
  if (bytes.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf]))) refuse('begins with a byte order mark', asText);
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) refuse('is UTF-16', asText);
  const newline = bytes.indexOf(0x0a);
  let end = newline === -1 ? bytes.length : newline;
  if (end > 0 && bytes[end - 1] === 0x0d) end -= 1;
  if (end === 0 || end > PIN_BYTES_MAX) refuse(`must hold 1 to ${PIN_BYTES_MAX} bytes in its first line`);
  const line = bytes.subarray(0, end);
  if (line.includes(0)) refuse('has a zero byte in its first line, as UTF-16 has', asText);
  if (line.some((byte) => byte < 0x20 || byte === 0x7f))
    refuse('has a control character in its first line', 'Remove it, for example a tab. No login was tried.');
  if (!isUtf8(line)) refuse('is not UTF-8, which PKCS#11 expects of a PIN', asText);
  if (hasBlankAtEnd(line))
    refuse(
      'has a blank at the beginning or the end of its first line',
      'Remove the blank. If the PIN really begins or ends with one, change the PIN. No login was tried.',
    );
  // Not Buffer.from: small copies share a pool, which would be locked and unlocked with whatever else is in it.
  const pin = Buffer.alloc(line.length);
  line.copy(pin);
  return new Secret(pin);
}

/** Invisible leftovers of an editor or a copy: white space and marks without width, in UTF-8. */
const UNSEEN = [
  0x20, 0x85, 0xa0, 0x1680, 0x180e, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009,
  0x200a, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202f, 0x205f, 0x2060, 0x3000, 0xfeff,
].map((point) => Buffer.from(String.fromCodePoint(point)));

/** By bytes: a string of the PIN could not be wiped. */
const hasBlankAtEnd = (line: Buffer): boolean =>
  UNSEEN.some((blank) => line.subarray(0, blank.length).equals(blank) || line.subarray(-blank.length).equals(blank));
