/**
 * Applies a generation to a standby: pulls what is lacking, restores it, and records it as staged. It becomes `applied`,
 * and so fit for promotion, only when verify.ts has read it back (I4).
 */
import { applyGeneration, kindOf, type RefusedObject, type SealedGeneration } from '@antipode/hsm-core';
import { type ApplyRequest, type ApplyResponseSchema, digestOf, fenceOf, isNewer } from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Partition } from '../partition/partition.ts';
import { UnexplainedObjects } from '../partition/unexplained-objects.ts';
import { headOf, type Site, seatOf } from '../site.ts';

/**
 * For each group, the objects of its staged generation that verify.ts must use, and those that failed there, for the
 * next apply. This is in memory only: after a restart, verify.ts uses every object.
 */
export type Touched = Map<
  string,
  { readonly digest: string; readonly objectIds: readonly string[]; readonly failed?: ReadonlySet<string> }
>;

export async function apply(
  site: Site,
  touched: Touched,
  request: ApplyRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof ApplyResponseSchema>> {
  const fence = fenceOf(request);
  const { group, epoch, requestId } = fence;
  const { journal, transfer } = site;
  const { seat, partition } = seatOf(site, group);
  const digest = digestOf(request.generation);
  const mayAct = (): void => void site.authority.asStandby(fence);
  mayAct();
  if (journal.heads.of(group, 'applied') === digest && !restoresMore(site, group, partition)) {
    return {
      appliedObjects: 0,
      pulledBlobs: 0,
      pulledBytes: 0n,
      narrowedObjects: 0,
      divergentObjects: seat.divergent,
      unaccountedObjects: seat.unaccounted,
    };
  }
  const pulled = await inSpan('pull', { 'antipode.group': group }, async () => {
    await site.mender.mend(group, { sources: request.sources, signal });
    return transfer.pull({ group, digest, sources: request.sources, signal });
  });
  const inTurn = () =>
    partition.use(
      (open) =>
        inSpan('apply', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
          mayAct();
          const { generation } = pulled.sealed;
          await requireNewer(site, pulled.sealed);
          const proved = journal.heads.of(group, 'applied');
          const unexplained = await UnexplainedObjects.before(site, open, group);
          const result = await applyGeneration({
            provider: open.provider,
            keyring: open.keyring,
            clock: site.clock,
            memory: open.replica,
            target: pulled.sealed,
            previous: unexplained.previous,
            proved: proved === undefined ? undefined : await site.store.open(proved),
            // Nothing counts as applied where a scrub or a proof has found damage: then all that is here is used first.
            doubted: proved === undefined ? 'everything' : (touched.get(group)?.failed ?? new Set()),
            blobOf: (sha256) => site.store.blob(sha256),
            journal: journal.intents.ofApply(group),
            checkFence: mayAct,
          });
          open.captures.forget();
          noteRefused(site, pulled.sealed, result.refused);
          const before = touched.get(group);
          const objectIds =
            before?.digest === digest ? [...new Set([...before.objectIds, ...result.unproven])] : result.unproven;
          touched.set(group, { digest, objectIds });
          const { divergent, unaccounted } = await unexplained.after(pulled.sealed);
          if (result.applied.length > 0 || pulled.blobs > 0) {
            site.log.info('generation restored', {
              group,
              epoch,
              generation: generation.number,
              request: requestId,
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
            divergentObjects: divergent,
            unaccountedObjects: unaccounted,
          };
        }),
      signal,
    );
  return site.store.inUse.during(pulled.sealed, inTurn);
}

/** Whether the security officer has trusted the newest domain key here since keys were left out for that. */
function restoresMore({ journal }: Site, group: string, { serial = '', trusted }: Partition): boolean {
  if (!journal.findings.refused(group).some(({ code }) => code === 'DOMAIN_KEY_UNTRUSTED')) return false;
  const versions = journal.domainKeys.of(serial).flatMap((key) => (key.group === group ? [key.version] : []));
  return trusted.some((key) => key.group === group && key.version === Math.max(...versions));
}

/**
 * Records the exceptions of what this member will acknowledge. Every heartbeat reports them, and the log does when they
 * change.
 */
function noteRefused(
  { journal, log }: Site,
  { generation }: SealedGeneration,
  refused: readonly RefusedObject[],
): void {
  const { group, number } = generation;
  const entries = new Map(generation.entries.map((entry) => [entry.objectId, entry]));
  const known = new Set(journal.findings.refused(group).map(({ objectId, code }) => `${objectId} ${code}`));
  journal.findings.setRefused(
    group,
    refused.map(({ objectId, code, returnValue = '' }) => ({
      objectId,
      kind: kindOf(entries.get(objectId)!),
      code,
      returnValue,
    })),
  );
  for (const { objectId, code, returnValue } of refused)
    if (!known.has(`${objectId} ${code}`))
      log.error('an object could not be restored here', { group, generation: number, objectId, code, returnValue });
}

/**
 * A late order must not replace a newer generation with an older one, even if the newer one has not been read back yet.
 * @throws GENERATION_NOT_NEWER
 */
async function requireNewer(site: Site, { generation, digest }: SealedGeneration): Promise<void> {
  const { group, epoch, number } = generation;
  for (const kind of ['applied', 'staged'] as const) {
    const head = await headOf(site, group, kind);
    if (head === undefined || head.digest === digest || isNewer(generation, head)) continue;
    throw new AntipodeError(
      'GENERATION_NOT_NEWER',
      `generation ${number} of epoch ${epoch} is not newer than ${head.number} of epoch ${head.epoch}`,
      { details: { group, generation: number, [kind]: head.number } },
    );
  }
}
