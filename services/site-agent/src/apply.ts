/**
 * Applies a generation to a standby: pulls what is lacking, restores it, and records it as staged. It becomes `applied`,
 * and so fit for promotion, only when verify.ts has read it back (I4).
 */
import { isNewer, unseal } from '@antipode/hsm-core';
import type { ApplyRequest, ApplyResponseSchema } from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { digestOf } from './generation-ref.ts';
import { fenceOf, headOf, newestHere, type Site, seatOf } from './site.ts';

/** Objects that a staged generation touched, for verify.ts; lost with the process, which then verifies everything. */
export type Touched = Map<string, { readonly digest: string; readonly objectIds: readonly string[] }>;

export async function apply(
  site: Site,
  touched: Touched,
  request: ApplyRequest,
): Promise<MessageInitShape<typeof ApplyResponseSchema>> {
  const { group, epoch } = fenceOf(request);
  const { journal, transfer, fences } = site;
  const { partition } = seatOf(site, group);
  const digest = digestOf(request.generation);
  const mayAct = (): void => {
    fences.check(group, epoch);
    const { seat } = seatOf(site, group);
    if (seat.role !== 'standby') {
      throw new AntipodeError(
        'ROLE_REFUSED',
        `this site is ${seat.role} in group ${group}, generations are applied to standbys`,
        { details: { group, role: seat.role } },
      );
    }
  };
  mayAct();
  const nothing = { appliedObjects: 0, pulledBlobs: 0, pulledBytes: 0n, narrowedObjects: 0 };
  if (journal.head(group, 'applied') === digest) return nothing;
  const pulled = await inSpan('pull', { 'antipode.group': group }, () =>
    transfer.pull({ group, digest, sources: request.sources }),
  );
  return partition.use((open) =>
    inSpan('apply', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
      mayAct();
      const applied = headOf(site, group, 'applied');
      const { generation } = pulled.sealed;
      if (applied !== undefined && applied.digest !== digest && !isNewer(generation, applied.generation)) {
        throw new AntipodeError(
          'GENERATION_NOT_NEWER',
          `generation ${generation.number} of epoch ${generation.epoch} is not newer than ${applied.generation.number} of epoch ${applied.generation.epoch}`,
          {
            details: { group, generation: generation.number, applied: applied.generation.number },
          },
        );
      }
      const result = await unseal({
        provider: open.provider,
        keyring: open.keyring,
        clock: site.clock,
        memory: open.replica,
        target: pulled.sealed,
        previous: newestHere(site, group),
        blobOf: (sha256) => site.store.blob(sha256),
        journal: {
          openIntents: () => journal.openIntents(group),
          begin: (objectIds) => journal.beginIntents(group, objectIds),
          commit: (objectIds) => journal.commitIntents(group, objectIds),
        },
        checkFence: mayAct,
      });
      open.captures.forget();
      const before = touched.get(group);
      const objectIds =
        before?.digest === digest ? [...new Set([...before.objectIds, ...result.applied])] : result.applied;
      touched.set(group, { digest, objectIds });
      journal.setCounts(group, { divergent: result.divergent, unaccounted: result.unaccounted });
      journal.setHead(group, 'staged', digest);
      if (result.applied.length > 0 || pulled.blobs > 0) {
        site.log.info('generation restored', {
          group,
          epoch,
          generation: generation.number,
          objects: result.applied.length,
          pulledBlobs: pulled.blobs,
          pulledBytes: pulled.bytes,
        });
      }
      return {
        appliedObjects: result.applied.length,
        pulledBlobs: pulled.blobs,
        pulledBytes: BigInt(pulled.bytes),
        narrowedObjects: result.narrowed,
      };
    }),
  );
}
