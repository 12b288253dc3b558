/**
 * Applies a generation to a standby: pulls what is lacking, restores it, and records it as staged. It becomes `applied`,
 * and so fit for promotion, only when verify.ts has read it back (I4).
 */
import {
  type ApplyOptions,
  type ApplyResult,
  applyGeneration,
  intentOf,
  kindOf,
  type Refusal,
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
  /** Without `copies`, keys that devices have to copy are left out, and the result names them. */
  const inTurn = (copied?: DeviceCopied) =>
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
            doubted:
              proved === undefined
                ? 'everything'
                : new Set([...(touched.of(seat)?.failed ?? []), ...(copied?.objectIds ?? [])]),
            isReturned: hasLeft,
            checkFence: mayAct,
            copies: copied?.refusals ?? refusalsOf(site, seat),
            isLast: copied !== undefined,
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
          const { applied, narrowed, refused, uncopied } = result;
          return { applied: applied.length, narrowed, refused: refused.length, divergent, unaccounted, uncopied };
        }),
      ),
      signal,
    );
  return site.store.inUse.during(pulled.sealed, async () => {
    const first = await inTurn();
    let [last, applied, narrowed] = [first, first.applied, first.narrowed];
    if (first.uncopied.length > 0) {
      const copied = await copyBeside(site, {
        seat,
        partition,
        fence,
        sealed: pulled.sealed,
        uncopied: first.uncopied,
        signal,
      });
      last = await inTurn(copied);
      applied += last.applied + copied.objectIds.length;
      narrowed += last.narrowed;
    }
    return {
      appliedObjects: applied,
      pulledBlobs: pulled.blobs,
      pulledBytes: BigInt(pulled.bytes),
      narrowedObjects: narrowed,
      divergentObjects: last.divergent,
      unaccountedObjects: last.unaccounted,
      refusedObjects: last.refused,
    };
  });
}

/** The result of a copy by devices: the objects that came, and why others did not. */
interface DeviceCopied {
  readonly objectIds: readonly string[];
  readonly refusals: ReadonlyMap<string, Refusal>;
}

/**
 * Has the devices copy keys, while the partition does other work. By then the generation is staged without them. So this
 * member can be promoted with everything else, and the copy ends where that happens.
 */
async function copyBeside(
  site: Site,
  {
    seat,
    partition,
    fence: { group, epoch },
    sealed,
    uncopied,
    signal,
  }: {
    seat: Seat;
    partition: Partition;
    fence: { group: string; epoch: bigint };
    sealed: SealedGeneration;
    uncopied: ApplyResult['uncopied'];
    signal: AbortSignal | undefined;
  },
): Promise<DeviceCopied> {
  const { generation } = sealed;
  const copying = (ending: AbortSignal) =>
    partition.beside(
      inTenure({ group, epoch }, ({ provider, keyring }) => {
        // They recognise an object that a cut copy leaves half made. The next apply ends them.
        const wanted = new Set(uncopied.map(({ objectId }) => objectId));
        const entries = generation.entries.filter(({ objectId }) => wanted.has(objectId));
        site.journal.intents.begin(seat, entries.map(intentOf));
        return provider.cloneNative({
          domainKey: keyring.domainKey(group, generation.domainKeyVersion).handle,
          source: generation.source.serial,
          items: uncopied.map(({ item }) => item),
          signal: ending,
        });
      }),
      ending,
    );
  const outcomes = await site.deviceCopies.run({ seat, epoch }, copying, signal);
  const objectIds: string[] = [];
  const refusals = new Map<string, Refusal>();
  for (const [index, { objectId }] of uncopied.entries()) {
    const outcome = outcomes[index] ?? { code: 'NATIVE_NOT_CLONED' as const };
    if ('handle' in outcome) objectIds.push(objectId);
    else refusals.set(objectId, outcome);
  }
  return { objectIds, refusals };
}

/** Why devices have not copied keys so far. */
const refusalsOf = ({ journal }: Site, seat: Seat): ReadonlyMap<string, Refusal> =>
  new Map(
    journal.findings.refused(seat).flatMap(({ objectId, code, returnValue }) => {
      const isByDevice = code.startsWith('NATIVE_') || code === 'CLONING_DOMAIN_OTHER' || code === 'HSM_FULL';
      const refusal = { code, ...(returnValue === '' ? {} : { returnValue }) } as Refusal;
      return isByDevice ? [[objectId, refusal] as const] : [];
    }),
  );

/** Makes what the token lacks of a generation, and records what it refuses. */
async function restoreHere(
  site: Site,
  { provider, keyring, replica, captures }: OpenPartition,
  {
    seat,
    isLast,
    ...rest
  }: { seat: Seat; isLast: boolean } & Pick<
    ApplyOptions,
    'target' | 'previous' | 'proved' | 'doubted' | 'isReturned' | 'checkFence' | 'copies'
  >,
): ReturnType<typeof applyGeneration> {
  const { clock, store, journal } = site;
  const result = await applyGeneration({
    ...{ provider, keyring, clock, memory: replica, ...rest },
    blobOf: (sha256) => store.blob(sha256),
    journal: journal.intents.ofApply(seat),
  });
  captures.forget();
  noteRefused(site, seat, { ...rest.target, refused: result.refused, isLast: isLast || result.uncopied.length === 0 });
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
      // Nobody waits here for a device: the source may have died.
      ...{ copies: refusalsOf(site, seat), isLast: true },
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
  { generation, refused, isLast }: SealedGeneration & { refused: readonly RefusedObject[]; isLast: boolean },
): void {
  const { group, number } = generation;
  const objectIds = refused.map(({ objectId }) => objectId);
  // Before the devices were asked, nothing was tried.
  if (isLast) refusedRetries.applied(seat, objectIds);
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
    if (code !== 'NATIVE_CLONING' && !known.has(`${objectId} ${code}`))
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
