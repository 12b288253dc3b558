/** A generation as it is named on the wire: digests and counts, and what it does not protect. Never a label. */
import { kindOf, type SealedGeneration } from '@antipode/hsm-core';
import type { GenerationRef, GenerationRefSchema } from '@antipode/protocol';
import { AntipodeError, fromHex, hex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type GenerationSummary, summaryOf } from '../storage/generation-store.ts';

export type GenerationRefInit = MessageInitShape<typeof GenerationRefSchema>;
type Brief = Required<Omit<GenerationRef, 'uncaptured' | '$typeName' | '$unknown'>>;

/** Without what it does not protect: small however many objects it has, for what is sent every second. */
export function briefRefOf(summary: GenerationSummary): Brief {
  const { epoch, number, digest, contentDigest, captureStartedMs, objectCount, keyCount, domainKeyVersion } = summary;
  return {
    epoch,
    generation: number,
    manifestDigest: fromHex(digest),
    contentDigest: fromHex(contentDigest),
    captureStartedMs: BigInt(captureStartedMs),
    objectCount,
    keyCount,
    domainKeyVersion,
  };
}

/** The whole of it, for the answer to a capture. */
export function refOf(sealed: SealedGeneration) {
  return {
    ...briefRefOf(summaryOf(sealed)),
    uncaptured: sealed.generation.uncaptured.map((object) => ({
      objectId: object.objectId,
      kind: kindOf(object),
      reason: object.reason,
    })),
  };
}

/** The manifest digest of a reference in a request. @throws REQUEST_INVALID */
export function digestOf(ref: GenerationRef | undefined): string {
  if (ref?.manifestDigest.length !== 32)
    throw new AntipodeError('REQUEST_INVALID', 'generation.manifest_digest must be 32 bytes long', {
      details: { field: 'generation' },
    });
  return hex(ref.manifestDigest);
}
