/**
 * Takes what was deleted at the source out of a standby's token. It stays sealed in the store for its retention time, and
 * answers to its name nowhere (I14): a key that was destroyed because it is compromised must not sign again.
 *
 * Runs when the generation that deletes has been read back, right before it counts as applied: until then the generation
 * before stays whole (I4). Destroys only what is ours: in value and in every attribute that counts as a generation or an
 * apply has it. And only what is sealed here. Anything else was made or changed by somebody: it is left alone and counted
 * (I11).
 */

import { looksOf } from '../capture/namesakes.ts';
import { blobsOfTombstone, type Entry, type Tombstone } from '../model/generation.ts';
import { type Handle, isWrapped, type ObjectId, type ObservedObject } from '../model/object.ts';
import { asSeen, destroyDoomed, type Seen, seenAs } from '../provider/doomed.ts';
import { examine } from '../provider/recognise.ts';
import { recogniseReplica } from './recognition.ts';
import { domainKeyOf, type Replica } from './replica.ts';

export interface BuryOptions extends Replica {
  /** Whether the store has this blob, sound. */
  readonly hasBlob: (sha256: string) => boolean;
  /** Stores blobs, durably on return. */
  readonly putBlobs: (blobs: readonly Uint8Array[]) => void;
}

export interface BuryResult {
  readonly buried: readonly ObjectId[];
  /** There all the same: changed by somebody, kept by the token, or sealed nowhere. */
  readonly left: readonly ObjectId[];
}

interface Deleted {
  readonly tombstone: Tombstone;
  readonly handle: Handle;
  /** Absent where it is not ours, so far as we know. */
  readonly seen: Seen | undefined;
}

/** @throws DOMAIN_KEY_MISSING, HSM_UNAVAILABLE, HSM_WORKER_LOST, and what `checkFence` throws */
export async function bury(options: BuryOptions): Promise<BuryResult> {
  const { provider, memory, target, checkFence } = options;
  const domainKey = await recogniseReplica(options);
  const here = target.generation.tombstones.flatMap((tombstone): Deleted[] => {
    const known = memory.known.get(tombstone.entry.objectId);
    if (known === undefined) return [];
    return [{ tombstone, handle: known.handle, seen: known.isOurs ? known.seen : undefined }];
  });
  if (here.length === 0) return { buried: [], left: [] };
  const sealed = await sealedOf(options, here);
  const doomed = sealed.flatMap(({ handle, seen }) => (seen === undefined ? [] : [asSeen({ handle, seen })]));
  const { left } = await destroyDoomed(provider, { domainKey, doomed, checkFence });
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

/** Those whose blobs the store has. What it lacks of a key, the token gives once more: wrapping is deterministic. */
async function sealedOf({ provider, keyring, target, hasBlob, putBlobs }: BuryOptions, here: readonly Deleted[]) {
  const isSealed = ({ tombstone }: Deleted): boolean => [...blobsOfTombstone(tombstone)].every(hasBlob);
  const lacking = here.filter((one) => !isSealed(one) && isWrapped(one.tombstone.entry.objectClass));
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
 * Destroys what bears the class, type and names of these entries and is none of them: a damaged object, when the sound one has
 * been put beside it by order of a person.
 */
export async function destroyNamesakes(replica: Replica, entries: readonly Entry[]): Promise<void> {
  const { provider, keyring, target } = replica;
  if (entries.length === 0) return;
  const objects = await findImpostors(replica, entries);
  const domainKey = domainKeyOf(keyring, target);
  const examined = await examine(provider, { domainKey, objects });
  const doomed = examined.map((one) => asSeen({ handle: one.object.handle, seen: seenAs(one) }));
  await destroyDoomed(provider, { domainKey, doomed, checkFence: replica.checkFence });
}

/** What bears the class, type and names of these entries, and is no object of any generation that explains this partition. */
export async function findImpostors(replica: Replica, entries: readonly Entry[]): Promise<ObservedObject[]> {
  const { provider, keyring, memory } = replica;
  await recogniseReplica(replica);
  const sound = new Set([...memory.known.values()].map(({ handle }) => handle));
  const names = new Set(entries.map(looksOf));
  return (await provider.inventory()).filter(
    (object) => names.has(looksOf(object)) && !sound.has(object.handle) && !keyring.ownHandles.has(object.handle),
  );
}
