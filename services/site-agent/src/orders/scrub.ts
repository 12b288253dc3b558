/**
 * Looks for silent damage. It reads a member's whole partition, uses every key, and compares the result with the newest
 * generation that describes the partition. It fetches sealed objects again that the disk has changed. A damaged replica
 * does not count as applied any more (I4, I13). The next replication makes the damaged objects again, beside those that
 * are there.
 */
import { type Handle, type ObjectId, scrub as scrubPartition } from '@antipode/hsm-core';
import { fenceOf, proofSummary, type ScrubRequest, type ScrubResponseSchema } from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { OpenPartition } from '../partition/partition.ts';
import { headOf, newestHere, refusedAt, type Site, seatOf } from '../site.ts';
import type { Role } from '../storage/journal/tenure.ts';
import { refOf } from './generation-ref.ts';
import { noteUntried, recordNamesakes } from './verify.ts';

export async function scrub(
  site: Site,
  request: ScrubRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof ScrubResponseSchema>> {
  const fence = fenceOf(request);
  const { group, epoch, requestId } = fence;
  const { journal, store, transfer } = site;
  const { seat, partition } = seatOf(site, group);
  const mayAct = (): Role => site.authority.asMember({ ...fence, serial: seat.serial }).role;
  /** The generation that was restored last describes a standby, even if it has not been read back yet. */
  const described = async (role: Role): Promise<string> => {
    const head =
      role === 'active'
        ? await newestHere(site, seat)
        : ((await headOf(site, seat, 'staged')) ?? (await headOf(site, seat, 'applied')));
    if (head !== undefined) return head.digest;
    throw new AntipodeError('GENERATION_UNKNOWN', `this site has no generation of group ${group} yet`, {
      details: { group },
    });
  };
  mayAct();
  await site.mender.mend(group, { sources: request.sources, signal });
  const wanted = await described(mayAct());
  const { blobs: mendedBlobs } = await transfer.pull({ group, digest: wanted, sources: request.sources, signal });
  return partition.use(
    (open) =>
      inSpan('scrub', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
        const role = mayAct();
        const target = await store.open(await described(role));
        const known = role === 'active' ? (open.captures.of(target.digest)?.objectIds ?? new Map()) : restoredAs(open);
        const { proof, missing, altered, namesakes } = await scrubPartition({
          ...open,
          clock: site.clock,
          target,
          known,
          refused: refusedAt(site, seat),
        });
        noteUntried(site, seat, { proved: 'everything', proof });
        const isReplica = role === 'standby';
        const isDamaged = proof.failed > 0 || (isReplica && missing.length + altered.length > 0);
        // An active member forgets nothing: by its handle a damaged key keeps the blob that was sealed of it.
        if (isDamaged && isReplica) {
          mayAct();
          open.replica.forget();
          journal.heads.drop(seat, 'applied');
        }
        // An application may have made it since the last apply.
        if (isReplica) recordNamesakes(site, seat, { generation: target.generation, objects: namesakes });
        site.log.at(isDamaged ? 'error' : 'info', isDamaged ? 'the partition is damaged' : 'partition scrubbed', {
          group,
          epoch,
          request: requestId,
          role,
          generation: target.generation.number,
          proved: proof.proved,
          failed: proof.failed,
          missing: missing.length,
          altered: altered.length,
          mendedBlobs,
        });
        return {
          generation: refOf(target),
          proof: proofSummary(proof),
          missingObjects: missing.length,
          alteredObjects: altered.length,
          mendedBlobs,
        };
      }),
    signal,
    // It can be done again; a promotion is waited for.
    'yielding',
  );
}

const restoredAs = ({ replica }: OpenPartition): Map<Handle, ObjectId> =>
  new Map([...replica.known].map(([objectId, { handle }]) => [handle, objectId]));
