/**
 * Applies a generation to a partition. Blobs are checked against the signed manifest before the first of them is used;
 * every object is made and proved before any that they replace is destroyed, so that the generation before stays whole
 * until then (I4); nothing is destroyed but what is ours and replaced, or does not work (I11). Repeating it after a crash
 * at any point ends in the same state (I9).
 */
import { AntipodeError, bytesEqual, type ErrorCode, invariant, sha256Hex, systemClock } from '@antipode/runtime';
import { isTwin } from '../capture/namesakes.ts';
import { blobDigests, type Entry, entryDigest, type SealedGeneration } from '../model/generation.ts';
import { type Handle, isWrapped, type ObjectId } from '../model/object.ts';
import { destroyAll, inBatches } from '../provider/batches.ts';
import { asSeen, destroyDoomed } from '../provider/doomed.ts';
import type { BatchOutcome } from '../provider/provider.ts';
import { aadOf } from '../provider/recognise.ts';
import { proofItem } from './read-back.ts';
import { intentOf, type Proof, type Replica, recogniseAnew } from './replica.ts';

export interface ApplyOptions extends Replica {
  /** Read back and used here last: what is the same in it needs no proof again. */
  readonly proved: SealedGeneration | undefined;
  /**
   * Objects that may be here as they should be, and not work: a scrub or a proof has found damage since they were used last.
   * They are used before anything is made, and what does not work is made anew like what is missing.
   */
  readonly doubted?: ReadonlySet<ObjectId> | 'everything';
  /** @throws GENERATION_UNKNOWN */
  readonly blobOf: (sha256: string) => Uint8Array;
}

/** An object that this token does not take. Everything beside it is restored (I15); what was here under its id stays. */
export interface RefusedObject {
  readonly objectId: ObjectId;
  readonly code: ErrorCode;
  /** The CKR_ name, where it was the token that refused. */
  readonly returnValue?: string;
}

export interface ApplyResult {
  /** Made now. */
  readonly applied: readonly ObjectId[];
  /** Exceptions of this replica: not restored here, each for its own reason. Tried again by every apply. */
  readonly refused: readonly RefusedObject[];
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
 * @throws BLOB_INVALID, DOMAIN_KEY_MISSING, HSM_FULL, HSM_UNAVAILABLE, HSM_SESSION_VOID, and where this token takes no
 * object of the generation at all, what it says of the first: HSM_REFUSED, ID_TAKEN, OBJECT_UNPROVEN. Then what was proved
 * stays for the next try, and nothing was replaced
 */
export async function applyGeneration(options: ApplyOptions): Promise<ApplyResult> {
  const { memory, target, journal } = options;
  const { entries, tombstones } = target.generation;
  const begun = journal.openIntents();
  // A crash lies before: what it left is classified against this target before anything is made. And what was made and
  // not read back since is not known well enough to be kept or replaced.
  const isUnread = entries.some(({ objectId }) => memory.known.get(objectId)?.digest.length === 0);
  if (begun.length > 0 || isUnread) memory.forget();
  const domainKey = await recogniseAnew(options);
  const unsound = await findUnsound(options, domainKey);
  const stale = entries.filter((entry) => !isAsWanted(options, entry) || unsound.has(entry.objectId));
  await checkBlobs(options, stale);
  const damaged = await findDamaged(options, stale);
  const made = new Map<ObjectId, Made>();
  const refused = new Map<ObjectId, AntipodeError>();
  try {
    await makeAndProve(options, domainKey, stale, { made, refused });
    checkAnyKey(entries, refused);
    // A token that keeps one key per CKA_ID has changed it in place.
    const changed = new Set([...made.values()].map(({ handle }) => handle));
    const replaced = stale
      .filter(({ objectId }) => !refused.has(objectId))
      .flatMap(({ objectId }) => memory.known.get(objectId) ?? [])
      .filter(({ handle }) => !changed.has(handle))
      .map(({ handle, seen }) => {
        invariant(seen !== undefined, 'the object to replace was not read first', {});
        return { handle, seen };
      });
    const doomed = [...replaced, ...memory.superseded].map(asSeen);
    const { left } = await destroyDoomed(options.provider, { domainKey, doomed, checkFence: options.checkFence });
    memory.unaccounted = [...memory.unaccounted, ...left];
    memory.superseded = [];
    memory.damaged = damaged.filter(({ objectId }) => made.has(objectId)).map(({ handle }) => handle);
  } catch (thrown) {
    memory.forget();
    throw thrown;
  }
  for (const [objectId, { handle, proof }] of made)
    memory.known.set(objectId, { handle, digest: new Uint8Array(), isOurs: true, proof });
  journal.commit(target.digest, [
    ...new Set([...begun.map(({ objectId }) => objectId), ...made.keys(), ...refused.keys()]),
  ]);

  const explained = new Set([...entries, ...tombstones.map(({ entry }) => entry)].map(({ objectId }) => objectId));
  return {
    applied: [...made.keys()],
    refused: [...refused].map(([objectId, { code, details }]) => ({
      objectId,
      code,
      ...(details['returnValue'] === undefined ? {} : { returnValue: String(details['returnValue']) }),
    })),
    unproven: unprovenOf(options, new Set([...made.keys(), ...begun.map(({ objectId }) => objectId)])),
    narrowed: entries.filter((entry) => made.has(entry.objectId) && entry.attributes.sensitive === false).length,
    unaccounted: memory.unaccounted.length,
    divergent: [...memory.known.keys()].filter((objectId) => !explained.has(objectId)).length,
  };
}

function isAsWanted({ memory }: ApplyOptions, entry: Entry): boolean {
  const known = memory.known.get(entry.objectId);
  return known !== undefined && bytesEqual(known.digest, entryDigest(entry));
}

/**
 * What is here in everything that can be read, and does not work: the parts of an RSA key that no use needs have no other
 * sign. The successor is made from the sealed blob and proved before it is destroyed, like all that is replaced.
 */
async function findUnsound(options: ApplyOptions, domainKey: Handle): Promise<Set<ObjectId>> {
  const { provider, memory, target, doubted = new Set<ObjectId>() } = options;
  const here = target.generation.entries.filter(
    (entry) => (doubted === 'everything' || doubted.has(entry.objectId)) && isAsWanted(options, entry),
  );
  const unsound = new Set<ObjectId>();
  for (const batch of inBatches(here)) {
    const items = batch.map((entry) => proofItem(entry, memory.known.get(entry.objectId)!.handle));
    const outcomes = await provider.prove(domainKey, items);
    for (const [index, { objectId }] of batch.entries()) if (outcomes[index]?.proved !== true) unsound.add(objectId);
  }
  return unsound;
}

/**
 * Objects that lie where one of these entries was applied before, and are it in class, type, names and every attribute that
 * tells no value. The value is damaged, or it is another key: a program that looks by name may find it instead of the one that
 * is made now.
 */
async function findDamaged(
  { provider, memory, previous }: ApplyOptions,
  stale: readonly Entry[],
): Promise<{ objectId: ObjectId; handle: Handle }[]> {
  if (memory.unaccounted.length === 0) return [];
  const applied = new Set(previous.flatMap(({ generation }) => generation.entries.map(({ objectId }) => objectId)));
  const missing = stale.filter(({ objectId }) => applied.has(objectId) && !memory.known.has(objectId));
  if (missing.length === 0) return [];
  const free = (await provider.read(memory.unaccounted)).filter((object) => object !== undefined);
  return missing.flatMap((entry) => {
    const index = free.findIndex((object) => isTwin(object, entry));
    return index === -1 ? [] : [{ objectId: entry.objectId, handle: free.splice(index, 1)[0]!.handle }];
  });
}

/** Where this token takes no key of the generation at all, it is the token's fault and no key's: then nothing is restored. */
function checkAnyKey(entries: readonly Entry[], refused: ReadonlyMap<ObjectId, AntipodeError>): void {
  const keys = entries.filter(({ objectClass }) => isWrapped(objectClass));
  const counted = keys.length > 0 ? keys : entries;
  const errors = counted.flatMap(({ objectId }) => refused.get(objectId) ?? []);
  const [first] = errors;
  if (first === undefined || errors.length < counted.length) return;
  if (first.code !== 'OBJECT_UNPROVEN') throw first;
  const objectIds = [...refused.keys()];
  throw new AntipodeError('OBJECT_UNPROVEN', `${objectIds.length} restored objects do not work`, {
    details: { objectIds: objectIds.slice(0, 20).join(',') },
  });
}

function unprovenOf({ target, proved }: ApplyOptions, touched: ReadonlySet<ObjectId>): ObjectId[] {
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
async function checkBlobs({ target, blobOf }: ApplyOptions, stale: readonly Entry[]): Promise<void> {
  const used = new Set(stale.map(({ dataKeyId }) => dataKeyId));
  const dataKeys = target.generation.dataKeys.filter(({ id }) => used.has(id));
  for (const batch of inBatches(blobDigests({ entries: stale, dataKeys }))) {
    for (const expected of batch) {
      const found = sha256Hex(blobOf(expected));
      if (found === expected) continue;
      throw new AntipodeError('BLOB_INVALID', 'a sealed object does not match its digest in the manifest', {
        details: { expected, found },
      });
    }
    // Hashing must not hold up leases and heartbeats.
    await systemClock.sleep(0);
  }
}

/** While one batch is being proved, the next is on its way to the token, which does one after the other. */
async function makeAndProve(
  options: ApplyOptions,
  domainKey: Handle,
  entries: readonly Entry[],
  { made, refused }: { made: Map<ObjectId, Made>; refused: Map<ObjectId, AntipodeError> },
): Promise<void> {
  const unproven = new Map<ObjectId, Handle>();
  let proving = Promise.resolve();
  try {
    for (const batch of inBatches(entries, ({ blobSize }) => blobSize)) {
      options.checkFence();
      options.journal.begin(batch.map(intentOf));
      await makeObjects(options, domainKey, batch, { made: unproven, refused });
      await proving;
      proving = proveBatch(options, domainKey, { batch, unproven, made, refused });
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
  options: ApplyOptions,
  domainKey: Handle,
  batch: readonly Entry[],
  { made, refused }: { made: Map<ObjectId, Handle>; refused: Map<ObjectId, AntipodeError> },
): Promise<void> {
  const { provider, memory, target, blobOf } = options;
  const replacing = ({ objectId }: Entry): { replaces?: Handle } => {
    const replaces = memory.known.get(objectId)?.handle;
    return replaces === undefined ? {} : { replaces };
  };
  /** The batch ends at an object that the token does not take, and begins again behind it. */
  const makeAll = async (
    entries: readonly Entry[],
    make: (entries: readonly Entry[]) => Promise<BatchOutcome>,
  ): Promise<void> => {
    for (let rest = entries; rest.length > 0; ) {
      const { handles, failure } = await make(rest);
      for (const [index, handle] of handles.entries()) made.set(rest[index]!.objectId, handle);
      if (failure === undefined) return;
      const { objectId } = rest[failure.index]!;
      const error = refusalOf(objectId, failure);
      if (!OWN_FAULTS.has(error.code)) throw error;
      refused.set(objectId, error);
      rest = rest.slice(failure.index + 1);
    }
  };
  const unwrap = (entries: readonly Entry[]): Promise<BatchOutcome> =>
    provider.unwrap(
      domainKey,
      entries.map((entry) => {
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
          ...replacing(entry),
          blob: blobOf(blobSha256),
        };
      }),
    );
  const create = (entries: readonly Entry[]): Promise<BatchOutcome> =>
    provider.create(
      entries.map((entry) => ({
        objectClass: entry.objectClass as 'public-key' | 'certificate',
        ...(entry.keyType === undefined ? {} : { keyType: entry.keyType }),
        attributes: entry.attributes,
        ...replacing(entry),
      })),
    );
  const wrapped = batch.filter(({ objectClass }) => isWrapped(objectClass));
  const inManifest = batch.filter(({ objectClass }) => objectClass === 'public-key' || objectClass === 'certificate');
  // Whatever was made is known before anything is thrown.
  const settled = await Promise.allSettled([makeAll(wrapped, unwrap), makeAll(inManifest, create)]);
  for (const outcome of settled) if (outcome.status === 'rejected') throw outcome.reason;
  for (const { id, blobSha256 } of target.generation.dataKeys) {
    const data = batch.filter((entry) => entry.objectClass === 'data' && entry.dataKeyId === id);
    if (data.length === 0) continue;
    const dataKey = await provider.unwrapDataKey(domainKey, blobOf(blobSha256));
    try {
      await makeAll(data, (entries) => {
        const items = entries.map(({ objectId, attributes, blobSha256: digest }) => ({
          attributes,
          ciphertext: blobOf(digest ?? ''),
          aad: aadOf(target.generation.group, objectId),
        }));
        return provider.createData({ dataKey, items });
      });
    } finally {
      await provider.forget([dataKey]);
    }
  }
}

/** What a token says of one object, and of no other. */
const OWN_FAULTS: ReadonlySet<ErrorCode> = new Set(['HSM_REFUSED', 'BLOB_INVALID', 'ID_TAKEN', 'DOMAIN_KEY_UNTRUSTED']);

const WHY: Partial<Record<ErrorCode, string>> = {
  ID_TAKEN: 'the CKA_ID is taken',
  DOMAIN_KEY_UNTRUSTED: 'the security officer does not trust the domain key',
};

function refusalOf(objectId: ObjectId, { code, returnValue }: NonNullable<BatchOutcome['failure']>): AntipodeError {
  const answer =
    returnValue === undefined ? 'the token grants more than the manifest allows' : `the HSM answered ${returnValue}`;
  const why = WHY[code] ?? answer;
  return new AntipodeError(code, `${why} when object ${objectId} was restored`, {
    details: { objectId, ...(returnValue === undefined ? {} : { returnValue }) },
  });
}

/** Takes what is proved from `unproven` to `made`, and what does not work out of the token. */
async function proveBatch(
  options: ApplyOptions,
  domainKey: Handle,
  sets: {
    batch: readonly Entry[];
    unproven: Map<ObjectId, Handle>;
    made: Map<ObjectId, Made>;
    refused: Map<ObjectId, AntipodeError>;
  },
): Promise<void> {
  const { provider, memory } = options;
  const { unproven, made, refused } = sets;
  const batch = sets.batch.filter(({ objectId }) => !refused.has(objectId));
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
  const futile: Handle[] = [];
  for (const entry of batch) {
    const { objectId } = entry;
    const handle = unproven.get(objectId)!;
    const outcome = outcomes.get(handle);
    unproven.delete(objectId);
    if (outcome?.proved === true) made.set(objectId, { handle, proof: { digest: entryDigest(entry), outcome } });
    else {
      // What was here before and has changed in place is the only one there is.
      if (memory.known.get(objectId)?.handle !== handle) futile.push(handle);
      refused.set(objectId, unprovenError(objectId));
    }
  }
  await destroyAll(provider, futile, options);
}

const unprovenError = (objectId: ObjectId): AntipodeError =>
  new AntipodeError('OBJECT_UNPROVEN', `object ${objectId} does not work after its restore`, {
    details: { objectId },
  });
