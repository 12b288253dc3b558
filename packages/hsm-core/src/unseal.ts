/**
 * Applies a generation to a partition. Blobs are checked against the signed manifest before the first of them is used;
 * every object is made and proved before any that they replace is destroyed, so that the generation before stays whole
 * until then (I4); nothing is destroyed but what is ours and replaced, or does not work (I11). Repeating it after a crash
 * at any point ends in the same state (I9).
 */
import { AntipodeError, bytesEqual, invariant, sha256Hex, systemClock } from '@antipode/runtime';
import { destroyAll, inBatches } from './batches.ts';
import { asSeen, destroyDoomed } from './doomed.ts';
import { blobDigests, type Entry, entryDigest, type SealedGeneration } from './model/generation.ts';
import { type Handle, isWrapped, type ObjectId } from './model/object.ts';
import type { BatchOutcome } from './provider.ts';
import { proofItem } from './read-back.ts';
import { aadOf } from './recognise.ts';
import { intentOf, type Proof, type Replica, recogniseAnew } from './replica.ts';

export interface UnsealOptions extends Replica {
  /** Read back and used here last: what is the same in it needs no proof again. */
  readonly proved: SealedGeneration | undefined;
  /** @throws GENERATION_UNKNOWN */
  readonly blobOf: (sha256: string) => Uint8Array;
}

export interface UnsealResult {
  /** Made now. */
  readonly applied: readonly ObjectId[];
  /**
   * What reading back has to use: made now or by an apply that was cut short, or not the same in the generation that was
   * proved here last.
   */
  readonly unproven: readonly ObjectId[];
  /** Readable keys that became sensitive here. */
  readonly narrowed: number;
  /** Objects that no generation accounts for, or that were replaced and may not be destroyed. They are left alone. */
  readonly unaccounted: number;
  /** Objects that a former generation names, and this one neither lists nor tells deleted. They are left alone. */
  readonly divergent: number;
}

interface Made {
  readonly handle: Handle;
  readonly proof: Proof;
}

/**
 * @throws BLOB_INVALID, DOMAIN_KEY_MISSING, HSM_FULL, HSM_REFUSED, HSM_UNAVAILABLE, OBJECT_UNPROVEN; then what was proved
 * stays for the next try, and nothing was replaced
 */
export async function unseal(options: UnsealOptions): Promise<UnsealResult> {
  const { memory, target, journal } = options;
  const { entries, tombstones } = target.generation;
  const begun = journal.openIntents();
  // A crash lies before: what it left is classified against this target before anything is made. And what was made and
  // not read back since is not known well enough to be kept or replaced.
  const isUnread = entries.some(({ objectId }) => memory.known.get(objectId)?.digest.length === 0);
  if (begun.length > 0 || isUnread) memory.forget();
  const domainKey = await recogniseAnew(options);
  const stale = entries.filter((entry) => {
    const known = memory.known.get(entry.objectId);
    return known === undefined || !bytesEqual(known.digest, entryDigest(entry));
  });
  await checkBlobs(options, stale);
  const made = new Map<ObjectId, Made>();
  try {
    await makeAndProve(options, domainKey, stale, made);
    // A token that keeps one key per CKA_ID has changed it in place.
    const changed = new Set([...made.values()].map(({ handle }) => handle));
    const replaced = stale
      .flatMap(({ objectId }) => memory.known.get(objectId) ?? [])
      .filter(({ handle }) => !changed.has(handle))
      .map(({ handle, seen }) => {
        invariant(seen !== undefined, 'an object is replaced that was not read', {});
        return { handle, seen };
      });
    const doomed = [...replaced, ...memory.superseded].map(asSeen);
    const { left } = await destroyDoomed(options.provider, { domainKey, doomed, checkFence: options.checkFence });
    memory.unaccounted = [...memory.unaccounted, ...left];
    memory.superseded = [];
  } catch (thrown) {
    memory.forget();
    throw thrown;
  }
  for (const [objectId, { handle, proof }] of made)
    memory.known.set(objectId, { handle, digest: new Uint8Array(), isOurs: true, proof });
  journal.commit(target.digest, [...new Set([...begun.map(({ objectId }) => objectId), ...made.keys()])]);

  const explained = new Set([...entries, ...tombstones.map(({ entry }) => entry)].map(({ objectId }) => objectId));
  return {
    applied: [...made.keys()],
    unproven: unprovenOf(options, new Set([...made.keys(), ...begun.map(({ objectId }) => objectId)])),
    narrowed: entries.filter((entry) => made.has(entry.objectId) && entry.attributes.sensitive === false).length,
    unaccounted: memory.unaccounted.length,
    divergent: [...memory.known.keys()].filter((objectId) => !explained.has(objectId)).length,
  };
}

function unprovenOf({ target, proved }: UnsealOptions, touched: ReadonlySet<ObjectId>): ObjectId[] {
  const used = new Map(proved?.generation.entries.map((entry) => [entry.objectId, entry]));
  return target.generation.entries
    .filter((entry) => {
      const before = used.get(entry.objectId);
      const isSame = before !== undefined && bytesEqual(entryDigest(before), entryDigest(entry));
      return !isSame || touched.has(entry.objectId);
    })
    .map(({ objectId }) => objectId);
}

/** Before the first write, so that a generation that is not whole changes nothing. */
async function checkBlobs({ target, blobOf }: UnsealOptions, stale: readonly Entry[]): Promise<void> {
  const used = new Set(stale.map(({ dataKeyId }) => dataKeyId));
  const dataKeys = target.generation.dataKeys.filter(({ id }) => used.has(id));
  for (const batch of inBatches(blobDigests({ entries: stale, dataKeys }))) {
    for (const expected of batch) {
      const found = sha256Hex(blobOf(expected));
      if (found === expected) continue;
      throw new AntipodeError('BLOB_INVALID', 'a sealed object has not the digest that the manifest gives', {
        details: { expected, found },
      });
    }
    // Hashing must not hold up leases and heartbeats.
    await systemClock.sleep(0);
  }
}

/** While one batch is being proved, the next is on its way to the token, which does one after the other. */
async function makeAndProve(
  options: UnsealOptions,
  domainKey: Handle,
  entries: readonly Entry[],
  made: Map<ObjectId, Made>,
): Promise<void> {
  const unproven = new Map<ObjectId, Handle>();
  let proving = Promise.resolve();
  try {
    for (const batch of inBatches(entries, ({ blobSize }) => blobSize)) {
      options.checkFence();
      options.journal.begin(batch.map(intentOf));
      await makeObjects(options, domainKey, batch, unproven);
      await proving;
      proving = proveBatch(options, domainKey, { batch, unproven, made });
      proving.catch(() => undefined);
    }
    await proving;
  } catch (thrown) {
    // What works stays for the next try. What does not, and what was not tried for it, is destroyed while the fence holds, or
    // else found by its intent; but what was here before and has changed in place is the only one there is.
    await proving.catch(() => undefined);
    const former = new Set([...options.memory.known.values()].map(({ handle }) => handle));
    const futile = [...unproven.values()].filter((handle) => !former.has(handle));
    await destroyAll(options.provider, futile, options).catch(() => undefined);
    throw thrown;
  }
}

async function makeObjects(
  options: UnsealOptions,
  domainKey: Handle,
  batch: readonly Entry[],
  made: Map<ObjectId, Handle>,
): Promise<void> {
  const { provider, memory, target, blobOf } = options;
  const replacing = ({ objectId }: Entry): { replaces?: Handle } => {
    const replaces = memory.known.get(objectId)?.handle;
    return replaces === undefined ? {} : { replaces };
  };
  const record = (entries: readonly Entry[], outcome: BatchOutcome): void => {
    for (const [index, handle] of outcome.handles.entries()) made.set(entries[index]!.objectId, handle);
  };
  const check = (entries: readonly Entry[], { failure }: BatchOutcome): void => {
    if (failure === undefined) return;
    const { index, code, returnValue } = failure;
    const { objectId } = entries[index]!;
    const answer =
      returnValue === undefined ? 'the token grants more than the manifest' : `the HSM answered ${returnValue}`;
    const why = code === 'ID_TAKEN' ? 'the CKA_ID is taken' : answer;
    throw new AntipodeError(code, `${why} when object ${objectId} was restored`, {
      details: { objectId, ...(returnValue === undefined ? {} : { returnValue }) },
    });
  };
  const wrapped = batch.filter(({ objectClass }) => isWrapped(objectClass));
  const inManifest = batch.filter(({ objectClass }) => objectClass === 'public-key' || objectClass === 'certificate');
  const settled = await Promise.allSettled([
    provider.unwrap(
      domainKey,
      wrapped.map((entry) => {
        invariant(
          entry.keyType !== undefined && entry.blobSha256 !== undefined,
          'a wrapped key has neither type nor blob',
          { objectId: entry.objectId },
        );
        const { objectClass, keyType, attributes, publicHalf, blobSha256 } = entry;
        return {
          objectClass,
          keyType,
          attributes,
          ...(publicHalf === undefined ? {} : { publicHalf }),
          ...replacing(entry),
          blob: blobOf(blobSha256),
        };
      }),
    ),
    provider.create(
      inManifest.map((entry) => ({
        objectClass: entry.objectClass as 'public-key' | 'certificate',
        ...(entry.keyType === undefined ? {} : { keyType: entry.keyType }),
        attributes: entry.attributes,
        ...replacing(entry),
      })),
    ),
  ]);
  // Whatever was made is known before anything is thrown.
  for (const [index, entries] of [wrapped, inManifest].entries())
    if (settled[index]?.status === 'fulfilled') record(entries, settled[index].value);
  for (const [index, entries] of [wrapped, inManifest].entries()) {
    const outcome = settled[index]!;
    if (outcome.status === 'rejected') throw outcome.reason;
    check(entries, outcome.value);
  }
  for (const { id, blobSha256 } of target.generation.dataKeys) {
    const data = batch.filter((entry) => entry.objectClass === 'data' && entry.dataKeyId === id);
    if (data.length === 0) continue;
    const dataKey = await provider.unwrapDataKey(domainKey, blobOf(blobSha256));
    try {
      const items = data.map(({ objectId, attributes, blobSha256: digest }) => ({
        attributes,
        ciphertext: blobOf(digest ?? ''),
        aad: aadOf(target.generation.group, objectId),
      }));
      const outcome = await provider.createData({ dataKey, items });
      record(data, outcome);
      check(data, outcome);
    } finally {
      await provider.forget([dataKey]);
    }
  }
}

/** Takes what is proved from `unproven` to `made`. @throws OBJECT_UNPROVEN unless that is all of the batch */
async function proveBatch(
  { provider }: UnsealOptions,
  domainKey: Handle,
  { batch, unproven, made }: { batch: readonly Entry[]; unproven: Map<ObjectId, Handle>; made: Map<ObjectId, Made> },
): Promise<void> {
  const items = batch.map((entry) => {
    const handle = unproven.get(entry.objectId);
    if (handle !== undefined) return proofItem(entry, handle);
    throw new AntipodeError(
      'MANIFEST_INVALID',
      `object ${entry.objectId} names a data key that the manifest does not have`,
      { details: { objectId: entry.objectId } },
    );
  });
  const outcomes = new Map((await provider.prove(domainKey, items)).map((outcome) => [outcome.handle, outcome]));
  const failed: ObjectId[] = [];
  for (const entry of batch) {
    const { objectId } = entry;
    const handle = unproven.get(objectId)!;
    const outcome = outcomes.get(handle);
    if (outcome?.proved !== true) {
      failed.push(objectId);
      continue;
    }
    unproven.delete(objectId);
    made.set(objectId, { handle, proof: { digest: entryDigest(entry), outcome } });
  }
  if (failed.length === 0) return;
  throw new AntipodeError('OBJECT_UNPROVEN', `${failed.length} restored objects do not work`, {
    details: { objectIds: failed.slice(0, 20).join(',') },
  });
}
