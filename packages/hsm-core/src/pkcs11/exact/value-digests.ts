/**
 * Digests of secrets' values, made in the token (C_DigestKey). Unlike a MAC and unlike a wrapped key, a digest tells a
 * value from the same one with zeros behind it. No digest without the salt leaves the token, so that nobody can test a
 * guess of a weak secret who does not hold the domain key.
 */
import { createHash } from 'node:crypto';
import { CKM, CryptokiFailure, mechanism } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import type { Handle } from '../../model/object.ts';
import { tagOf } from '../own-keys/tags.ts';
import type { WrappingSession } from '../token-session.ts';

/**
 * Values that a token must neither pad nor cut: of odd lengths, longer than a block of SHA-256, with zeros at the ends.
 * NSS has no secrets above 256 bytes. Longer ones are compared one by one when they are sealed.
 */
export const KNOWN_VALUES: readonly Uint8Array[] = [1, 20, 64, 77, 201].map((bytes) =>
  Uint8Array.from({ length: bytes }, (_, index) => (index < bytes / 8 || index >= bytes - bytes / 8 ? 0 : 0x5a)),
);

const SALT = Buffer.from('antipode exact secret salt v1');
const TAG = Buffer.from('antipode exact secret v1\0');

export class ValueDigests {
  readonly #context: WrappingSession;
  #isOffered = false;

  constructor(context: WrappingSession) {
    this.#context = context;
  }

  /** Whether the token digests values as they are. Tried with known values, until it has shown that it does. */
  get isOffered(): boolean {
    this.#isOffered ||= twice(() => KNOWN_VALUES.every((value) => this.#isRight(value)) || undefined) === true;
    return this.#isOffered;
  }

  /** @throws CryptokiFailure */
  digest(salt: Uint8Array, secret: Handle): Uint8Array {
    const { cryptoki, session } = this.#context;
    return new Uint8Array(cryptoki.digestKey(session, mechanism(CKM.SHA256), salt, secret));
  }

  /** Keyed tags under a domain key. Undefined for a secret that the token does not digest, or that has no value yet. */
  tags(domainKey: Handle, secrets: readonly Handle[]): (Uint8Array | undefined)[] {
    if (secrets.length === 0) return [];
    if (!this.isOffered) return secrets.map(() => undefined);
    const salt = tagOf(this.#context, domainKey, SALT);
    const empty = softwareDigest(salt, new Uint8Array());
    return secrets.map((secret) => {
      const digest = unlessRefused(() => this.digest(salt, secret));
      // An unwrap that was cut short leaves a key without a value.
      if (digest === undefined || bytesEqual(digest, empty)) return undefined;
      return tagOf(this.#context, domainKey, Buffer.concat([TAG, digest]));
    });
  }

  #isRight(value: Uint8Array): boolean {
    const { cryptoki, session, values } = this.#context;
    const made = unlessRefused(() => values.make(value));
    if (made === undefined) return false;
    try {
      const digest = unlessRefused(() => this.digest(SALT, made));
      return digest !== undefined && bytesEqual(digest, softwareDigest(SALT, value));
    } finally {
      cryptoki.tryCall('C_DestroyObject', session, made);
    }
  }
}

export const softwareDigest = (salt: Uint8Array, value: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(salt).update(value).digest());

/** Repeats a trial that failed, once. One error of the device must not decide. */
export const twice = <Result>(trial: () => Result | undefined): Result | undefined => trial() ?? trial();

/** Undefined where the token refuses. */
export function unlessRefused<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof CryptokiFailure) return undefined;
    throw thrown;
  }
}
