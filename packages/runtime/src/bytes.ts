/** Bytes as people and programs write them. */
import { createHash } from 'node:crypto';

export const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');

export const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

export function sha256(...parts: (Uint8Array | string)[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

export const sha256Hex = (...parts: (Uint8Array | string)[]): string => hex(sha256(...parts));

export const bytesEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** The first eight hexadecimal digits: enough for a person to tell two apart, never to decide anything. */
export const short = (hexDigits: string): string => hexDigits.slice(0, 8);
