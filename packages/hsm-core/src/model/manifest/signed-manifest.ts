/**
 * A manifest with its signature, as it is stored and sent. The manifest's digest names the generation.
 *
 * It upholds I4: a manifest is accepted only if it is whole, canonical, and signed by a pinned identity.
 */
import { createHash, createPublicKey, createVerify, verify } from 'node:crypto';
import { AntipodeError, runToEnd } from '@antipode/runtime';
import type { Generation, SealedGeneration } from '../generation.ts';
import { signingHalfOf } from '../identity.ts';
import { fingerprint } from '../public-half.ts';
import { CanonicalReader, CanonicalWriter, NotCanonical } from './canonical-protobuf.ts';
import { readingManifest } from './manifest-reader.ts';

/** Numbers of the fields of antipode.seal.v1.SignedManifest. */
const SIGNED = { manifest: 1, signature: 2, signer: 3 } as const;
const SIGNING_PREFIX = Buffer.from('antipode manifest v1\0');

/** The bytes that the frame adds to the manifest: tags, lengths, a P-256 signature and its key. */
const FRAME_BYTES = 1_024;

/** Bytes in one slice: a millisecond or two of hashing. */
const HASHED_AT_ONCE = 1024 * 1024;

export interface OpenOptions {
  readonly group: string;
  readonly isPinned: (identitySha256: string) => boolean;
  /** The digest that was announced. */
  readonly expectedDigest?: string;
}

/**
 * The bytes that the identity key signs: the manifest under a prefix of its own. So no other message can pass for a
 * manifest.
 */
export const signingInput = (manifest: Uint8Array): Uint8Array => Buffer.concat([SIGNING_PREFIX, manifest]);

/** A manifest that this partition has just signed. */
export interface Signing {
  readonly generation: Generation;
  /** The encoded generation. */
  readonly manifest: Uint8Array;
  readonly signature: Uint8Array;
  readonly signer: Uint8Array;
}

/** {@link sealingSigned} in one run. */
export const sealedGeneration = (signing: Signing): SealedGeneration => runToEnd(sealingSigned(signing));

/**
 * Puts a manifest and its signature together. The entries are read back from its bytes and refer to them from then on.
 * So a manifest that nobody could open is found here, and nothing is held twice.
 * @throws MANIFEST_INVALID
 */
export function* sealingSigned({
  generation,
  manifest,
  signature,
  signer,
}: Signing): Generator<void, SealedGeneration> {
  const frame = new CanonicalWriter(manifest.length + FRAME_BYTES);
  frame.bytes(SIGNED.manifest, manifest);
  frame.bytes(SIGNED.signature, signature);
  frame.bytes(SIGNED.signer, signer);
  const signed = frame.written;
  const own = takenApart(signed).manifest;
  const digest = yield* digesting(own);
  const { generation: read, contentDigest } = yield* readingSigned(own, digest);
  const { dataKeys, entries, tombstones } = read;
  return {
    generation: { ...generation, dataKeys, entries, tombstones },
    digest,
    contentDigest,
    signed,
    signerSha256: fingerprint(signer),
  };
}

/** {@link openingSigned} in one run. */
export const openSigned = (signed: Uint8Array, options: OpenOptions): SealedGeneration =>
  runToEnd(openingSigned(signed, options));

/**
 * Opens a signed manifest that came from elsewhere. It checks the digest, the signer against the pins, the signature,
 * and that the bytes are the canonical encoding of a well-formed generation of this group.
 *
 * The generation refers to the bytes, which must not be changed any more.
 * @throws MANIFEST_INVALID, PEER_NOT_PINNED
 */
export function* openingSigned(
  signed: Uint8Array,
  { group, isPinned, expectedDigest }: OpenOptions,
): Generator<void, SealedGeneration> {
  const { manifest, signature, signer } = takenApart(signed);
  const digest = yield* digesting(manifest);
  if (expectedDigest !== undefined && digest !== expectedDigest) {
    throw new AntipodeError('MANIFEST_INVALID', 'the manifest does not match the announced digest', {
      details: { expected: expectedDigest, found: digest },
    });
  }
  const signerSha256 = fingerprint(signer);
  if (!isPinned(signerSha256)) {
    throw new AntipodeError(
      'PEER_NOT_PINNED',
      `the manifest is signed by ${signerSha256}, which is not pinned for group ${group}`,
      {
        details: { group, identity: signerSha256 },
      },
    );
  }
  const verifier = createVerify('sha256').update(SIGNING_PREFIX);
  yield* feeding(verifier, manifest);
  const isSigned = withIdentity(signer, (key) => verifier.verify(key, signature));
  if (!isSigned) invalid('the signature does not verify', digest);
  const { generation, contentDigest } = yield* readingSigned(manifest, digest);
  if (generation.group !== group) invalid(`it belongs to group ${generation.group}`, digest);
  if (generation.source.identitySha256 !== signerSha256)
    invalid('the identity that signed it is not its source', digest);
  return { generation, digest, contentDigest, signed, signerSha256 };
}

/** Whether `signature` (r || s) over `message` was made by the P-256 key of the identity `signer`. */
export function isSignedBy(signer: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return withIdentity(signer, (key) => verify('sha256', message, key, signature));
}

type Identity = { readonly key: ReturnType<typeof createPublicKey>; readonly dsaEncoding: 'ieee-p1363' };

/** An unreadable key, or one of a kind that no identity has, verifies nothing. */
function withIdentity(signer: Uint8Array, verifies: (key: Identity) => boolean): boolean {
  try {
    const key = keyOf(signer);
    return key.asymmetricKeyType === 'ec' && verifies({ key, dsaEncoding: 'ieee-p1363' });
  } catch {
    return false;
  }
}

/** A site knows few identities, and each of them signs again and again. */
const KEYS_MAX = 1_000;
const keys = new Map<string, Identity['key']>();

function keyOf(signer: Uint8Array): Identity['key'] {
  const name = fingerprint(signer);
  const known = keys.get(name);
  if (known !== undefined) return known;
  const key = createPublicKey({ key: Buffer.from(signingHalfOf(signer)), format: 'der', type: 'spki' });
  if (keys.size >= KEYS_MAX) keys.clear();
  keys.set(name, key);
  return key;
}

function takenApart(signed: Uint8Array): { manifest: Uint8Array; signature: Uint8Array; signer: Uint8Array } {
  try {
    const reader = new CanonicalReader(signed);
    const place = { start: 0, end: 0 };
    reader.range(SIGNED.manifest, place);
    const manifest = reader.bytes.subarray(place.start, place.end);
    const parts = { manifest, signature: reader.copy(SIGNED.signature), signer: reader.copy(SIGNED.signer) };
    reader.leave(reader.end);
    return parts;
  } catch (cause) {
    if (!(cause instanceof NotCanonical)) throw cause;
    throw new AntipodeError('MANIFEST_INVALID', 'the manifest cannot be decoded', { cause });
  }
}

function* readingSigned(manifest: Uint8Array, digest: string) {
  try {
    return yield* readingManifest(manifest);
  } catch (thrown) {
    if (!(thrown instanceof NotCanonical)) throw thrown;
    return invalid(thrown.message, digest);
  }
}

function* digesting(manifest: Uint8Array): Generator<void, string> {
  const hash = createHash('sha256');
  yield* feeding(hash, manifest);
  return hash.digest('hex');
}

function* feeding(hash: { update(data: Uint8Array): unknown }, bytes: Uint8Array): Generator<void, void> {
  for (let start = 0; start < bytes.length; start += HASHED_AT_ONCE) {
    hash.update(bytes.subarray(start, start + HASHED_AT_ONCE));
    if (start + HASHED_AT_ONCE < bytes.length) yield;
  }
}

function invalid(why: string, digest: string): never {
  throw new AntipodeError('MANIFEST_INVALID', `the manifest is refused: ${why}`, { details: { digest } });
}
