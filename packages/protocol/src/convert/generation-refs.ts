/**
 * A generation as the wire names it, and as databases, journals and plans name it: with digests in hexadecimal. Never a
 * label.
 */
import { AntipodeError, fromHex, hex } from '@antipode/runtime';
import type { GenerationRef, UncapturedObject } from '../gen/antipode/v1/types_pb.ts';
import type { GenerationPosition } from './generation-order.ts';

/** The names of a generation. */
export interface GenerationName extends GenerationPosition {
  /** SHA-256 of the manifest, hexadecimal. */
  readonly manifestDigest: string;
}

/** The facts of a generation that are known without its manifest. */
export interface GenerationFacts extends GenerationName {
  readonly contentDigest: string;
  readonly objectCount: number;
  /** Private and secret keys among them; undefined where that is not known. */
  readonly keyCount?: number | undefined;
  readonly domainKeyVersion: number;
  /** Objects that it does not protect. */
  readonly uncaptured: readonly UncapturedFacts[];
}

/** `isKept` is absent in records of earlier releases. */
type UncapturedFacts = Pick<UncapturedObject, 'objectId' | 'kind' | 'reason'> &
  Partial<Pick<UncapturedObject, 'isKept'>>;

const uncapturedFacts = ({ objectId, kind, reason, isKept }: UncapturedFacts): UncapturedFacts => ({
  objectId,
  kind,
  reason,
  ...(isKept === true ? { isKept } : {}),
});

type NameRef = Pick<GenerationRef, 'epoch' | 'generation' | 'manifestDigest'>;

export const generationName = ({ epoch, generation, manifestDigest }: NameRef): GenerationName => ({
  epoch,
  number: generation,
  manifestDigest: hex(manifestDigest),
});

export const nameRef = ({ epoch, number, manifestDigest }: GenerationName) => ({
  epoch,
  generation: number,
  manifestDigest: fromHex(manifestDigest),
});

export function generationFacts(ref: Omit<GenerationRef, '$typeName' | '$unknown'>): GenerationFacts {
  return {
    ...generationName(ref),
    contentDigest: hex(ref.contentDigest),
    objectCount: ref.objectCount,
    keyCount: ref.keyCount,
    domainKeyVersion: ref.domainKeyVersion,
    uncaptured: ref.uncaptured.map(uncapturedFacts),
  };
}

/** `captureStartedMs` by the source's clock, milliseconds since the Unix epoch. */
export function factsRef(facts: GenerationFacts, captureStartedMs: number) {
  const { contentDigest, objectCount, keyCount, domainKeyVersion, uncaptured } = facts;
  return {
    ...nameRef(facts),
    contentDigest: fromHex(contentDigest),
    captureStartedMs: BigInt(captureStartedMs),
    objectCount,
    ...(keyCount === undefined ? {} : { keyCount }),
    domainKeyVersion,
    uncaptured: uncaptured.map(uncapturedFacts),
  };
}

const DIGEST_BYTES = 32;

/** The manifest digest of a reference in a request. @throws REQUEST_INVALID */
export function digestOf(ref: Pick<GenerationRef, 'manifestDigest'> | undefined): string {
  if (ref?.manifestDigest.length !== DIGEST_BYTES)
    throw new AntipodeError('REQUEST_INVALID', `generation.manifest_digest must be ${DIGEST_BYTES} bytes long`, {
      details: { field: 'generation' },
    });
  return hex(ref.manifestDigest);
}
