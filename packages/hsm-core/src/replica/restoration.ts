/**
 * Makes objects of a generation in the partition, batch by batch, and proves each of them. An object that this token
 * does not take is that object's trouble only (I15).
 */
import { AntipodeError, invariant } from '@antipode/runtime';
import { asClone, type Entry, entryDigest, isByDevice, isExact, isNative } from '../model/generation.ts';
import { type Handle, isInManifest, isWrapped, type ObjectId } from '../model/object.ts';
import { destroyAll, entryBytes, inBatches, NATIVE_BATCH } from '../objects/batches.ts';
import { aadOf, exactAadOf } from '../objects/recognise.ts';
import type { DeviceItem } from '../provider/native-cloner.ts';
import type { BatchOutcome, CreateItem, OpenedKey, ProofOutcome, UnwrapItem } from '../provider/provider.ts';
import type { ApplyOptions } from './apply.ts';
import { ExactKeys } from './exact-keys.ts';
import type { Forms } from './forms.ts';
import { clonable, cloneBatch, openDataKey, putNative, replacing } from './native-restoration.ts';
import { proofItem } from './read-back.ts';
import { OWN_FAULTS, refusalOf, unprovenError } from './refusals.ts';
import { intentOf, type Proof } from './replica.ts';

export interface RestoredObject {
  readonly handle: Handle;
  readonly proof: Proof;
}

/** One restoration under way. The maps grow while it runs, so that a failure leaves them as far as it came. */
export interface Restoration {
  readonly options: ApplyOptions;
  readonly domainKey: Handle;
  readonly forms: Forms;
  /** Made and proved. */
  readonly restored: Map<ObjectId, RestoredObject>;
  /** Keys with two forms that are made as clones. */
  readonly cloned: Set<ObjectId>;
  readonly refused: Map<ObjectId, AntipodeError>;
  readonly uncopied: UncopiedKey[];
}

export const startedRestoration = (
  options: ApplyOptions,
  { domainKey, forms }: Pick<Restoration, 'domainKey' | 'forms'>,
): Restoration => ({
  ...{ options, domainKey, forms },
  ...{ restored: new Map(), cloned: new Set(), refused: new Map(), uncopied: [] },
});

/** As {@link HsmProvider.cloneNative} takes it. */
export interface UncopiedKey {
  readonly objectId: ObjectId;
  readonly item: DeviceItem;
}

/** Made, and not proved yet. */
export type Unproven = Map<ObjectId, Handle>;

/** Clones come first. A key whose clone is not what the manifest says, or does not work, is restored from its sealed form. */
export async function restoreAll(restoration: Restoration): Promise<void> {
  const { forms, cloned, refused } = restoration;
  for (const { objectId } of forms.clones) cloned.add(objectId);
  await restoreForms(restoration, forms.clones);
  const instead = forms.clones.filter(({ objectId }) => refused.has(objectId) && !forms.onlyClones.has(objectId));
  for (const { objectId } of instead) {
    cloned.delete(objectId);
    refused.delete(objectId);
  }
  await restoreForms(restoration, [...forms.others, ...instead]);
}

/** While the token proves one batch, the next batch is on its way to the token. The token does one after the other. */
async function restoreForms(restoration: Restoration, entries: readonly Entry[]): Promise<void> {
  const { options } = restoration;
  const unproven: Unproven = new Map();
  const exactKeys = new ExactKeys(restoration);
  let proving = Promise.resolve();
  try {
    for (const batch of batchesOf(restoration, entries)) {
      options.checkFence();
      options.journal.begin(batch.map(intentOf));
      await makeBatch(restoration, { batch, unproven, exactKeys });
      await proving;
      proving = proveBatch(restoration, { batch, unproven });
      proving.catch(() => undefined);
    }
    await proving;
  } catch (thrown) {
    // Objects that work stay for the next try. The others are destroyed while the fence holds. If that fails, their
    // intents find them later. An object that was changed in place is the only copy, so it stays.
    await proving.catch(() => undefined);
    const former = new Set([...options.memory.known.values()].map(({ handle }) => handle));
    const futile = [...unproven.values()].filter((handle) => !former.has(handle));
    await destroyAll(options.provider, futile, options).catch(() => undefined);
    throw thrown;
  } finally {
    await exactKeys.forget();
  }
}

/** Each call starts the tool of a vendor several times, and one message holds this many. */
const DEVICE_BATCH = 1_024;

function* batchesOf({ cloned }: Restoration, entries: readonly Entry[]): Generator<readonly Entry[]> {
  const isBlob = (entry: Entry): boolean => (isNative(entry) && !isByDevice(entry)) || cloned.has(entry.objectId);
  yield* inBatches(
    entries.filter((entry) => !isBlob(entry) && !isByDevice(entry)),
    entryBytes,
  );
  yield* inBatches(entries.filter(isBlob), entryBytes, NATIVE_BATCH);
  // A device is asked once for all that it is to copy, and last: whatever comes of that, all others are here.
  yield* inBatches(entries.filter(isByDevice), () => 0, DEVICE_BATCH);
}

async function makeBatch(
  restoration: Restoration,
  { batch: entries, unproven, exactKeys }: { batch: readonly Entry[]; unproven: Unproven; exactKeys: ExactKeys },
): Promise<void> {
  const batch = entries.map((entry) => (restoration.cloned.has(entry.objectId) ? asClone(entry) : entry));
  if (batch.some(isByDevice)) return cloneBatch(restoration, { batch, unproven });
  const { refused, options } = restoration;
  const { provider, target, blobOf } = options;
  const wrapped = batch.filter(({ objectClass }) => isWrapped(objectClass));
  const inManifest = batch.filter(({ objectClass }) => isInManifest(objectClass));
  // All made objects must be recorded before anything is thrown.
  const settled = await Promise.allSettled([
    makeEach(restoration, {
      entries: wrapped.filter((entry) => !isExact(entry) && !isNative(entry)),
      unproven,
      make: (entries) => unwrap(restoration, entries),
    }),
    makeEach(restoration, { entries: inManifest, unproven, make: (entries) => create(restoration, entries) }),
  ]);
  for (const outcome of settled) if (outcome.status === 'rejected') throw outcome.reason;
  for (const sealing of target.generation.dataKeys) {
    const { id, blobSha256 } = sealing;
    const secrets = wrapped.filter((entry) => isExact(entry) && entry.dataKeyId === id);
    if (secrets.length > 0) {
      const opened = await exactKeys.of(sealing);
      if ('failure' in opened) {
        for (const { objectId } of secrets) refused.set(objectId, refusalOf(objectId, opened.failure));
      } else {
        const make = (entries: readonly Entry[]) => unwrapSecrets(restoration, { exactKey: opened.key, entries });
        await makeEach(restoration, { entries: secrets, unproven, make });
      }
    }
    const data = batch.filter((entry) => entry.objectClass === 'data' && entry.dataKeyId === id);
    const natives = wrapped.filter((entry) => isNative(entry) && entry.dataKeyId === id);
    const clones = await clonable(restoration, natives);
    if (data.length + clones.length === 0) continue;
    const dataKey = await openDataKey(restoration, { blob: blobOf(blobSha256), clones });
    if (dataKey === undefined) continue;
    try {
      await makeEach(restoration, {
        entries: data,
        unproven,
        make: (entries) => createData(restoration, { dataKey, entries }),
      });
      await makeEach(restoration, {
        entries: clones,
        unproven,
        make: (entries) => putNative(restoration, { dataKey, entries }),
      });
    } finally {
      await provider.forget([dataKey]);
    }
  }
}

/** The provider stops at an object that the token does not take. The rest of the batch follows in another call. */
async function makeEach(
  { refused }: Restoration,
  {
    entries,
    unproven,
    make,
  }: {
    entries: readonly Entry[];
    unproven: Unproven;
    make: (entries: readonly Entry[]) => Promise<BatchOutcome>;
  },
): Promise<void> {
  for (let rest = entries; rest.length > 0; ) {
    const { handles, failure } = await make(rest);
    for (const [index, handle] of handles.entries()) unproven.set(rest[index]!.objectId, handle);
    if (failure === undefined) return;
    const { objectId } = rest[failure.index]!;
    const error = refusalOf(objectId, failure);
    if (!OWN_FAULTS.has(error.code)) throw error;
    refused.set(objectId, error);
    rest = rest.slice(failure.index + 1);
  }
}

const unwrap = ({ options, domainKey }: Restoration, entries: readonly Entry[]): Promise<BatchOutcome> =>
  options.provider.unwrap(
    domainKey,
    entries.map((entry) => unwrapItem(options, entry)),
  );

const unwrapSecrets = (
  { options }: Restoration,
  { exactKey, entries }: { exactKey: OpenedKey; entries: readonly Entry[] },
): Promise<BatchOutcome> =>
  options.provider.unwrapSecrets({
    exactKey,
    items: entries.map((entry) => ({
      ...unwrapItem(options, entry),
      aad: exactAadOf(options.target.generation.group, entry.objectId),
    })),
  });

function unwrapItem(options: ApplyOptions, entry: Entry): UnwrapItem {
  invariant(
    entry.keyType !== undefined && entry.blobSha256 !== undefined,
    'a wrapped key has neither a type nor a blob',
    { objectId: entry.objectId },
  );
  const { objectClass, keyType, attributes, publicHalf, blobSha256 } = entry;
  return {
    objectClass,
    keyType,
    attributes,
    ...(publicHalf === undefined ? {} : { publicHalf }),
    ...replacing(options, entry),
    blob: options.blobOf(blobSha256),
  };
}

const create = ({ options }: Restoration, entries: readonly Entry[]): Promise<BatchOutcome> =>
  options.provider.create(
    entries.map((entry) => ({
      objectClass: entry.objectClass as CreateItem['objectClass'],
      ...(entry.keyType === undefined ? {} : { keyType: entry.keyType }),
      attributes: entry.attributes,
      ...replacing(options, entry),
    })),
  );

const createData = (
  { options: { provider, target, blobOf } }: Restoration,
  { dataKey, entries }: { dataKey: Handle; entries: readonly Entry[] },
): Promise<BatchOutcome> =>
  provider.createData({
    dataKey,
    items: entries.map(({ objectId, attributes, blobSha256 }) => ({
      attributes,
      ciphertext: blobOf(blobSha256 ?? ''),
      aad: aadOf(target.generation.group, objectId),
    })),
  });

/** Records the objects that work as restored, and destroys the others. */
async function proveBatch(
  { options, domainKey, restored, cloned, refused }: Restoration,
  { batch, unproven }: { batch: readonly Entry[]; unproven: Unproven },
): Promise<void> {
  const { provider, memory } = options;
  const made = batch.filter(({ objectId }) => !refused.has(objectId));
  const items = made.map((entry) => {
    const handle = unproven.get(entry.objectId);
    const isClone = cloned.has(entry.objectId);
    if (handle !== undefined) return { ...proofItem(entry, handle), ...(isClone ? { isClone: true as const } : {}) };
    throw new AntipodeError(
      'MANIFEST_INVALID',
      `object ${entry.objectId} names a data key that the manifest does not have`,
      { details: { objectId: entry.objectId } },
    );
  });
  const outcomes = new Map<Handle, ProofOutcome>();
  for (const some of inBatches(items))
    for (const outcome of await provider.prove(domainKey, some)) outcomes.set(outcome.handle, outcome);
  const futile: Handle[] = [];
  for (const entry of made) {
    const { objectId } = entry;
    const handle = unproven.get(objectId)!;
    const outcome = outcomes.get(handle);
    unproven.delete(objectId);
    if (outcome?.proved === true) restored.set(objectId, { handle, proof: { digest: entryDigest(entry), outcome } });
    else {
      // An object that was changed in place is the only copy.
      if (memory.known.get(objectId)?.handle !== handle) futile.push(handle);
      refused.set(objectId, unprovenError(objectId));
    }
  }
  await destroyAll(provider, futile, options);
}
