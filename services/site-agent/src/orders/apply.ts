/**
 * Applies a generation to a standby: pulls what is lacking, restores it, and records it as staged. It becomes `applied`,
 * and so fit for promotion, only when verify.ts has read it back (I4).
 */
import {
  type ApplyOptions,
  applyGeneration,
  kindOf,
  type RefusedObject,
  type SealedGeneration,
} from '@antipode/hsm-core';
import { type ApplyRequest, type ApplyResponseSchema, digestOf, fenceOf, isNewer } from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { inTenure, type OpenPartition, type Partition } from '../partition/partition.ts';
import { UnexplainedObjects } from '../partition/unexplained-objects.ts';
import { headOf, type Site, seatOf } from '../site.ts';
import type { PartitionOf } from '../storage/journal/line.ts';
import type { Seat } from '../storage/journal/tenure.ts';

interface TouchedObjects {
  readonly digest: string;
  readonly objectIds: readonly string[];
  readonly failed?: ReadonlySet<string>;
}

/**
 * For each partition in its group, the objects of its staged generation that verify.ts must use, and those that failed
 * there, for the next apply. This is in memory only: after a restart, verify.ts uses every object.
 */
export class Touched {
  readonly #objects = new Map<string, TouchedObjects>();

  of(seat: PartitionOf): TouchedObjects | undefined {
    return this.#objects.get(keyOf(seat));
  }

  set(seat: PartitionOf, objects: TouchedObjects): void {
    this.#objects.set(keyOf(seat), objects);
  }

  delete(seat: PartitionOf): void {
    this.#objects.delete(keyOf(seat));
  }
}

const keyOf = ({ group, serial }: PartitionOf): string => JSON.stringify([group, serial]);

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
  const mayAct = (): void => void site.authority.asStandby({ ...fence, serial: seat.serial });
  mayAct();
  // Nobody has watched the partition while it was out of the group: everything in it is looked at and used again.
  const hasLeft = journal.heads.hasLeft(seat);
  const isRetry = request.retryRefused && journal.findings.refused(seat).length > 0;
  if (journal.heads.of(seat, 'applied') === digest && !hasLeft && !isRetry && !restoresMore(site, seat, partition)) {
    return {
      appliedObjects: 0,
      pulledBlobs: 0,
      pulledBytes: 0n,
      narrowedObjects: 0,
      divergentObjects: seat.divergent,
      unaccountedObjects: seat.unaccounted,
      refusedObjects: journal.findings.refused(seat).length,
    };
  }
  const pulled = await inSpan('pull', { 'antipode.group': group }, async () => {
    await site.mender.mend(group, { sources: request.sources, signal });
    return transfer.pull({ group, digest, sources: request.sources, signal });
  });
  const inTurn = () =>
    partition.use(
      inTenure(fence, (open) =>
        inSpan('apply', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
          mayAct();
          const { generation } = pulled.sealed;
          await requireNewer(site, seat, pulled.sealed);
          if (hasLeft) open.replica.forget();
          const proved = hasLeft ? undefined : journal.heads.of(seat, 'applied');
          const unexplained = await UnexplainedObjects.before(site, open, seat);
          const result = await restoreHere(site, open, {
            seat,
            target: pulled.sealed,
            previous: unexplained.previous,
            proved: proved === undefined ? undefined : await site.store.open(proved),
            // Nothing counts as applied where a scrub or a proof has found damage: then all that is here is used first.
            doubted: proved === undefined ? 'everything' : (touched.of(seat)?.failed ?? new Set()),
            isReturned: hasLeft,
            checkFence: mayAct,
          });
          const before = touched.of(seat);
          const objectIds =
            before?.digest === digest ? [...new Set([...before.objectIds, ...result.unproven])] : result.unproven;
          touched.set(seat, { digest, objectIds });
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
            refusedObjects: result.refused.length,
          };
        }),
      ),
      signal,
    );
  return site.store.inUse.during(pulled.sealed, inTurn);
}

/** Makes what the token lacks of a generation, and records what it refuses. */
async function restoreHere(
  site: Site,
  { provider, keyring, replica, captures }: OpenPartition,
  {
    seat,
    ...rest
  }: { seat: Seat } & Pick<ApplyOptions, 'target' | 'previous' | 'proved' | 'doubted' | 'isReturned' | 'checkFence'>,
): ReturnType<typeof applyGeneration> {
  const { clock, store, journal } = site;
  const result = await applyGeneration({
    ...{ provider, keyring, clock, memory: replica, ...rest },
    blobOf: (sha256) => store.blob(sha256),
    journal: journal.intents.ofApply(seat),
  });
  captures.forget();
  noteRefused(site, seat, { ...rest.target, refused: result.refused });
  return result;
}

/**
 * Asks the token of a standby that is about to serve once more for what it has refused. It may have been away, or have
 * lied, and a member that is active is not asked again.
 */
export async function retryRefused(
  site: Site,
  open: OpenPartition,
  { seat, target, checkFence }: { seat: Seat } & Pick<ApplyOptions, 'target' | 'checkFence'>,
): Promise<void> {
  const refused = site.journal.findings.refused(seat).length;
  if (refused === 0) return;
  try {
    const { previous } = await UnexplainedObjects.before(site, open, seat);
    await restoreHere(site, open, {
      ...{ seat, target, previous, proved: target, doubted: new Set<string>(), isReturned: false, checkFence },
    });
  } catch (thrown) {
    // The proof of everything comes next, and decides.
    const error = AntipodeError.from(thrown);
    if (!['retry', 'operator'].includes(error.disposition)) throw error;
    site.log.warn('refused objects could not be tried again', { group: seat.group, objects: refused, error });
  }
}

/**
 * Whether objects that were refused may be taken now: some time has passed, or the security officer has trusted the
 * newest domain key here since keys were left out for that.
 */
function restoresMore({ journal, refusedRetries }: Site, seat: Seat, { trusted }: Partition): boolean {
  const { group, serial } = seat;
  const refused = journal.findings.refused(seat);
  if (refused.length > 0 && refusedRetries.isDue(seat)) return true;
  if (!refused.some(({ code }) => code === 'DOMAIN_KEY_UNTRUSTED')) return false;
  const versions = journal.domainKeys.of(serial).flatMap((key) => (key.group === group ? [key.version] : []));
  return trusted.some((key) => key.group === group && key.version === Math.max(...versions));
}

/**
 * Records the exceptions of what this member will acknowledge. Every heartbeat reports them, and the log does when they
 * change.
 */
function noteRefused(
  { journal, refusedRetries, log }: Site,
  seat: Seat,
  { generation, refused }: SealedGeneration & { refused: readonly RefusedObject[] },
): void {
  const { group, number } = generation;
  refusedRetries.applied(
    seat,
    refused.map(({ objectId }) => objectId),
  );
  const entries = new Map(generation.entries.map((entry) => [entry.objectId, entry]));
  const known = new Set(journal.findings.refused(seat).map(({ objectId, code }) => `${objectId} ${code}`));
  journal.findings.setRefused(
    seat,
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
async function requireNewer(site: Site, seat: Seat, { generation, digest }: SealedGeneration): Promise<void> {
  const { group, epoch, number } = generation;
  for (const kind of ['applied', 'staged'] as const) {
    const head = await headOf(site, seat, kind);
    if (head === undefined || head.digest === digest || isNewer(generation, head)) continue;
    throw new AntipodeError(
      'GENERATION_NOT_NEWER',
      `generation ${number} of epoch ${epoch} is not newer than ${head.number} of epoch ${head.epoch}`,
      { details: { group, generation: number, [kind]: head.number } },
    );
  }
}
