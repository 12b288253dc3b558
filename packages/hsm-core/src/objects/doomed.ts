/**
 * Destroys token objects that are still what they were when it was decided that they go. A handle proves nothing:
 * devices use it again at once. So every object is read and examined again, and the provider compares once more in the
 * call that destroys. An object that the token keeps loses its names and its uses.
 */

import type { Clock } from '@antipode/runtime';
import type { Handle } from '../model/object.ts';
import type { PartitionReader } from '../provider/reader.ts';
import { destroyAll } from './batches.ts';
import { type Examined, type ExaminingProvider, examine, recognitionKey } from './recognise.ts';

/** An object as it was when it was examined: everything that its token showed, and its value under one domain key. */
export interface Seen {
  readonly readDigest: string;
  /** See {@link recognitionKey}; undefined where it showed nothing to go by. */
  readonly value: string | undefined;
}

export const seenAs = (one: Examined): Seen => ({ readDigest: one.object.readDigest, value: recognitionKey(one) });

export interface Doomed {
  readonly handle: Handle;
  /** Whether the object that was read just now under this handle is the one that is to go. */
  readonly isSame: (one: Examined) => boolean;
}

/** One that is to go as it was seen before, under the same domain key. */
export const asSeen = ({ handle, seen }: { handle: Handle; seen: Seen }): Doomed => ({
  handle,
  isSame: (one) => one.object.readDigest === seen.readDigest && recognitionKey(one) === seen.value,
});

export interface Destroyed {
  readonly destroyed: readonly Handle[];
  /** There, and left alone: something else by now, or an object that its token keeps (CKA_DESTROYABLE is false). */
  readonly left: readonly Handle[];
}

/**
 * @param options.checkFence called before each batch of writes
 * @param options.beforeLoss receives each object that is about to go, as it was read last. An object for which it
 * returns false stays
 */
export async function destroyDoomed(
  provider: PartitionReader & ExaminingProvider,
  {
    clock,
    domainKey,
    doomed,
    checkFence,
    beforeLoss = () => true,
  }: {
    clock: Clock;
    domainKey: Handle;
    doomed: readonly Doomed[];
    checkFence: () => void;
    beforeLoss?: (one: Examined) => boolean;
  },
): Promise<Destroyed> {
  if (doomed.length === 0) return { destroyed: [], left: [] };
  const read = await provider.read(doomed.map(({ handle }) => handle));
  const present = doomed.flatMap((one, index) => (read[index] === undefined ? [] : [{ ...one, object: read[index] }]));
  const examined = await examine(provider, { clock, domainKey, objects: present.map(({ object }) => object) });
  const left: Handle[] = [];
  const going = examined.filter((one, index) => {
    const goes = present[index]!.isSame(one) && beforeLoss(one);
    if (!goes) left.push(one.object.handle);
    return goes;
  });
  const handles = going.map(({ object }) => object.handle);
  const readDigests = going.map(({ object }) => object.readDigest);
  const kept = new Set(await destroyAll(provider, handles, { checkFence, readDigests }));
  if (kept.size > 0) {
    // The token keeps it. Then no name must find it, and nothing must be able to use it.
    const hidden = going.filter(({ object }) => kept.has(object.handle)).map(({ object }) => object);
    checkFence();
    await provider.hide(
      hidden.map(({ handle }) => handle),
      hidden.map(({ readDigest }) => readDigest),
    );
  }
  return { destroyed: handles.filter((handle) => !kept.has(handle)), left: [...left, ...kept] };
}
