/** Captures the active partition. Only under a valid lease; journalled and stored before it is reported (I1, I2, I4). */
import {
  captureGeneration,
  type Entry,
  type Generation,
  type HsmProvider,
  type Loss,
  type SealedGeneration,
} from '@antipode/hsm-core';
import {
  type CaptureRequest,
  type CaptureResponseSchema,
  fenceOf,
  filterRules,
  type MovementName,
  movementName,
} from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterCapture, countedByName } from '../partition/not-carried.ts';
import { withRulesOfSite } from '../partition/object-filter.ts';
import { newestHere, refusedAt, type Site, seatOf } from '../site.ts';
import type { GenerationSummary } from '../storage/generation-store.ts';
import type { PartitionOf } from '../storage/journal/line.ts';
import { refOf } from './generation-ref.ts';

export async function capture(
  site: Site,
  request: CaptureRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof CaptureResponseSchema>> {
  const fence = fenceOf(request);
  const { group, epoch, requestId } = fence;
  const { journal, store } = site;
  const { seat, partition } = seatOf(site, group);
  const mayAct = (): void => void site.authority.asActive({ ...fence, serial: seat.serial });
  mayAct();
  await site.mender.mend(group, { signal });
  return partition.use(
    (open) =>
      inSpan('capture', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async (span) => {
        mayAct();
        const head = await newestHere(site, seat);
        requireNoOlderKey(head, request);
        requireFreeNumber(head, request);
        const previous = head && (await store.open(head.digest));
        const rules = site.deletions.rules(seat, request, previous?.generation.tombstones ?? [], {
          isAcknowledged: (one) => site.retention.isAcknowledged(group, { epoch: one.epoch, number: one.generation }),
        });
        const adopted = await adoptedHere(site, seat, previous?.generation);
        const filter = filterRules(request.filter);
        const movement = movementOrdered(request);
        journal.decisions.setOrdered(group, { filter, movement });
        const { sealed, held, isOlderCopy, blobs, captureStartedMs, sealedObjects, notCarried } =
          await captureGeneration({
            provider: open.provider,
            keyring: open.keyring,
            clock: site.clock,
            prng: site.prng,
            memory: open.captures,
            group,
            epoch,
            number: request.reservedGeneration || max(previous?.generation.number ?? 0n, request.aboveGeneration) + 1n,
            domainKeyVersion: request.domainKeyVersion,
            previous,
            filter: withRulesOfSite(filter, partition.settings),
            movement,
            unrestored: refusedAt(site, seat),
            lost: new Set(await store.unsound(store.damaged)),
            hasRestored: site.deletions.hasRestored(seat),
            adopted: adopted.entries,
            ...rules,
            checkFence: mayAct,
          });
        if (held !== undefined) {
          const of = previous?.generation.entries.length ?? 0;
          throw heldBack(site, seat, { ...held, of, version: request.domainKeyVersion });
        }
        open.replica.forget();
        const newest = sealed ?? previous;
        if (newest === undefined)
          throw new AntipodeError('INVARIANT_BROKEN', 'a first capture gave no generation', { details: { group } });
        if (sealed !== undefined) {
          await store.untilWritable(site.clock, signal);
          await site.journal.untilWritable(site.clock, signal);
          await store.inUse.during(sealed, async () => {
            await store.putAllBlobs(blobs.values());
            await store.put(sealed);
          });
          mayAct();
          journal.heads.setCaptured(seat, sealed.digest);
          const { number, entries, uncaptured } = sealed.generation;
          site.log.info('generation captured', {
            group,
            epoch,
            generation: number,
            request: requestId,
            objects: entries.length,
            sealed: sealedObjects,
            uncaptured: uncaptured.length,
          });
        }
        await stamp(site, open.provider, { group, newest, isNew: sealed !== undefined, isOlderCopy });
        site.deletions.release(seat, rules);
        const unfinished = new Set(newest.generation.uncaptured.map(({ objectId }) => objectId));
        journal.decisions.endAdoption(
          seat,
          adopted.objectIds.filter((objectId) => !unfinished.has(objectId)),
        );
        noteNotCarried(site, seat, { read: notCarried, entries: newest.generation.entries });
        // Somebody may have brought here by hand what could not be restored.
        const here = new Set(open.captures.of(newest.digest)?.objectIds.values());
        const refused = journal.findings.refused(seat);
        const still = refused.filter(({ objectId }) => !here.has(objectId));
        if (still.length < refused.length) journal.findings.setRefused(seat, still);
        // The active member's own generation accounts for everything that is in its partition.
        const now = journal.tenure.seat(group);
        if (now !== undefined && now.divergent + now.unaccounted > 0)
          journal.findings.setUnexplained(seat, { divergent: [], unaccounted: 0 });
        span.setAttribute('antipode.sealed_objects', sealedObjects);
        return {
          generation: refOf(newest),
          isNew: sealed !== undefined,
          captureStartedMs: BigInt(captureStartedMs),
          sealedObjects,
        };
      }),
    signal,
  );
}

/** A movement of a later release is refused: its keys would stay behind without a word. @throws REQUEST_INVALID */
function movementOrdered({ movement }: Pick<CaptureRequest, 'movement'>): MovementName {
  const name = movementName(movement);
  if (name !== undefined) return name;
  throw new AntipodeError('REQUEST_INVALID', `movement ${movement} is unknown to this version`, {
    details: { field: 'movement' },
    hint: 'Upgrade this agent to the release of the coordinator (docs/upgrading.md).',
  });
}

/** From now on an older copy of the store shows. A store that takes no stamp is captured all the same. */
async function stamp(
  { log }: Site,
  provider: HsmProvider,
  {
    group,
    newest: { generation },
    isNew,
    isOlderCopy = false,
  }: { group: string; newest: SealedGeneration; isNew: boolean; isOlderCopy: boolean | undefined },
): Promise<void> {
  const { epoch, number } = generation;
  const isStamped = await provider.stampStore({ group, epoch, number, replacesOlder: isOlderCopy });
  if (isStamped !== false || !isNew) return;
  log.warn('the store of the token takes no stamp, so an older copy of it would not show', {
    group,
    generation: number,
  });
}

/** Objects that were merged into this partition, with their entries, as far as no generation of the line has them yet. */
async function adoptedHere(
  { journal, store }: Site,
  seat: PartitionOf,
  previous: Generation | undefined,
): Promise<{ objectIds: string[]; entries: Entry[] }> {
  const adopted = journal.decisions.adopted(seat);
  if (adopted.length === 0) return { objectIds: [], entries: [] };
  const known = new Set(previous?.entries.map(({ objectId }) => objectId));
  const entries: Entry[] = [];
  for (const [digest, some] of Map.groupBy(adopted, (one) => one.digest)) {
    if (!(await store.isSound(digest))) continue;
    const wanted = new Set(some.map(({ objectId }) => objectId).filter((objectId) => !known.has(objectId)));
    const { generation } = await store.open(digest);
    entries.push(...generation.entries.filter(({ objectId }) => wanted.has(objectId)));
  }
  return { objectIds: adopted.map(({ objectId }) => objectId), entries };
}

/**
 * Records attributes that no replica gets. The log has them when they change, and every heartbeat reports them. The log
 * has only names of attributes.
 */
function noteNotCarried(
  { journal, log }: Site,
  seat: PartitionOf,
  capture: Omit<Parameters<typeof afterCapture>[0], 'before'>,
): void {
  const after = afterCapture({ before: journal.findings.notCarried(seat), ...capture });
  if (after === undefined) return;
  journal.findings.setNotCarried(seat, after);
  log.warn('some attributes reach no replica', {
    group: seat.group,
    objects: after.length,
    attributes: countedByName(after),
  });
}

/** Before anything is changed: the generations stay as they are until an operator has decided. */
function heldBack(
  site: Site,
  seat: PartitionOf,
  {
    losses,
    limit,
    of,
    version,
    isOlderCopy = false,
  }: { losses: readonly Loss[]; limit: number; of: number; version: number; isOlderCopy?: boolean },
): AntipodeError {
  const { group } = seat;
  site.deletions.hold(seat, losses);
  const reasons = [...Map.groupBy(losses, ({ reason }) => reason)].map(([reason, some]) => `${reason} ${some.length}`);
  const details = { group, objects: losses.length, of, limit };
  if (isOlderCopy) return olderCopy(details, losses);
  const replaced = losses.filter(({ reason }) => reason === 'replaced').length;
  const elsewhere = refusedAt(site, seat);
  const away = losses.filter(({ objectId }) => elsewhere.has(objectId)).length;
  if (replaced === 0 && away > 0) return sealedElsewhere({ ...details, away, version }, reasons);
  if (replaced === 0)
    return new AntipodeError(
      'CAPTURE_HELD',
      `the capture would lose ${losses.length} of ${of} objects (${reasons.join(', ')}); the limit is ${limit}`,
      { details },
    );
  const others = losses.length - replaced;
  return new AntipodeError(
    'CAPTURE_HELD',
    `${replaced} of ${of} objects were replaced by other keys under their own names${others === 0 ? '' : `, and ${others} more would be lost`}; the limit is ${limit} (${reasons.join(', ')})`,
    { details: { ...details, replaced } },
  );
}

/** Nobody has to have deleted these, or to have made them again. */
function olderCopy(
  { group, of }: { group: string; objects: number; of: number; limit: number },
  losses: readonly Loss[],
): AntipodeError {
  const revived = losses.filter(({ reason }) => reason === 'revived').length;
  const lost = losses.length - revived;
  const gone = `${lost} of ${of} objects are gone`;
  const back = `${revived} deleted ${revived === 1 ? 'one is' : 'ones are'} back`;
  const parts = [...(lost === 0 ? [] : [gone]), ...(revived === 0 ? [] : [back])];
  return new AntipodeError('CAPTURE_HELD', `this token looks like an older copy of itself: ${parts.join(', and ')}`, {
    details: { group, objects: losses.length, of, limit: 0, revived },
    hint: `Run \`antipode deleted list ${group}\` at the active site to see the objects. If nobody meant it, put the newer copy of the token back, or move to a standby with \`antipode failover ${group} --to <site>\`: the standbys have everything that was acknowledged, and nothing that was deleted. If it was meant, run \`antipode deleted accept ${group}\` there: what is gone is then deleted everywhere, and what is back serves again everywhere. docs/runbooks/key-damaged.md has both ways.`,
  });
}

/** The generations would lose keys that this token has never taken, since it cannot seal them under a new domain key. */
function sealedElsewhere(
  details: { group: string; objects: number; of: number; limit: number; away: number; version: number },
  reasons: readonly string[],
): AntipodeError {
  const { group, objects, of, away, version } = details;
  const more = objects === away ? '' : `, and ${objects - away} more would be lost`;
  return new AntipodeError(
    'CAPTURE_HELD',
    `this token does not have ${away} of ${of} objects, so it cannot seal them under version ${version} of the domain key${more} (${reasons.join(', ')})`,
    {
      details,
      hint: `Run \`antipode deleted list ${group}\` at the active site to see the objects, and \`antipode group show ${group}\` to see which members lack them. Move to a member that has them: \`antipode failover ${group} --to <site>\`. Keys made here since the last generation stay behind, and are counted when this member returns. If no member that has them can serve, run \`antipode deleted accept ${group} <object>...\` here: the generations then leave them out, and tokens that have them keep them.`,
    },
  );
}

/** A version is retired because somebody may have kept it who should not: nothing is sealed under it again. */
function requireNoOlderKey(
  previous: Pick<GenerationSummary, 'domainKeyVersion'> | undefined,
  { fence, domainKeyVersion }: Pick<CaptureRequest, 'fence' | 'domainKeyVersion'>,
): void {
  if (previous === undefined || domainKeyVersion >= previous.domainKeyVersion) return;
  throw new AntipodeError(
    'DOMAIN_KEY_RETIRED',
    `the newest generation here is sealed under domain key version ${previous.domainKeyVersion}, not ${domainKeyVersion}`,
    { details: { group: fence?.group ?? '', version: domainKeyVersion, newest: previous.domainKeyVersion } },
  );
}

/**
 * The coordinator reserved this number for the order. If the number is taken here, the order came late or the database
 * of the coordinator was rolled back. The coordinator then reserves a number above the newest that this site reports.
 * @throws GENERATION_NOT_NEWER
 */
function requireFreeNumber(
  newest: Pick<GenerationSummary, 'number'> | undefined,
  { fence, reservedGeneration: number }: Pick<CaptureRequest, 'fence' | 'reservedGeneration'>,
): void {
  if (newest === undefined || number === 0n || number > newest.number) return;
  throw new AntipodeError(
    'GENERATION_NOT_NEWER',
    `generation ${newest.number} is here already, and the order is for number ${number}`,
    { details: { group: fence?.group ?? '', generation: number, newest: newest.number } },
  );
}

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
