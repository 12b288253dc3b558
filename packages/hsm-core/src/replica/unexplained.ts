/**
 * Finds the objects of a standby's partition that its generation does not explain, and seals them apart. So each of them
 * has an id, and another member can take it. Nothing in the token changes.
 *
 * Our own keys are not among them, and neither is a deleted object: its tombstone explains it, even under an older
 * domain key.
 */
import type { Clock, Prng } from '@antipode/runtime';
import type { SealedGeneration } from '../model/generation.ts';
import type { Handle, ObjectId, ObservedObject, UncapturedReason } from '../model/object.ts';
import { examine } from '../objects/recognise.ts';
import { type ApartOptions, cloningOf, sealApart, unsealableReason } from './apart.ts';
import { recogniseAgain } from './recognition.ts';
import type { Replica } from './replica.ts';

export interface SealUnexplainedOptions extends Replica, Pick<ApartOptions, 'movement'> {
  readonly clock: Clock;
  readonly prng: Prng;
  /** Objects that are sealed apart already, under the domain key of the target. */
  readonly known: ReadonlySet<ObjectId>;
}

export interface UnexplainedObject {
  readonly object: ObservedObject;
  /** Absent if no generation names the object and it could not be sealed. */
  readonly objectId?: ObjectId;
  /** Why it could not be sealed now. */
  readonly reason?: UncapturedReason;
}

export interface SealedUnexplained {
  readonly objects: readonly UnexplainedObject[];
  /** Absent if nothing had to be sealed, or nothing could be. */
  readonly generation?: SealedGeneration;
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

/** @throws DOMAIN_KEY_MISSING, HSM_UNAVAILABLE, HSM_WORKER_LOST, HSM_REFUSED, and what `checkFence` throws */
export async function sealUnexplained(options: SealUnexplainedOptions): Promise<SealedUnexplained> {
  const { provider, clock, memory, target, known, checkFence } = options;
  const domainKey = await recogniseAgain(options);
  const explained = new Set([
    ...target.generation.entries.map(({ objectId }) => objectId),
    ...target.generation.tombstones.map(({ entry }) => entry.objectId),
  ]);
  const ids = new Map<Handle, ObjectId>();
  for (const [objectId, { handle }] of memory.known) if (!explained.has(objectId)) ids.set(handle, objectId);
  const handles = [...ids.keys(), ...memory.unaccounted];
  if (handles.length === 0) return { objects: [], blobs: new Map() };
  // An application may be making one of them. It counts only if two looks at it are equal.
  const first = await provider.look({ handles });
  const isSealed = ({ handle }: ObservedObject): boolean => known.has(ids.get(handle) ?? '');
  const examined = await examine(provider, {
    clock,
    domainKey,
    objects: first.objects.filter((object) => !isSealed(object)),
  });
  const second = await provider.look({ handles });
  const again = new Map(second.objects.map(({ handle, readDigest }) => [handle, readDigest]));
  const isSettled = ({ handle, readDigest }: ObservedObject): boolean => again.get(handle) === readDigest;
  const { generation, blobs, sealed } = await sealApart(
    { ...options, domainKey },
    examined.filter(({ object }) => isSettled(object)),
    { idOf: ({ object }) => ids.get(object.handle) },
  );
  checkFence();
  for (const { one, entry } of sealed) ids.set(one.object.handle, entry.objectId);
  const made = new Set(sealed.map(({ one }) => one.object.handle));
  const cloning = await cloningOf(options);
  const reasons = new Map(
    examined
      .filter(({ object }) => !made.has(object.handle))
      .map((one) => [
        one.object.handle,
        isSettled(one.object) ? (unsealableReason(one, cloning) ?? 'unreadable') : 'settling',
      ]),
  );
  return {
    objects: first.objects.map((object): UnexplainedObject => {
      const [objectId, reason] = [ids.get(object.handle), reasons.get(object.handle)];
      return {
        object,
        ...(objectId === undefined ? {} : { objectId }),
        ...(reason === undefined ? {} : { reason }),
      };
    }),
    ...(generation === undefined ? {} : { generation }),
    blobs,
  };
}
