/** Reads a staged generation back and uses its keys; only then does it count as applied here. */
import { type ProofSummary, readBack } from '@antipode/hsm-core';
import type { ProofSummarySchema, VerifyRequest, VerifyResponseSchema } from '@antipode/protocol';
import { AntipodeError, fromHex, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Touched } from './apply.ts';
import { digestOf } from './generation-ref.ts';
import { fenceOf, type Site, seatOf } from './site.ts';

export async function verify(
  site: Site,
  touched: Touched,
  request: VerifyRequest,
): Promise<MessageInitShape<typeof VerifyResponseSchema>> {
  const { group, epoch } = fenceOf(request);
  const { journal, store } = site;
  const { partition } = seatOf(site, group);
  const digest = digestOf(request.generation);
  return partition.use((open) =>
    inSpan('verify', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
      if (journal.head(group, 'staged') !== digest && journal.head(group, 'applied') !== digest) {
        throw new AntipodeError('GENERATION_UNKNOWN', 'the generation has not been restored here', {
          details: { group, generation: digest },
        });
      }
      const target = store.open(digest);
      const known = touched.get(group);
      const objectIds = request.everything || known?.digest !== digest ? 'everything' : known.objectIds;
      const { contentDigest, proof } = await readBack({
        provider: open.provider,
        keyring: open.keyring,
        memory: open.replica,
        target,
        objectIds,
      });
      if (contentDigest === target.contentDigest && proof.failed === 0) {
        journal.setHead(group, 'applied', digest);
        touched.delete(group);
      } else {
        site.log.error('generation does not verify', {
          group,
          epoch,
          generation: target.generation.number,
          failed: proof.failed,
          digestMatches: contentDigest === target.contentDigest,
        });
      }
      return { contentDigest: fromHex(contentDigest), proof: proofMessage(proof) };
    }),
  );
}

export function proofMessage({
  proved,
  failed,
  failedObjectIds,
  usesNotExercised,
}: ProofSummary): MessageInitShape<typeof ProofSummarySchema> {
  return { proved, failed, failedObjectIds: failedObjectIds.slice(0, FAILED_IDS_MAX), usesNotExercised };
}

/** A list for people; the count beside it is whole. */
const FAILED_IDS_MAX = 100;
