/**
 * The keys that seal some secrets byte for byte (ADR 0034). An RSA pair carries each secret by OAEP, and an AES data key
 * encrypts the result, so that a sealed secret rests on AES. They are session objects of one capture, or of one
 * batch of an apply, and lie in no token. Between the two they are wrapped under the domain key.
 */
import { randomBytes } from 'node:crypto';
import { CKA, CKK, CKM, CKO, mechanism, rsaOaep, type Template } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import type { Handle } from '../../model/object.ts';
import type { ExactKey, ExactModulusBits, OpenedKey } from '../../provider/exact-sealer.ts';
import { makeDataKey, openDataKey } from '../data-key.ts';
import { widerThan } from '../own-keys/narrowing.ts';
import { openingKeyPolicy } from '../own-keys/policy.ts';
import { findBreaches } from '../own-keys/protections.ts';
import { publicKeyTemplate, readPublicHalf } from '../own-keys/receiving-key.ts';
import type { KeyQuirks } from '../quirks.ts';
import type { TokenSession, WrappingSession } from '../token-session.ts';
import { KNOWN_VALUES, softwareDigest, unlessRefused, type ValueDigests } from './value-digests.ts';

/** An AES-256 key, wrapped by RFC 5649. The private half follows. */
const WRAPPED_DATA_KEY_BYTES = 40;

export interface ExactContext {
  readonly context: WrappingSession;
  readonly quirks: KeyQuirks;
  readonly digests: ValueDigests;
}

/**
 * Makes one, and opens its private half again as a member does. Undefined where the token makes none, or one that
 * changes a value or is not held to its template. @throws SessionFailure
 */
export function makeExactKey(
  exact: ExactContext,
  { domainKey, modulusBits }: { domainKey: Handle; modulusBits: ExactModulusBits },
): ExactKey | undefined {
  const { context } = exact;
  const { cryptoki, session, keyWrap } = context;
  const made: Handle[] = [];
  const keep = (handle: Handle): Handle => {
    made.push(handle);
    return handle;
  };
  const make = (): ExactKey | undefined => {
    const dataKey = makeDataKey(context, domainKey);
    keep(dataKey.handle);
    const pair = cryptoki.generateKeyPair(
      session,
      mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.MODULUS_BITS, modulusBits],
        [CKA.PUBLIC_EXPONENT, Uint8Array.of(1, 0, 1)],
        [CKA.ENCRYPT, false],
        [CKA.VERIFY, false],
        [CKA.WRAP, true],
      ],
      BORN,
    );
    keep(pair.publicKey);
    try {
      const half = new Uint8Array(cryptoki.wrapKey(session, keyWrap, domainKey, pair.privateKey));
      const opening = openPrivateHalf(exact, domainKey, half);
      if (opening === undefined) return undefined;
      keep(opening);
      const blob = new Uint8Array(Buffer.concat([dataKey.blob, half]));
      return { dataKey: dataKey.handle, wrapping: pair.publicKey, opening, blob };
    } finally {
      cryptoki.destroy(session, pair.privateKey);
    }
  };
  let isMade = false;
  try {
    const key = unlessRefused(make);
    isMade = key !== undefined && isSound(exact, key, KNOWN_VALUES);
    return isMade ? key : undefined;
  } finally {
    if (!isMade) forget(context, made);
  }
}

/** In the session, extractable for as long as it takes to wrap it under the domain key. Of no use before that. */
const BORN: Template = [
  [CKA.TOKEN, false],
  [CKA.PRIVATE, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, true],
  [CKA.DECRYPT, false],
  [CKA.SIGN, false],
  [CKA.SIGN_RECOVER, false],
  [CKA.UNWRAP, false],
];

/**
 * Opens one from a manifest. Undefined where the token carries a known value otherwise, or does not hold the key to its
 * template. @throws CryptokiFailure where the blob does not open
 */
export function openExactKey(exact: ExactContext, domainKey: Handle, blob: Uint8Array): OpenedKey | undefined {
  const { context } = exact;
  const { cryptoki, session } = context;
  const made: Handle[] = [];
  const keep = (handle: Handle): Handle => {
    made.push(handle);
    return handle;
  };
  let isOpen = false;
  try {
    const dataKey = keep(openDataKey(context, domainKey, blob.subarray(0, WRAPPED_DATA_KEY_BYTES)));
    const opening = openPrivateHalf(exact, domainKey, blob.subarray(WRAPPED_DATA_KEY_BYTES));
    if (opening === undefined) return undefined;
    const publicHalf = readPublicHalf(context, keep(opening));
    if (publicHalf === undefined) return undefined;
    const wrapping = keep(cryptoki.create(session, publicKeyTemplate(publicHalf)));
    isOpen = isSound(exact, { opening, wrapping }, KNOWN_VALUES.slice(1, 2));
    return isOpen ? { dataKey, wrapping, opening } : undefined;
  } finally {
    if (!isOpen) forget(context, made);
  }
}

/**
 * Undefined where the key is wider than its template. A copy could be narrowed, but NSS damages its memory when it copies
 * a private key within a session. @throws CryptokiFailure where the blob does not open
 */
function openPrivateHalf({ context, quirks }: ExactContext, domainKey: Handle, blob: Uint8Array): Handle | undefined {
  const { cryptoki, session, keyWrap } = context;
  const template = openingKeyPolicy(quirks);
  const opening = cryptoki.unwrapKey(session, keyWrap, domainKey, blob, template);
  if (widerThan(context, opening, template).length === 0) return opening;
  cryptoki.destroy(session, opening);
  return undefined;
}

/** A secret for the time of a trial: nothing of it can be read or taken out. */
const HIDDEN: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.TOKEN, false],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, false],
];

/** Opens what was carried, as a session key that the caller destroys. @throws CryptokiFailure */
export const openCarriedSecret = ({ cryptoki, session }: TokenSession, opening: Handle, carried: Uint8Array): Handle =>
  cryptoki.unwrapKey(session, rsaOaep(), opening, carried, HIDDEN);

/**
 * Tries with known values that the pair changes none of them, and that the opening key does nothing that the token
 * promises to forbid. The site has accepted the promises that its token does not keep.
 */
function isSound(
  { context, quirks: { unenforced }, digests }: ExactContext,
  { opening, wrapping }: Pick<OpenedKey, 'opening' | 'wrapping'>,
  values: readonly Uint8Array[],
): boolean {
  const { cryptoki, session } = context;
  const salt = randomBytes(32);
  const isRight = (value: Uint8Array): boolean => {
    const made: Handle[] = [];
    try {
      made.push(context.values.make(value));
      const carried = cryptoki.wrapKey(session, rsaOaep(), wrapping, made[0]!);
      made.push(openCarriedSecret(context, opening, carried));
      if (!bytesEqual(digests.digest(salt, made[1]!), softwareDigest(salt, value))) return false;
      const isBreached =
        (!unenforced.includes('unwrap-template') && isReadable(context, opening, carried)) ||
        (!unenforced.includes('decrypt') &&
          unlessRefused(() => cryptoki.decrypt(session, rsaOaep(), opening, carried)) !== undefined);
      return !isBreached;
    } finally {
      forget(context, made);
    }
  };
  const breaches = findBreaches(context, { key: opening, kind: 'private', unenforced });
  return breaches.length === 0 && values.every((value) => unlessRefused(() => isRight(value)) === true);
}

/** Whether the token unwraps the secret as a readable one. */
function isReadable({ cryptoki, session }: TokenSession, opening: Handle, carried: Uint8Array): boolean {
  const template: Template = HIDDEN.map((entry) => (entry[0] === CKA.SENSITIVE ? [CKA.SENSITIVE, false] : entry));
  const made = unlessRefused(() => cryptoki.unwrapKey(session, rsaOaep(), opening, carried, template));
  if (made === undefined) return false;
  try {
    return (cryptoki.attributes(session, made, [CKA.VALUE])?.get(CKA.VALUE)?.length ?? 0) > 0;
  } finally {
    cryptoki.tryCall('C_DestroyObject', session, made);
  }
}

export function forget({ cryptoki, session }: TokenSession, handles: readonly Handle[]): void {
  for (const handle of handles) cryptoki.tryCall('C_DestroyObject', session, handle);
}
