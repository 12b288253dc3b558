/**
 * A vector shows the value of a secret key that nobody may wrap (ADR 0057). It says what one use of the key makes of a
 * labelled nonce. Every member can repeat it in its own token.
 *
 * The manifest has a keyed tag of the result under the domain key, and not the result itself. So a reader of the
 * manifest learns nothing, not even a pair of a message and its MAC. Without the domain key nobody can test a guess of
 * a weak secret.
 */
import { bytesEqual, hex } from '@antipode/runtime';

/** The operation whose result a vector has. `sign` is a MAC. */
export const VECTOR_USES = ['sign', 'encrypt', 'decrypt', 'wrap', 'derive'] as const;

export type VectorUse = (typeof VECTOR_USES)[number];

export interface Vector {
  readonly use: VectorUse;
  /** CKM_ number. */
  readonly mechanism: number;
  /** {@link VECTOR_NONCE_BYTES} bytes. They follow from the domain key, and nobody foretells them without it. */
  readonly nonce: Uint8Array;
  /** Keyed tag of what the key made of the message, under the domain key. */
  readonly result: Uint8Array;
}

export const VECTOR_NONCE_BYTES = 16;
export const VECTOR_RESULT_BYTES = 32;

/** One block of AES, and two of DES. It stands before each nonce, so that no message of an application is one of ours. */
const LABEL = Buffer.from('antipode vector\0');

/** The message that a key is used on: two blocks of AES. */
export const vectorMessage = (nonce: Uint8Array): Uint8Array => new Uint8Array(Buffer.concat([LABEL, nonce]));

/** The bytes whose keyed tag is the nonce. */
export const VECTOR_NONCE_SEED = Buffer.from('antipode vector nonce v1');

/** The bytes whose keyed tag is the result. A result of one use cannot stand for one of another. */
export const vectorResultInput = (
  { use, mechanism }: Pick<Vector, 'use' | 'mechanism'>,
  made: Uint8Array,
): Uint8Array => Buffer.concat([Buffer.from(`antipode vector result v1\0${use} ${mechanism}\0`), made]);

const isSameUse = (a: Vector, b: Vector): boolean =>
  a.use === b.use && a.mechanism === b.mechanism && bytesEqual(a.nonce, b.nonce);

/**
 * Whether two lists are of one key: at least one vector is in both, and none contradicts. Tokens of one kind may differ
 * in a mechanism, so one list may have more.
 */
export function agree(some: readonly Vector[], others: readonly Vector[]): boolean {
  const pairs = some.flatMap((one) => others.filter((other) => isSameUse(one, other)).map((other) => [one, other]));
  return pairs.length > 0 && pairs.every(([one, other]) => bytesEqual(one!.result, other!.result));
}

/** The bytes that stand for the value of a key in the digest of its entry. */
export const vectorsProof = (vectors: readonly Vector[]): Uint8Array =>
  Buffer.concat(vectors.map(({ result }) => result));

/** The order in which a manifest has them. */
export const sortedVectors = (vectors: readonly Vector[]): Vector[] =>
  [...vectors].sort((a, b) => VECTOR_USES.indexOf(a.use) - VECTOR_USES.indexOf(b.use) || a.mechanism - b.mechanism);

/** The name under which equal vectors meet. */
export const vectorKey = ({ use, mechanism, nonce, result }: Vector): string =>
  `${use}:${mechanism}:${hex(nonce)}:${hex(result)}`;
