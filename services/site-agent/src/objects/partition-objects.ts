/**
 * Every object of a partition that is in a group, with its state. At the active member a preview of the next capture
 * tells it; elsewhere the objects are recognised by the generations that are here. Reads only, beside the agent.
 */
import {
  type CapturePreview,
  type Entry,
  findingSharedNames,
  type HsmProvider,
  type Keyring,
  matchesByRule,
  type ObjectFilter,
  type PreviewOptions,
  previewCapture,
  recogniseObjects,
  type SealedGeneration,
  SHARED_NAMES,
  type SharedName,
} from '@antipode/hsm-core';
import { AntipodeError, type Clock, runInSlices, systemPrng } from '@antipode/runtime';
import type { PartitionSettings } from '../config.ts';
import { withRulesOfSite } from '../partition/object-filter.ts';
import { hasRestored } from '../storage/deletions.ts';
import type { GenerationStore } from '../storage/generation-store.ts';
import type { Journal } from '../storage/journal/journal.ts';
import type { Seat } from '../storage/journal/tenure.ts';
import { chooseObjects } from './choose.ts';
import { type CommandPlace, usePartition } from './open-partition.ts';
import { type Replica, type Replicas, replicasOf } from './replicas.ts';
import { deletedIn, newestSealed } from './sealed-objects.ts';
import { asidesOf } from './set-aside-objects.ts';
import { type SiteObject, siteObject } from './site-object.ts';

/**
 * - `uncaptured`: in the token of the active member, and not protected as it is now.
 * - `refused`: in the generation. The token of this member did not take it.
 * - `missing`: in the generation, and not in the token of this member.
 * - `deleted`: sealed, and not in use. The reason says more.
 * - `divergent`: captured or restored here under a tenure that the group did not take up.
 * - `unaccounted`: in the token, and in no generation that is known here.
 * - `captured`: in the token of the active member, and sealed as it is now. Nobody is known to have acknowledged that.
 * - `replicated`: at the active member, captured and acknowledged by another member as it is now. At another member, in
 *   its token as the generation has it.
 */
export const OBJECT_STATES = [
  'uncaptured',
  'refused',
  'missing',
  'deleted',
  'divergent',
  'unaccounted',
  'captured',
  'replicated',
] as const;

export type ObjectState = (typeof OBJECT_STATES)[number];

export interface ListedObject extends SiteObject {
  readonly state: ObjectState;
  /** Why it is in that state, where the state alone does not say it. */
  readonly reason?: string;
  /** The rules of a filter that keep it at its site. */
  readonly rules?: readonly string[];
  /** How its names do not tell it from another object here. */
  readonly sharedNames?: readonly SharedName[];
  /** At the active member: the members that have acknowledged it, as far as this site has heard. */
  readonly acknowledgedBy?: readonly string[];
}

export interface PartitionObjects {
  readonly partition: string;
  readonly group: string;
  readonly role: string;
  /** The newest generation that was captured or applied here. */
  readonly generation?: bigint;
  /** At the active member: the last word of the coordinator on the other members. Empty if there was none. */
  readonly replicas?: readonly Replica[];
  readonly objects: readonly ListedObject[];
}

/** The open partition, and the records of its site. */
export interface ListedPartition {
  readonly settings: Pick<PartitionSettings, 'name' | 'exclude'>;
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly seat: Seat;
  readonly journal: Journal;
  readonly store: GenerationStore;
  readonly clock: Clock;
}

/** @throws NOT_FOUND, DOMAIN_KEY_MISSING, and the errors of opening a partition */
export function listObjects(
  place: CommandPlace,
  { group, words = [] }: { group?: string | undefined; words?: readonly string[] } = {},
): Promise<PartitionObjects> {
  return usePartition(place, async (open) => {
    const { name } = place;
    const { keyring, seat } = open;
    if (keyring === undefined || seat === undefined || (group !== undefined && seat.group !== group)) {
      const where = seat === undefined ? 'has no seat in a group' : `is in group ${seat.group}, not in ${group}`;
      throw new AntipodeError('NOT_FOUND', `partition ${name} ${where}`, {
        details: { partition: name },
        ...(seat === undefined
          ? { hint: `Run \`antipode partition check ${name}\`. It shows what a group would protect.` }
          : {}),
      });
    }
    const listed = await objectsOf({ ...open, keyring, seat });
    return { ...listed, objects: chooseObjects(listed.objects, words, { list: `antipode partition objects ${name}` }) };
  });
}

export async function objectsOf(listed: ListedPartition): Promise<PartitionObjects> {
  const { settings, seat, journal, store } = listed;
  const newest = await newestSealed(listed, seat);
  const replicas = seat.role === 'active' ? await replicasOf(listed, seat.group, newest) : undefined;
  const inToken = replicas === undefined ? await ofOther(listed, newest) : await ofActive(listed, newest, replicas);
  const shown = new Map(inToken.map((one) => [one.objectId, one]));
  const sealed =
    newest === undefined
      ? []
      : deletedIn({ journal, store, seat, newest, asides: await asidesOf(listed, seat.group) }, seat.group);
  const deleted = sealed
    // The list has it already, as the look at the token found it.
    .filter(({ objectId, state }) => !shown.has(objectId) || state === 'set-aside')
    .map(({ objectId, objectClass, keyType, sizeBits, label, ckaId, uses, state }): ListedObject => {
      const object = { objectId, objectClass, ...(keyType === undefined ? {} : { keyType }), sizeBits, label, ckaId };
      return { ...object, uses, state: 'deleted', reason: state };
    });
  const named = await withSharedNames(inToken, { newest, clock: listed.clock });
  const order = (state: ObjectState): number => OBJECT_STATES.indexOf(state);
  return {
    partition: settings.name,
    group: seat.group,
    role: seat.role,
    ...(newest === undefined ? {} : { generation: newest.generation.number }),
    ...(replicas === undefined ? {} : { replicas: replicas.members }),
    objects: [...named, ...deleted].sort((a, b) => order(a.state) - order(b.state)),
  };
}

/**
 * An object outside the generation shares a name if another object in the token has it. Its value is not compared: it may
 * be unknown.
 */
async function withSharedNames(
  objects: readonly ListedObject[],
  { newest, clock }: { newest: SealedGeneration | undefined; clock: Clock },
): Promise<ListedObject[]> {
  const entries = newest?.generation.entries ?? [];
  const shared = await runInSlices(findingSharedNames(entries), clock);
  const inLine = new Set(entries.map(({ objectId }) => objectId));
  const isForeign = ({ objectId }: ListedObject): boolean => objectId === undefined || !inLine.has(objectId);
  const live = objects.filter(({ state, reason }) => !ABSENT.has(state) && (state !== 'deleted' || reason === 'kept'));
  const sharing = (nameOf: (one: ListedObject) => string): Set<ListedObject> => {
    const groups = Map.groupBy(
      live.filter((one) => nameOf(one) !== ''),
      (one) => `${one.objectClass} ${nameOf(one)}`,
    );
    return new Set([...groups.values()].filter((alike) => alike.length > 1 && alike.some(isForeign)).flat());
  };
  const [byId, byLabel] = [sharing(({ ckaId }) => ckaId), sharing(({ label }) => label)];
  return objects.map((one) => {
    const names = new Set<SharedName>([
      ...((one.objectId === undefined ? undefined : shared.get(one.objectId)) ?? []),
      ...(byId.has(one) ? (['id'] as const) : []),
      ...(byLabel.has(one) ? (['label'] as const) : []),
    ]);
    return names.size === 0 ? one : { ...one, sharedNames: SHARED_NAMES.filter((name) => names.has(name)) };
  });
}

/** Listed, and not in the token. */
const ABSENT: ReadonlySet<ObjectState> = new Set(['refused', 'missing']);

/** Rules that keep nothing. */
export const NO_FILTER: ObjectFilter = { excludeIds: [], excludeLabels: [], excludeClasses: [] };

async function ofActive(
  listed: ListedPartition,
  newest: SealedGeneration | undefined,
  replicas: Replicas,
): Promise<ListedObject[]> {
  const { settings, journal, seat } = listed;
  const { group } = seat;
  const { decisions, findings } = journal;
  const filter = withRulesOfSite(decisions.filter(group) ?? NO_FILTER, settings);
  const refused = new Map(findings.refused(seat).map((one) => [one.objectId, one.returnValue || one.code]));
  const preview = await previewCapture({
    ...optionsFor(listed, newest),
    filter,
    unrestored: new Set(refused.keys()),
    hasRestored: hasRestored(journal, seat),
    accepted: decisions.accepted(seat),
    restored: decisions.restored(seat),
  });
  const held = new Map(decisions.held(seat).map(({ objectId, reason }) => [objectId, reason]));
  return [
    ...withRules(preview, filter).map((one) => withHolders(one, replicas)),
    ...preview.gone.map((entry): ListedObject => {
      const loss = held.get(entry.objectId);
      const reason = loss === undefined ? 'gone' : loss === 'replaced' ? 'replaced' : 'held';
      return { ...siteObject(entry, entry.objectId), state: 'deleted', reason };
    }),
    ...preview.kept.map((entry) => withoutObject(entry, refused)),
  ];
}

/** An entry of the generation that this token did not take, or that it does not show. */
function withoutObject(entry: Entry, refused: ReadonlyMap<string, string>): ListedObject {
  const object = siteObject(entry, entry.objectId);
  const reason = refused.get(entry.objectId);
  return reason === undefined ? { ...object, state: 'missing' } : { ...object, state: 'refused', reason };
}

/** An object that others have acknowledged as it is sealed here. */
function withHolders(one: ListedObject, replicas: Replicas): ListedObject {
  if (one.state !== 'captured') return one;
  const acknowledgedBy = replicas.holdersOf(one.objectId ?? '');
  return { ...one, state: acknowledgedBy.length === 0 ? 'captured' : 'replicated', acknowledgedBy };
}

/** Objects of the preview as a list, each excluded one with the rules that match it. */
function withRules({ objects }: CapturePreview, filter: ObjectFilter): ListedObject[] {
  const rules = rulesByHandle(objects, filter);
  return objects.map(({ object, before, objectId, reason = before === undefined ? 'new' : undefined }) => ({
    ...siteObject(object, objectId),
    state: reason === undefined ? 'captured' : 'uncaptured',
    ...(reason === undefined ? {} : { reason }),
    ...(reason === 'excluded' ? { rules: rules.get(object.handle) ?? [] } : {}),
  }));
}

/** The rules that match each object, as `label local-*`. */
export function rulesByHandle(
  objects: CapturePreview['objects'],
  filter: ObjectFilter,
): ReadonlyMap<bigint, readonly string[]> {
  const rules = new Map<bigint, string[]>();
  for (const { rule, objects: matched } of matchesByRule(
    objects.map(({ object }) => object),
    filter,
  ))
    for (const { handle } of matched)
      rules.set(handle, [...(rules.get(handle) ?? []), `${rule.kind} ${JSON.stringify(rule.value)}`]);
  return rules;
}

async function ofOther(listed: ListedPartition, newest: SealedGeneration | undefined): Promise<ListedObject[]> {
  const { journal, seat } = listed;
  const { findings } = journal;
  const known = await withDivergent(listed, newest);
  const { objects, gone } = await recogniseObjects({ ...optionsFor(listed, known?.sealed), filter: NO_FILTER });
  const buried = new Set(known?.sealed.generation.tombstones.map(({ entry }) => entry.objectId));
  const kept = findings.kept(seat);
  const refused = new Map(findings.refused(seat).map((one) => [one.objectId, one.returnValue || one.code]));
  const isDivergent = (objectId: string): boolean => known?.divergent.has(objectId) === true;
  const stateOf = (before: Entry | undefined): ObjectState => {
    if (before === undefined) return 'unaccounted';
    if (isDivergent(before.objectId)) return 'divergent';
    return buried.has(before.objectId) ? 'deleted' : 'replicated';
  };
  return [
    ...objects.map(({ object, before, objectId, reason }): ListedObject => {
      const state = stateOf(before);
      const isKept = state === 'deleted' || (state === 'divergent' && kept.has(before?.objectId ?? ''));
      const why = reason ?? (isKept ? 'kept' : undefined);
      return { ...siteObject(object, objectId), state, ...(why === undefined ? {} : { reason: why }) };
    }),
    ...gone.filter(({ objectId }) => !isDivergent(objectId)).map((entry) => withoutObject(entry, refused)),
  ];
}

/** The newest generation here, with the entries of objects beside it that the journal counts as divergent. */
async function withDivergent(
  { journal, store, seat }: ListedPartition,
  newest: SealedGeneration | undefined,
): Promise<{ sealed: SealedGeneration; divergent: ReadonlySet<string> } | undefined> {
  if (newest === undefined) return undefined;
  const { generation } = newest;
  const named = new Set([
    ...generation.entries.map(({ objectId }) => objectId),
    ...generation.tombstones.map(({ entry }) => entry.objectId),
  ]);
  const entries: Entry[] = [];
  const opened = new Map<string, SealedGeneration>();
  for (const { objectId, digest } of journal.findings.divergent(seat)) {
    if (named.has(objectId) || !(await store.isSound(digest))) continue;
    const other = opened.get(digest) ?? (await store.open(digest));
    opened.set(digest, other);
    entries.push(...other.generation.entries.filter((entry) => entry.objectId === objectId));
  }
  return {
    sealed: { ...newest, generation: { ...generation, entries: [...generation.entries, ...entries] } },
    divergent: new Set(entries.map(({ objectId }) => objectId)),
  };
}

/** As the agent would order a capture of this partition now. */
function optionsFor(
  { provider, keyring, clock, seat, journal }: ListedPartition,
  previous: SealedGeneration | undefined,
): Omit<PreviewOptions, 'filter'> {
  const { group } = seat;
  const [newestKey] = keyring.domainKeys(group);
  const version = previous?.generation.domainKeyVersion ?? newestKey?.version;
  if (version === undefined)
    throw new AntipodeError('DOMAIN_KEY_MISSING', `group ${group} has no domain key in this partition`, {
      details: { group },
    });
  return {
    provider,
    keyring,
    clock,
    prng: systemPrng,
    group,
    epoch: journal.tenure.fence(group)?.epoch ?? previous?.generation.epoch ?? 1n,
    domainKeyVersion: version,
    previous,
    movement: journal.decisions.movement(group),
  };
}
