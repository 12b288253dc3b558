/** A generation as it is named on the wire: digests and counts, and what it does not protect. Never a label. */
import { kindOf, type SealedGeneration } from '@antipode/hsm-core';
import type { GenerationRef, GenerationRefSchema } from '@antipode/protocol';
import { AntipodeError, fromHex, hex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';

export type GenerationRefInit = MessageInitShape<typeof GenerationRefSchema>;

export function refOf({ generation, digest, contentDigest }: SealedGeneration): GenerationRefInit {
  return {
    epoch: generation.epoch,
    generation: generation.number,
    manifestDigest: fromHex(digest),
    contentDigest: fromHex(contentDigest),
    captureStartedMs: BigInt(generation.captureStartedMs),
    objectCount: generation.entries.length,
    domainKeyVersion: generation.domainKeyVersion,
    uncaptured: generation.uncaptured.map((object) => ({
      objectId: object.objectId,
      kind: kindOf(object),
      reason: object.reason,
    })),
  };
}

/** The manifest digest of a reference in a request. @throws REQUEST_INVALID */
export function digestOf(ref: GenerationRef | undefined): string {
  if (ref?.manifestDigest.length !== 32)
    throw new AntipodeError('REQUEST_INVALID', 'generation.manifest_digest must have 32 bytes', {
      details: { field: 'generation' },
    });
  return hex(ref.manifestDigest);
}
