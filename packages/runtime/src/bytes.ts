/** Bytes as people and programs write them. */
import { createHash, hash } from 'node:crypto';

export const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');

export const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

export function sha256(...parts: (Uint8Array | string)[]): Uint8Array {
  const [only, ...others] = parts;
  // One call makes no object for the garbage collector, whose pauses are the longest of a capture of many objects.
  if (only !== undefined && others.length === 0) return new Uint8Array(hash('sha256', only, 'buffer'));
  const hashing = createHash('sha256');
  for (const part of parts) hashing.update(part);
  return new Uint8Array(hashing.digest());
}

export const sha256Hex = (...parts: (Uint8Array | string)[]): string => hex(sha256(...parts));

export const bytesEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** The first eight hexadecimal digits: enough for a person to tell two apart, never to decide anything. */
export const short = (hexDigits: string): string => hexDigits.slice(0, 8);
