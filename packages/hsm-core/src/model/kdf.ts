/**
 * Key derivation functions after an ECDH agreement. Two tokens have the same exchange key only if both use the same
 * function; the software side of an agreement (a trial, a proof) computes it here.
 */
import { createHash } from 'node:crypto';

/**
 * The functions by name, the preferred ones first: those of ANSI X9.63 over a hash (SEC 1, 3.6.1), and `null`, by which
 * the key is the x-coordinate itself.
 */
export const KDFS = ['sha256', 'sha384', 'sha512', 'sha224', 'sha1', 'null'] as const;

export type Kdf = (typeof KDFS)[number];

/** The key of so many bytes that the function makes of an agreed secret, without shared data. */
export function derivedBy(kdf: Kdf, secret: Uint8Array, bytes: number): Uint8Array {
  if (kdf === 'null') return secret.subarray(0, bytes);
  const blocks: Buffer[] = [];
  for (let counter = 1, made = 0; made < bytes; counter += 1) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(counter);
    const block = createHash(kdf).update(secret).update(number).digest();
    blocks.push(block);
    made += block.length;
  }
  return new Uint8Array(Buffer.concat(blocks).subarray(0, bytes));
}

/** The functions that the token behind an offer does. An older agent names no function, and uses no function. */
export const offeredBy = ({ kdfs }: { readonly kdfs?: readonly string[] }): readonly string[] =>
  kdfs === undefined || kdfs.length === 0 ? ['null'] : kdfs;

/** The function that both sides of an exchange use: the first that both offer. Both find the same. */
export function commonKdf(...sides: readonly { readonly kdfs?: readonly string[] }[]): Kdf | undefined {
  return KDFS.find((kdf) => sides.every((side) => offeredBy(side).includes(kdf)));
}
