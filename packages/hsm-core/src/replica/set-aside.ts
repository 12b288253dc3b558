/**
 * Takes objects out of a former active member's token that have names of the newest generation and are not in it. Its
 * applications made or kept them while another member was active. A program finds the first object with a name, so it
 * would not always find the key in force (I14).
 *
 * They are sealed first, in a generation of their own that stays in this member's store. So nothing is lost, and an
 * operator can restore them (I11). An object that cannot be sealed stays, and is counted.
 *
 * At a member that was never active, only copies of our own objects are taken out. Some are damaged (apply.ts), and some
 * were applied here with a generation that a failover has left out of the line. All other objects there are somebody's.
 * A damaged copy that cannot be sealed is destroyed if it refuses every use in two looks.
 */
import type { Clock, Prng } from '@antipode/runtime';
import type { SealedGeneration } from '../model/generation.ts';
import type { Handle, ObjectId, ObservedObject } from '../model/object.ts';
import { asSeen, destroyDoomed, seenAs } from '../objects/doomed.ts';
import { type Examined, examine } from '../objects/recognise.ts';
import { type ApartOptions, cloningOf, isSealable, namesOf, sealApart } from './apart.ts';
import { recogniseReplica } from './recognition.ts';
import type { Replica } from './replica.ts';

export interface SetAsideOptions extends Replica, Pick<ApartOptions, 'movement'> {
  readonly clock: Clock;
  readonly prng: Prng;
  /** Whether this member was ever active. Then all objects with these names are its own. */
  readonly wasActive: boolean;
  /** Stores the sealed objects and their list before any of them leaves the token. Both are durable on return. */
  readonly store: (sealed: SealedGeneration, blobs: ReadonlyMap<string, Uint8Array>) => Promise<void>;
}

export interface SetAsideResult {
  readonly setAside: readonly ObjectId[];
  /** Damaged objects that refused every use, and so were sealed nowhere. */
  readonly destroyed: number;
  /** Still in the token, under names of the generation. */
  readonly left: number;
}

/** Objects that have names of the target and are not in it. */
export async function findNamesakes({ provider, memory, target }: Replica): Promise<ObservedObject[]> {
  const { entries } = target.generation;
  const wanted = new Set(entries.map(({ objectId }) => objectId));
  const handles = [
    ...memory.unaccounted,
    ...[...memory.known].filter(([objectId]) => !wanted.has(objectId)).map(([, { handle }]) => handle),
  ];
  if (handles.length === 0) return [];
  const taken = new Set(entries.flatMap(namesOf));
  return (await provider.read(handles)).filter(
    (object): object is ObservedObject => object !== undefined && namesOf(object).some((name) => taken.has(name)),
  );
}

/**
 * The same, and reads the partition first if nobody has.
 * @throws DOMAIN_KEY_MISSING, HSM_UNAVAILABLE, HSM_WORKER_LOST
 */
export async function lookForNamesakes(replica: Replica): Promise<ObservedObject[]> {
  await recogniseReplica(replica);
  return findNamesakes(replica);
}

/** @throws DOMAIN_KEY_MISSING, HSM_UNAVAILABLE, HSM_WORKER_LOST, HSM_REFUSED, and what `checkFence` throws */
export async function setAside(options: SetAsideOptions): Promise<SetAsideResult> {
  const { provider, clock, memory, checkFence, store } = options;
  const domainKey = await recogniseReplica(options);
  const damaged = new Set(memory.damaged);
  const restored = restoredBefore(options);
  const isOurs = (handle: Handle): boolean => damaged.has(handle) || restored.has(handle);
  const objects = (await findNamesakes(options)).filter(({ handle }) => options.wasActive || isOurs(handle));
  if (objects.length === 0) return { setAside: [], destroyed: 0, left: 0 };
  const examined = await examine(provider, { clock, domainKey, objects });
  const cloning = await cloningOf(options);
  const useless = await findUseless(
    options,
    domainKey,
    examined.filter((one) => damaged.has(one.object.handle) && !isSealable(one, cloning)),
  );
  const destroyed = await destroyAsSeen(options, domainKey, useless);
  const { generation, blobs, sealed } = await sealApart({ ...options, domainKey }, examined);
  if (generation === undefined)
    return { setAside: [], destroyed: destroyed.size, left: objects.length - destroyed.size };
  await store(generation, blobs);
  checkFence();
  const gone = await destroyAsSeen(
    options,
    domainKey,
    sealed.map(({ one }) => one),
  );
  return {
    setAside: sealed.filter(({ one }) => gone.has(one.object.handle)).map(({ entry }) => entry.objectId),
    destroyed: destroyed.size,
    left: objects.length - gone.size - destroyed.size,
  };
}

/** Objects of former generations, as those have them, that the target does not list. */
function restoredBefore({ memory, target }: Replica): Set<Handle> {
  const { entries } = target.generation;
  const wanted = new Set(entries.map(({ objectId }) => objectId));
  return new Set(
    [...memory.known].flatMap(([objectId, { handle, isOurs }]) => (isOurs && !wanted.has(objectId) ? [handle] : [])),
  );
}

async function destroyAsSeen(
  { provider, clock, memory, checkFence }: SetAsideOptions,
  domainKey: Handle,
  examined: readonly Examined[],
): Promise<Set<Handle>> {
  const doomed = examined.map((one) => asSeen({ handle: one.object.handle, seen: seenAs(one) }));
  const { destroyed } = await destroyDoomed(provider, { clock, domainKey, doomed, checkFence });
  const gone = new Set(destroyed);
  memory.unaccounted = memory.unaccounted.filter((handle) => !gone.has(handle));
  memory.damaged = memory.damaged.filter((handle) => !gone.has(handle));
  for (const [objectId, { handle }] of memory.known) if (gone.has(handle)) memory.known.delete(objectId);
  return gone;
}

/**
 * Damaged objects that nobody can use: keys that refuse every use in two looks, and public keys that cannot be read.
 */
async function findUseless(
  { provider }: SetAsideOptions,
  domainKey: Handle,
  damaged: readonly Examined[],
): Promise<Examined[]> {
  if (damaged.length === 0) return [];
  const handles = damaged.map(({ object }) => object.handle);
  const isUseless = async (): Promise<boolean[]> => {
    const answers = await provider.challenge(domainKey, handles);
    return damaged.map(({ object: { objectClass, publicHalf } }, index) =>
      objectClass === 'public-key' ? publicHalf === undefined : answers[index] === 'refuses',
    );
  };
  const first = await isUseless();
  const { objects } = await provider.look({ handles });
  const again = new Map(objects.map(({ handle, readDigest }) => [handle, readDigest]));
  const second = await isUseless();
  return damaged.filter(
    ({ object: { handle, readDigest } }, index) => first[index] && second[index] && again.get(handle) === readDigest,
  );
}
