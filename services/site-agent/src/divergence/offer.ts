/**
 * Tells an operator what this standby has beside the generation of its group. Each object is sealed in the store of this
 * site first, so that it has an id and another member can take it. Nothing in the token changes, and nothing leaves the
 * site but ids and kinds. Also records which objects an operator keeps as they are.
 */
import { kindOf, type SealedGeneration, sealUnexplained, type UnexplainedObject } from '@antipode/hsm-core';
import { fenceOf, isNewer, type OfferDivergenceRequest, type OfferDivergenceResponseSchema } from '@antipode/protocol';
import { AntipodeError, fromHex, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { asidesOf, type SetAsideObject, setAsideAmong } from '../objects/set-aside-objects.ts';
import { inTenure } from '../partition/partition.ts';
import { UnexplainedObjects } from '../partition/unexplained-objects.ts';
import { headOf, type Site, seatOf } from '../site.ts';
import type { DivergentObject } from '../storage/journal/findings.ts';
import type { PartitionOf } from '../storage/journal/line.ts';

type Told = NonNullable<MessageInitShape<typeof OfferDivergenceResponseSchema>['objects']>[number];

/** The order in which an operator reads them: what waits for a decision comes first. */
const STATES: readonly (string | undefined)[] = ['divergent', 'unsealed', 'kept', 'set-aside'];

/** @throws ROLE_REFUSED at the active member, GENERATION_UNKNOWN before it has caught up, NOT_FOUND for an id to keep */
export async function offerDivergence(
  site: Site,
  request: OfferDivergenceRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof OfferDivergenceResponseSchema>> {
  const fence = fenceOf(request);
  const { group, epoch, requestId } = fence;
  const { journal, store, log } = site;
  const { seat, partition } = seatOf(site, group);
  const mayAct = (): void => void site.authority.asStandby({ ...fence, serial: seat.serial });
  mayAct();
  await site.mender.mend(group, { signal });
  return partition.use(
    inTenure(fence, (open) =>
      inSpan('offer divergence', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
        mayAct();
        const target = await caughtUp(site, seat);
        const unexplained = await UnexplainedObjects.before(site, open, seat);
        const offers = await offersOf(site, seat, target);
        const found = await sealUnexplained({
          provider: open.provider,
          keyring: open.keyring,
          clock: site.clock,
          prng: site.prng,
          memory: open.replica,
          target,
          previous: unexplained.previous,
          journal: journal.intents.ofApply(seat),
          checkFence: mayAct,
          known: new Set(offers.keys()),
          movement: journal.decisions.movement(group),
        });
        const { generation } = found;
        if (generation !== undefined) {
          await store.untilWritable(site.clock, signal);
          await store.inUse.during(generation, async () => {
            await store.putAllBlobs(found.blobs.values());
            await store.put(generation);
          });
          for (const { objectId } of generation.generation.entries) offers.set(objectId, generation.digest);
          log.info('objects beside the generation were sealed at this site', {
            group,
            epoch,
            request: requestId,
            objects: generation.generation.entries.length,
          });
        }
        const asides = await asidesOf(site, group);
        await journal.untilWritable(site.clock, signal);
        mayAct();
        const setAside = setAsideBeside(site, { target, objects: found.objects, asides });
        record(site, seat, { objects: found.objects, offers, setAside, kept: request.keptObjectIds });
        return answerOf(site, seat, {
          objects: found.objects,
          offers,
          setAside: setAsideBeside(site, { target, objects: found.objects, asides }),
        });
      }),
    ),
    signal,
  );
}

/** The generation of the group that was read back here, if it is newer than what this member captured itself. */
async function caughtUp(site: Site, seat: PartitionOf): Promise<SealedGeneration> {
  const [applied, captured] = [await headOf(site, seat, 'applied'), await headOf(site, seat, 'captured')];
  if (applied !== undefined && (captured === undefined || isNewer(applied, captured)))
    return site.store.open(applied.digest);
  throw new AntipodeError('GENERATION_UNKNOWN', 'this site has applied no generation of the tenure in force yet', {
    details: { group: seat.group, site: site.name },
    hint: `Run \`antipode replicate ${seat.group}\`, and repeat the command when this site has acknowledged.`,
  });
}

/** Objects that are sealed apart under the domain key of the target already, each with the digest of its manifest. */
async function offersOf(
  { journal, store }: Site,
  seat: PartitionOf,
  { generation: { domainKeyVersion } }: SealedGeneration,
): Promise<Map<string, string>> {
  const offers = new Map<string, string>();
  for (const { objectId, digest } of journal.findings.divergent(seat)) {
    if (!(await store.isSound(digest))) continue;
    const { generation } = await store.open(digest);
    if (generation.number === 0n && generation.domainKeyVersion === domainKeyVersion) offers.set(objectId, digest);
  }
  return offers;
}

/** Objects that are sealed at this site only, while these are in its token. */
function setAsideBeside(
  { journal }: Site,
  {
    target: { generation },
    objects,
    asides,
  }: { target: SealedGeneration; objects: readonly UnexplainedObject[]; asides: readonly SealedGeneration[] },
): SetAsideObject[] {
  const inToken = objects.flatMap(({ objectId }) => objectId ?? []);
  return setAsideAmong(asides, { group: generation.group, inToken, newest: generation, journal });
}

/** @throws NOT_FOUND; then nothing is recorded */
function record(
  { journal, name }: Site,
  seat: PartitionOf,
  {
    objects,
    offers,
    setAside,
    kept,
  }: {
    objects: readonly UnexplainedObject[];
    offers: ReadonlyMap<string, string>;
    setAside: readonly SetAsideObject[];
    kept: readonly string[];
  },
): void {
  const { findings, decisions } = journal;
  const before = new Map(findings.divergent(seat).map(({ objectId, digest }) => [objectId, digest]));
  const divergent = objects.flatMap(({ objectId = '' }): DivergentObject[] => {
    const digest = offers.get(objectId) ?? before.get(objectId);
    return digest === undefined ? [] : [{ objectId, digest }];
  });
  const ids = new Set(divergent.map(({ objectId }) => objectId));
  const sealedOnly = new Set(setAside.map(({ entry }) => entry.objectId));
  const unknown = kept.find((objectId) => !ids.has(objectId) && !sealedOnly.has(objectId));
  if (unknown !== undefined)
    throw new AntipodeError('NOT_FOUND', `site ${name} has no object ${unknown} beside the line of its group`, {
      details: { group: seat.group, site: name, objectId: unknown },
      hint: `Run \`antipode divergence show ${seat.group} ${name}\`, and copy the ids from there.`,
    });
  const [inToken, aside] = [kept.filter((objectId) => ids.has(objectId)), kept.filter((one) => sealedOnly.has(one))];
  findings.keep(seat, inToken);
  decisions.settleAsides(seat.group, aside, 'kept');
  findings.setUnexplained(seat, { divergent, unaccounted: objects.length - divergent.length });
}

function answerOf(
  site: Site,
  seat: PartitionOf,
  {
    objects,
    offers,
    setAside,
  }: {
    objects: readonly UnexplainedObject[];
    offers: ReadonlyMap<string, string>;
    setAside: readonly SetAsideObject[];
  },
): MessageInitShape<typeof OfferDivergenceResponseSchema> {
  const { journal } = site;
  const kept = journal.findings.kept(seat);
  const told: Told[] = [
    ...objects.map(({ object, objectId = '', reason = '' }) => ({
      objectId,
      kind: kindOf(object),
      state: kept.has(objectId) ? 'kept' : offers.has(objectId) ? 'divergent' : 'unsealed',
      reason: offers.has(objectId) ? '' : reason,
    })),
    ...setAside.map(({ entry, isKept }) => ({
      objectId: entry.objectId,
      kind: kindOf(entry),
      state: isKept ? 'kept' : 'set-aside',
      reason: isKept ? 'set-aside' : '',
    })),
  ];
  const place = ({ state, objectId }: Told): string => `${STATES.indexOf(state)} ${objectId}`;
  const counts = journal.tenure.seat(seat.group);
  return {
    objects: told.sort((one, other) => (place(one) < place(other) ? -1 : 1)),
    manifestDigests: [...new Set([...offers.values(), ...setAside.map(({ aside }) => aside.digest)])].map(fromHex),
    divergentObjects: counts?.divergent ?? 0,
    unaccountedObjects: counts?.unaccounted ?? 0,
  };
}
