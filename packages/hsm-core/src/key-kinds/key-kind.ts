/** A kind of key: how it is read, restored, proved and challenged. Each kind has a file beside this one. */
import type { CKK, Template } from '@antipode/cryptoki';
import type { KeyType, ObservedObject } from '../model/object.ts';
import type { Proof, ProveContext } from '../pkcs11/proving/proof.ts';
import type { Use } from '../pkcs11/proving/use.ts';
import type { VectorWay } from '../pkcs11/proving/vectors.ts';
import type { Clues } from '../pkcs11/reading/public-keys.ts';
import type { TokenSession, WrappingSession } from '../pkcs11/token-session.ts';
import type { UnwrapItem } from '../provider/restorer.ts';

/** Attribute values of one object, by number; undefined where the token gave none. */
export type Values = (type: number) => Buffer | undefined;

/** The reading of a pair of keys: its public half, and its size. */
export interface PairKind {
  /** Attributes that make up the public half, in a public key. */
  readonly publicParts: readonly number[];
  /** Those of them that a private key has as a rule. */
  readonly privateParts: readonly number[];
  /** Whether a private key shows its whole public half, so that two keys of other values are read differently. */
  readonly showsPublicHalf: boolean;
  /** Bits of the modulus or the field; 0 where the token does not tell. */
  sizeBits(value: Values): number;
  /** SubjectPublicKeyInfo (RFC 5280); undefined where the parts are not all there. */
  publicHalf(value: Values): Uint8Array | undefined;
  /** CKA_EC_PARAMS, where the kind has curves. */
  curveParams?(value: Values): Uint8Array | undefined;
  /** Finds the public half of a private key that does not show it, by using the key. */
  findPublicHalf?(context: WrappingSession, key: ObservedObject, clues: Clues): Uint8Array | undefined;
  /** Entries of an unwrap template for a token that does not take them from the blob (`wantsPoint`). */
  besideBlob?(item: UnwrapItem): Template;
}

/** Whether a look may try this use of the key: allowed, and without a PIN. */
export function mayUse({ attributes }: ObservedObject, use: 'sign' | 'derive', by: number): boolean {
  const { alwaysAuthenticate, allowedMechanisms: allowed } = attributes;
  return attributes[use] === true && !alwaysAuthenticate && (!allowed?.length || allowed.includes(by));
}

export interface KeyKind {
  readonly type: KeyType;
  /** CKA_KEY_TYPE. */
  readonly number: (typeof CKK)[keyof typeof CKK];
  /** Another CKA_KEY_TYPE, by which some tokens know such keys. */
  readonly alsoNumber?: (typeof CKK)[keyof typeof CKK];
  /** Whether a key of that number is of this kind. Absent where the number tells. */
  isIt?(value: Values): boolean;
  /** Of a secret whose length its type tells, since such keys have no CKA_VALUE_LEN. */
  readonly bits?: number;
  /** Absent for secret keys. */
  readonly pair?: PairKind;
  /** Uses a restored key in every way that its flags allow, and compares. */
  prove(proof: Proof): void;
  /** Ways to show the value of a secret key without wrapping it. Absent for pairs of keys. */
  readonly vectors?: readonly VectorWay[];
  /**
   * Makes a sound key of the kind, to tell a use that the token refuses to this key from one that it refuses to any.
   * Needed where a token gives one answer to both.
   */
  sample?(context: TokenSession): bigint;
  /** Ways to use a key that nobody vouches for, beside wrapping it. */
  uses(context: ProveContext, key: ObservedObject): readonly Use[];
}
