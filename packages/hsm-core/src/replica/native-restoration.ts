/** The part of a restoration in which devices make the keys: from blobs, or among themselves. */
import { type AntipodeError, hasCode, hex } from '@antipode/runtime';
import { type Entry, isByDevice } from '../model/generation.ts';
import type { Handle } from '../model/object.ts';
import { nativeAadOf } from '../objects/recognise.ts';
import type { DeviceItem } from '../provider/native-cloner.ts';
import type { BatchOutcome } from '../provider/provider.ts';
import type { ApplyOptions } from './apply.ts';
import { OWN_FAULTS, refusalOf } from './refusals.ts';
import type { Restoration, Unproven } from './restoration.ts';

/** A data key that does not open is the trouble of the second forms under it, if it has nothing else. */
export async function openDataKey(
  { options: { provider }, domainKey, cloned, refused }: Restoration,
  { blob, clones }: { blob: Uint8Array; clones: readonly Entry[] },
): Promise<Handle | undefined> {
  try {
    return await provider.unwrapDataKey(domainKey, blob);
  } catch (thrown) {
    const isRefused = hasCode(thrown, 'HSM_REFUSED') || hasCode(thrown, 'BLOB_INVALID');
    if (!isRefused || clones.length === 0 || !clones.every(({ objectId }) => cloned.has(objectId))) throw thrown;
    for (const { objectId } of clones) refused.set(objectId, refusalOf(objectId, { code: 'BLOB_INVALID' }));
    return undefined;
  }
}

/** Has the devices copy keys among themselves, or leaves that to the caller. Each has an outcome of its own. */
export async function cloneBatch(
  restoration: Restoration,
  { batch, unproven }: { batch: readonly Entry[]; unproven: Unproven },
): Promise<void> {
  const { options, domainKey, refused, uncopied } = restoration;
  const { copies, memory, target } = options;
  const all = await clonable(restoration, batch);
  const entries = copies === undefined ? all : all.filter(({ objectId }) => memory.known.has(objectId));
  for (const entry of all.filter((one) => !entries.includes(one))) {
    const { objectId } = entry;
    refused.set(objectId, refusalOf(objectId, copies?.get(objectId) ?? { code: 'NATIVE_CLONING' }));
    uncopied.push({ objectId, item: deviceItem(entry) });
  }
  if (entries.length === 0) return;
  const outcomes = await options.provider.cloneNative({
    domainKey,
    ...(copies === undefined ? { source: target.generation.source.serial } : {}),
    items: entries.map((entry) => ({ ...deviceItem(entry), ...replacing(options, entry) })),
  });
  const faults: AntipodeError[] = [];
  for (const [index, { objectId }] of entries.entries()) {
    const outcome = outcomes[index] ?? { code: 'NATIVE_NOT_CLONED' };
    if ('handle' in outcome) {
      unproven.set(objectId, outcome.handle);
      continue;
    }
    const error = refusalOf(objectId, outcome);
    if (OWN_FAULTS.has(error.code)) refused.set(objectId, error);
    else faults.push(error);
  }
  // All copies are recorded by then.
  for (const fault of faults) throw fault;
}

function deviceItem({ objectClass, keyType, sizeBits, attributes, publicHalf, vectors }: Entry): DeviceItem {
  return {
    objectClass,
    ...(keyType === undefined ? {} : { keyType }),
    sizeBits,
    attributes,
    ...(publicHalf === undefined ? {} : { publicHalf }),
    ...(vectors === undefined ? {} : { vectors }),
  };
}

/** Keys that this partition can clone. The others are refused before anything is changed. */
export async function clonable(
  { options: { provider }, refused }: Restoration,
  entries: readonly Entry[],
): Promise<readonly Entry[]> {
  if (entries.length === 0) return entries;
  const { cloning } = await provider.describe();
  const domain = cloning && hex(cloning.domain);
  return entries.filter((entry) => {
    const { objectId, cloningDomain } = entry;
    const hasWay = cloning !== undefined && isByDevice(entry) === (cloning.shape === 'device');
    if (hasWay && domain === cloningDomain) return true;
    const code = hasWay ? 'CLONING_DOMAIN_OTHER' : 'NATIVE_UNAVAILABLE';
    refused.set(objectId, refusalOf(objectId, { code }));
    return false;
  });
}

export const putNative = (
  { options: { provider, target, blobOf } }: Restoration,
  { dataKey, entries }: { dataKey: Handle; entries: readonly Entry[] },
): Promise<BatchOutcome> =>
  provider.putNative({
    dataKey,
    items: entries.map(({ objectId, objectClass, keyType, sizeBits, attributes, publicHalf, blobSha256 }) => ({
      objectClass,
      ...(keyType === undefined ? {} : { keyType }),
      sizeBits,
      attributes,
      ...(publicHalf === undefined ? {} : { publicHalf }),
      ciphertext: blobOf(blobSha256 ?? ''),
      aad: nativeAadOf(target.generation.group, objectId),
    })),
  });

/** The object that this entry has here, where a token changes it in place. */
export function replacing({ memory }: ApplyOptions, { objectId }: Entry): { replaces?: Handle } {
  const replaces = memory.known.get(objectId)?.handle;
  return replaces === undefined ? {} : { replaces };
}
