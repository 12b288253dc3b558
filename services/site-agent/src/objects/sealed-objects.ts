/**
 * The objects of one group that are sealed at this site and not as they should be in its token: deleted, damaged,
 * replaced, or set aside. Read from journal and store; no HSM is asked.
 */
import { type Entry, type Generation, isByDevice, type SealedGeneration } from '@antipode/hsm-core';
import { isNewer } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { openSiteMemory, type SiteMemory } from '../commands/beside-agent.ts';
import type { AgentConfig } from '../config.ts';
import type { GenerationStore } from '../storage/generation-store.ts';
import { burialKey } from '../storage/journal/collection.ts';
import type { PartitionOf } from '../storage/journal/line.ts';
import type { Seat } from '../storage/journal/tenure.ts';
import { asidesOf, setAsideAmong } from './set-aside-objects.ts';
import { type SiteObject, siteObject } from './site-object.ts';

/**
 * - `deleted`: sealed, and in no token.
 * - `held`: the next capture would lose it.
 * - `replaced`: the next capture would lose it, since another key has its names now.
 * - `changed`: the token has another value for it.
 * - `unreadable`: the token does not show it. Its file is damaged, or this user must not read it.
 * - `revived`: deleted, and in the token again. The next capture would bring it back to every member.
 * - `set-aside`: only this member had it. It gave way to an object of its name, and is sealed here only.
 */
export type DeletedState = 'deleted' | 'held' | 'replaced' | 'changed' | 'unreadable' | 'revived' | 'set-aside';

export interface DeletedObject extends SiteObject {
  readonly objectId: string;
  readonly state: DeletedState;
  readonly deletedMs?: number;
  /** For how long it is kept at least, and has been kept in this agent's running time. */
  readonly retentionMs?: number;
  readonly keptMs?: number;
  readonly isAccepted: boolean;
  /** Whether this member has what brings it back. */
  readonly isRestorable: boolean;
}

/** A group as journal and store have it at this site. */
export interface GroupHere extends Omit<SiteMemory, 'close'> {
  readonly seat: Seat;
  /** The newest generation captured or applied here. */
  readonly newest: SealedGeneration;
  /** Generations of objects that were set aside here. */
  readonly asides: readonly SealedGeneration[];
}

/** @throws NOT_FOUND, GENERATION_UNKNOWN */
export async function useGroup<T>(
  config: AgentConfig,
  group: string,
  work: (open: GroupHere) => Promise<T>,
): Promise<T> {
  const memory = openSiteMemory(config);
  try {
    const seat = memory.journal.tenure.seat(group);
    if (seat === undefined)
      throw new AntipodeError('NOT_FOUND', `this site has no seat in group ${group}`, { details: { group } });
    const newest = await newestSealed(memory, seat);
    if (newest === undefined)
      throw new AntipodeError('GENERATION_UNKNOWN', `this site has no generation of group ${group} yet`, {
        details: { group },
      });
    return await work({ ...memory, seat, newest, asides: await asidesOf(memory, group) });
  } finally {
    memory.close();
  }
}

interface Records {
  readonly journal: Pick<SiteMemory['journal'], 'heads'>;
  readonly store: GenerationStore;
}

/** The newest generation that was captured or applied here. */
export async function newestSealed(
  { journal, store }: Records,
  seat: PartitionOf,
): Promise<SealedGeneration | undefined> {
  const heads: SealedGeneration[] = [];
  for (const kind of ['captured', 'applied'] as const) {
    const digest = journal.heads.of(seat, kind);
    if (digest !== undefined) heads.push(await store.open(digest));
  }
  return heads.sort((one, other) => (isNewer(one.generation, other.generation) ? -1 : 1))[0];
}

/** All that a list asks the store of this site. */
type BlobsHere = Pick<GenerationStore, 'hasSoundBlob'>;

export function deletedIn(
  open: Omit<GroupHere, 'clock' | 'store'> & { readonly store: BlobsHere },
  group: string,
): DeletedObject[] {
  const { journal, store, seat, asides } = open;
  const { generation } = open.newest;
  const accepted = journal.decisions.accepted(seat);
  const runningMs = journal.collection.runningMs;
  const sinceMs = new Map(journal.collection.buried(group).map((one) => [burialKey(one), one.sinceMs]));
  const entries = new Map(generation.entries.map((entry) => [entry.objectId, entry]));
  // If another member has become active since, the capture that was held here does not wait for anything any more.
  const held = new Map(
    seat.role === 'active' ? journal.decisions.held(seat).map(({ objectId, reason }) => [objectId, reason]) : [],
  );
  const changed = changedOf(generation);
  // This token does not take those: other members have them.
  const refused = new Set(journal.findings.refused(seat).map(({ objectId }) => objectId));
  const unreadable = generation.uncaptured.flatMap(({ objectId, reason }) =>
    reason === 'unreadable' && !refused.has(objectId) ? [objectId] : [],
  );
  const undecided = [...new Set([...held.keys(), ...changed, ...unreadable])].flatMap((objectId): DeletedObject[] => {
    const entry = entries.get(objectId);
    if (entry === undefined) return [];
    const isRestorable = isHere(store, generation, entry);
    const reason = held.get(objectId);
    const ofHeld = reason === 'replaced' ? 'replaced' : 'held';
    const ofToken = reason === undefined ? 'unreadable' : ofHeld;
    const state = changed.has(objectId) ? 'changed' : ofToken;
    return [{ ...sealedObject(entry), state, isAccepted: accepted.has(objectId), isRestorable }];
  });
  const deleted = generation.tombstones.map(
    ({ entry, epoch, generation, deletedMs, retentionMs, domainKeyVersion, dataKey }): DeletedObject => {
      const since = sinceMs.get(burialKey({ objectId: entry.objectId, epoch, generation })) ?? runningMs;
      const blobs = [entry.blobSha256, dataKey?.blobSha256].filter((blob) => blob !== undefined);
      const isRevived = held.get(entry.objectId) === 'revived';
      return {
        ...sealedObject(entry),
        state: isRevived ? 'revived' : 'deleted',
        deletedMs,
        ...(retentionMs === undefined ? {} : { retentionMs }),
        keptMs: Math.max(0, runningMs - since),
        isAccepted: !isRevived || accepted.has(entry.objectId),
        isRestorable:
          domainKeyVersion !== undefined && !isByDevice(entry) && blobs.every((blob) => store.hasSoundBlob(blob)),
      };
    },
  );
  // A kept object may be in the token, and its generation an aside for the sake of another one.
  const inToken = journal.findings.divergent(seat).map(({ objectId }) => objectId);
  const setAside = setAsideAmong(asides, { group, inToken, newest: generation, journal }).map(
    ({ entry, aside: { generation: aside } }): DeletedObject => ({
      ...sealedObject(entry),
      state: 'set-aside',
      deletedMs: aside.captureStartedMs,
      isAccepted: true,
      isRestorable: isHere(store, aside, entry),
    }),
  );
  return [...undecided, ...deleted, ...setAside];
}

export const changedOf = ({ uncaptured }: Generation): ReadonlySet<string> =>
  new Set(uncaptured.filter(({ reason }) => reason === 'value-changed').map(({ objectId }) => objectId));

function isHere(store: BlobsHere, { dataKeys }: Generation, entry: Entry): boolean {
  const { blobSha256, dataKeyId } = entry;
  // Only a device has it.
  if (isByDevice(entry)) return false;
  const dataKey = dataKeys.find(({ id }) => id === dataKeyId);
  return [blobSha256, dataKey?.blobSha256].every((blob) => blob === undefined || store.hasSoundBlob(blob));
}

const sealedObject = (entry: Entry): SiteObject & { objectId: string } => ({
  ...siteObject(entry),
  objectId: entry.objectId,
});
