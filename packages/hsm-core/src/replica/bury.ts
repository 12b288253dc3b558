/**
 * Takes objects that were deleted at the source out of a standby's token. They stay sealed in the store for their
 * retention, and answer to their names nowhere (I14). A key that was destroyed because it is compromised must not sign
 * again.
 *
 * It runs when the deleting generation has been read back, right before it counts as applied. Until then the previous
 * generation stays whole (I4).
 *
 * It destroys only objects of ours that are sealed here. Any other object was made or changed by somebody. It stays,
 * and it is counted (I11).
 */

import { looksOf } from '../capture/namesakes.ts';
import { blobsOfTombstone } from '../model/blobs.ts';
import { type Entry, type Tombstone, withoutClone } from '../model/generation.ts';
import { type Handle, isWrapped, type ObjectId, type ObservedObject } from '../model/object.ts';
import { asSeen, destroyDoomed, type Seen, seenAs } from '../objects/doomed.ts';
import { examine } from '../objects/recognise.ts';
import { recogniseReplica } from './recognition.ts';
import { domainKeyOf, type Replica } from './replica.ts';

export interface BuryOptions extends Replica {
  /** Whether the store has a sound copy of this blob. */
  readonly hasBlob: (sha256: string) => boolean;
  /** Stores blobs, durably on return. */
  readonly putBlobs: (blobs: readonly Uint8Array[]) => void;
}

export interface BuryResult {
  readonly buried: readonly ObjectId[];
  /** Still in the token: changed by somebody, kept by the token, or sealed nowhere. */
  readonly left: readonly ObjectId[];
}

interface Deleted {
  readonly tombstone: Tombstone;
  readonly handle: Handle;
  /** Absent if the object is not known to be ours. */
  readonly seen: Seen | undefined;
}

/** @throws DOMAIN_KEY_MISSING, HSM_UNAVAILABLE, HSM_WORKER_LOST, and what `checkFence` throws */
export async function bury(options: BuryOptions): Promise<BuryResult> {
  const { provider, clock, memory, target, checkFence } = options;
  const domainKey = await recogniseReplica(options);
  const here = target.generation.tombstones.flatMap((tombstone): Deleted[] => {
    const known = memory.known.get(tombstone.entry.objectId);
    if (known === undefined) return [];
    return [{ tombstone, handle: known.handle, seen: known.isOurs ? known.seen : undefined }];
  });
  if (here.length === 0) return { buried: [], left: [] };
  const sealed = await sealedOf(options, here);
  const doomed = sealed.flatMap(({ handle, seen }) => (seen === undefined ? [] : [asSeen({ handle, seen })]));
  const { left } = await destroyDoomed(provider, { clock, domainKey, doomed, checkFence });
  const going = new Set(doomed.map(({ handle }) => handle).filter((handle) => !left.includes(handle)));
  const result = { buried: [] as ObjectId[], left: [] as ObjectId[] };
  for (const { tombstone, handle } of here) {
    const { objectId } = tombstone.entry;
    memory.known.delete(objectId);
    if (going.has(handle)) result.buried.push(objectId);
    else {
      result.left.push(objectId);
      memory.unaccounted = [...memory.unaccounted, handle];
    }
  }
  return result;
}

/**
 * Objects whose blobs the store has. The token gives a missing blob of a key again, since wrapping is deterministic. It
 * cannot do that for data, nor for a secret that is sealed exactly.
 */
async function sealedOf({ provider, keyring, target, hasBlob, putBlobs }: BuryOptions, here: readonly Deleted[]) {
  // The sealed form is enough to bring a key back.
  const sealedForm = ({ cloneDataKey: _, ...tombstone }: Tombstone): Tombstone => ({
    ...tombstone,
    entry: withoutClone(tombstone.entry),
  });
  const isSealed = ({ tombstone }: Deleted): boolean => [...blobsOfTombstone(sealedForm(tombstone))].every(hasBlob);
  const lacking = here.filter(
    (one) =>
      !isSealed(one) && isWrapped(one.tombstone.entry.objectClass) && one.tombstone.entry.dataKeyId === undefined,
  );
  for (const { handle: domainKey, version } of lacking.length === 0
    ? []
    : keyring.domainKeys(target.generation.group)) {
    const wanted = lacking.filter(({ tombstone: { domainKeyVersion = version } }) => domainKeyVersion === version);
    const outcomes = await provider.wrap(
      domainKey,
      wanted.map(({ handle }) => handle),
    );
    putBlobs(outcomes.flatMap((outcome) => ('blob' in outcome ? [outcome.blob] : [])));
  }
  return here.filter(isSealed);
}

/**
 * Destroys objects that have the class, type and names of these entries and are not theirs. An operator has ordered the
 * sound object beside a damaged one.
 */
export async function destroyNamesakes(replica: Replica, entries: readonly Entry[]): Promise<void> {
  const { provider, keyring, clock, target } = replica;
  if (entries.length === 0) return;
  const objects = await findImpostors(replica, entries);
  const domainKey = domainKeyOf(keyring, target);
  const examined = await examine(provider, { clock, domainKey, objects });
  const doomed = examined.map((one) => asSeen({ handle: one.object.handle, seen: seenAs(one) }));
  await destroyDoomed(provider, { clock, domainKey, doomed, checkFence: replica.checkFence });
}

/** Objects that have the class, type and names of these entries, and that no generation explains. */
export async function findImpostors(replica: Replica, entries: readonly Entry[]): Promise<ObservedObject[]> {
  const { provider, keyring, memory } = replica;
  await recogniseReplica(replica);
  const sound = new Set([...memory.known.values()].map(({ handle }) => handle));
  const names = new Set(entries.map(looksOf));
  return (await provider.inventory()).filter(
    (object) => names.has(looksOf(object)) && !sound.has(object.handle) && !keyring.ownHandles.has(object.handle),
  );
}
