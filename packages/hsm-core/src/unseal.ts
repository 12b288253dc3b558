/**
 * Applies a generation to a partition and reads it back. Blobs are checked against the signed manifest before the first
 * write; objects are made and proved before what they replace is destroyed; nothing that works and is not ours is ever
 * destroyed (I11). Repeating it after a crash at any point ends in the same state (I9).
 */
import { AntipodeError, type Clock, fromHex, invariant, sha256Hex } from '@antipode/runtime';
import type { Keyring } from './keyring.ts';
import { blobDigests, contentDigest, type Entry, entryDigest, type SealedGeneration } from './model/generation.ts';
import { type Handle, isWrapped, type ObjectId } from './model/object.ts';
import type { BatchOutcome, HsmProvider, ProofItem, ProofOutcome } from './provider.ts';
import { aadOf, type Examined, examine, handlesOf, observedDigest, pair } from './recognise.ts';

/** Which object is which handle, and the digest that reading it gave. Make a new one with a new provider. */
export class ReplicaMemory {
  readonly known = new Map<ObjectId, { readonly handle: Handle; readonly digest: Uint8Array }>();
  /** Set once the partition has been read; what it held that no generation accounts for. */
  unaccounted: readonly Handle[] | undefined;

  /** The partition was changed by other hands than an apply: it is read whole next time. */
  forget(): void {
    this.known.clear();
    this.unaccounted = undefined;
  }
}

/** The part of the agent's journal that makes an apply repeatable. Everything is durable on return. */
export interface ApplyJournal {
  /** Objects that were begun and not committed: a crash lies between. */
  openIntents(): readonly ObjectId[];
  begin(objectIds: readonly ObjectId[]): void;
  commit(objectIds: readonly ObjectId[]): void;
}

export interface UnsealOptions {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly memory: ReplicaMemory;
  readonly target: SealedGeneration;
  /** The generation applied here before, which explains objects that the target does not name. */
  readonly previous: SealedGeneration | undefined;
  /** @throws GENERATION_UNKNOWN */
  readonly blobOf: (sha256: string) => Uint8Array;
  readonly journal: ApplyJournal;
  /** Called right before the first write; throws when the epoch is stale (I2). */
  readonly checkFence: () => void;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface UnsealResult {
  readonly applied: readonly ObjectId[];
  /** Readable keys that became sensitive here. */
  readonly narrowed: number;
  /** Objects that no generation accounts for. They are left alone. */
  readonly unaccounted: number;
  /** Objects of the generation before that are neither in this one nor deleted by it. They are left alone. */
  readonly divergent: number;
}

export interface ProofSummary {
  readonly proved: number;
  readonly failed: number;
  readonly failedObjectIds: readonly ObjectId[];
  /** Uses that no mechanism of this token could exercise. */
  readonly usesNotExercised: number;
}

/** One message to the worker, one row batch in the journal: bounds memory and what a crash leaves open. */
const BATCH = 256;

/** @throws BLOB_INVALID, DOMAIN_KEY_MISSING, HSM_FULL, HSM_REFUSED, HSM_UNAVAILABLE, OBJECT_UNPROVEN; then nothing was changed */
export async function unseal(options: UnsealOptions): Promise<UnsealResult> {
  const { memory, target, previous, blobOf, journal, provider } = options;
  const { entries, tombstones } = target.generation;
  const key = domainKeyOf(options.keyring, target);
  for (const digest of blobDigests(target.generation)) checkBlob(blobOf(digest), digest);
  if (memory.unaccounted === undefined) await recogniseAll(options, key);

  const stale = entries.filter((entry) => {
    const known = memory.known.get(entry.objectId);
    return known === undefined || Buffer.compare(known.digest, entryDigest(entry)) !== 0;
  });
  const made = new Map<ObjectId, Handle>();
  try {
    for (let start = 0; start < stale.length; start += BATCH) {
      const batch = stale.slice(start, start + BATCH);
      options.checkFence();
      journal.begin(batch.map(({ objectId }) => objectId));
      await makeObjects(options, key, batch, made);
      options.onProgress?.(made.size, stale.length);
    }
    await proveMade(options, key, stale, made);
  } catch (thrown) {
    await provider.destroy([...made.values()]).catch(() => undefined);
    journal.commit([...made.keys()]);
    throw thrown;
  }
  const replaced = stale.flatMap(({ objectId }) => memory.known.get(objectId)?.handle ?? []);
  await provider.destroy(replaced);
  for (const [objectId, handle] of made) memory.known.set(objectId, { handle, digest: new Uint8Array() });
  journal.commit([...new Set([...journal.openIntents(), ...made.keys()])]);

  const accounted = new Set([
    ...entries.map(({ objectId }) => objectId),
    ...tombstones.map(({ entry }) => entry.objectId),
  ]);
  return {
    applied: [...made.keys()],
    narrowed: entries.filter((entry) => made.has(entry.objectId) && entry.attributes.sensitive === false).length,
    unaccounted: memory.unaccounted?.length ?? 0,
    divergent: (previous?.generation.entries ?? []).filter(({ objectId }) => !accounted.has(objectId)).length,
  };
}

/**
 * Reads objects back and uses them. The content digest covers every object of the generation: those asked for as read
 * now, the others as they were last read.
 */
export async function readBack(options: {
  provider: HsmProvider;
  keyring: Keyring;
  memory: ReplicaMemory;
  target: SealedGeneration;
  objectIds: readonly ObjectId[] | 'everything';
}): Promise<{ contentDigest: string; proof: ProofSummary }> {
  const { provider, keyring, memory, target, objectIds } = options;
  const key = domainKeyOf(keyring, target);
  const { entries } = target.generation;
  if (memory.unaccounted === undefined)
    await recogniseAll({ provider, keyring, memory, target, previous: undefined }, key);
  const asked = objectIds === 'everything' ? undefined : new Set(objectIds);
  const touched = entries.filter(
    ({ objectId }) => asked?.has(objectId) !== false || (memory.known.get(objectId)?.digest.length ?? 0) === 0,
  );

  const outcomes: { entry: Entry; outcome: ProofOutcome | undefined }[] = [];
  for (let start = 0; start < touched.length; start += BATCH) {
    const batch = touched.slice(start, start + BATCH);
    const held = batch.flatMap((entry) => {
      const handle = memory.known.get(entry.objectId)?.handle;
      return handle === undefined ? [] : [{ entry, handle }];
    });
    const observed = await provider.read(held.map(({ handle }) => handle));
    const present = held.flatMap(({ entry, handle }, index) =>
      observed[index] === undefined ? [] : [{ entry, handle, object: observed[index] }],
    );
    const examined = await examine(provider, {
      domainKey: key,
      objects: present.map(({ object }) => object),
      wrapPrivateKeys: false,
    });
    for (const entry of batch) memory.known.delete(entry.objectId);
    for (const [index, { entry, handle }] of present.entries())
      memory.known.set(entry.objectId, { handle, digest: observedDigest(entry, examined[index]!) });
    const proofs = await provider.prove(
      key,
      present.map(({ entry, handle }) => proofItem(entry, handle)),
    );
    const byHandle = new Map(proofs.map((outcome) => [outcome.handle, outcome]));
    for (const entry of batch) {
      const handle = memory.known.get(entry.objectId)?.handle;
      outcomes.push({ entry, outcome: handle === undefined ? undefined : byHandle.get(handle) });
    }
  }
  const digests = new Map(
    entries.map(({ objectId }) => [objectId, memory.known.get(objectId)?.digest ?? new Uint8Array()]),
  );
  return { contentDigest: contentDigest(digests), proof: summarise(outcomes) };
}

export function summarise(outcomes: readonly { entry: Entry; outcome: ProofOutcome | undefined }[]): ProofSummary {
  const failed = outcomes.filter(({ outcome }) => outcome?.proved !== true);
  return {
    proved: outcomes.length - failed.length,
    failed: failed.length,
    failedObjectIds: failed.map(({ entry }) => entry.objectId),
    usesNotExercised: outcomes.reduce(
      (sum, { outcome }) => sum + (outcome?.checks.filter((check) => check.outcome === 'not-exercised').length ?? 0),
      0,
    ),
  };
}

export function proofItem(entry: Entry, handle: Handle): ProofItem {
  const { objectClass, keyType, sizeBits, attributes, publicHalf, blobSha256, valueTag } = entry;
  return {
    handle,
    objectClass,
    ...(keyType === undefined ? {} : { keyType }),
    sizeBits,
    attributes,
    ...(publicHalf === undefined ? {} : { publicHalf }),
    ...(blobSha256 === undefined || !isWrapped(objectClass) ? {} : { blobSha256: fromHex(blobSha256) }),
    ...(valueTag === undefined ? {} : { valueTag }),
  };
}

/** The domain key that sealed the generation. @throws DOMAIN_KEY_MISSING, also where the same version is another key */
function domainKeyOf(keyring: Keyring, { generation }: SealedGeneration): Handle {
  const { group, domainKeyVersion, domainKeyCheckTag } = generation;
  const key = keyring.domainKey(group, domainKeyVersion);
  if (Buffer.compare(key.checkTag, domainKeyCheckTag) !== 0) {
    throw new AntipodeError(
      'DOMAIN_KEY_MISSING',
      `domain key version ${domainKeyVersion} of group ${group} is another key here than at the source`,
      {
        details: { group, version: domainKeyVersion },
      },
    );
  }
  return key.handle;
}

/** Reads the whole partition once per provider: what is here already, and what a crash may have left half made. */
async function recogniseAll(
  {
    provider,
    keyring,
    memory,
    target,
    previous,
    journal,
  }: Pick<UnsealOptions, 'provider' | 'keyring' | 'memory' | 'target' | 'previous'> & { journal?: ApplyJournal },
  domainKey: Handle,
): Promise<void> {
  const objects = (await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle));
  const examined = await examine(provider, { domainKey, objects, wrapPrivateKeys: false });
  const { entries, tombstones } = target.generation;
  const named = new Set(entries.map(({ objectId }) => objectId));
  const deleted = tombstones.map(({ entry }) => entry);
  const former = [...deleted, ...(previous?.generation.entries ?? [])].filter(({ objectId }) => !named.has(objectId));
  const formerById = new Map(former.map((entry) => [entry.objectId, entry]));
  const { matched, unmatched } = pair(examined, [...entries, ...formerById.values()]);
  memory.known.clear();
  for (const one of examined) {
    const entry = matched.get(one.object.handle);
    if (entry !== undefined)
      memory.known.set(entry.objectId, { handle: one.object.handle, digest: observedDigest(entry, one) });
  }
  const half = journal !== undefined && journal.openIntents().length > 0 ? await halfMade(provider, unmatched) : [];
  await provider.destroy(half);
  memory.unaccounted = handlesOf(unmatched.map(({ object }) => object)).filter((handle) => !half.includes(handle));
}

/**
 * Keys that do not work, while an apply of ours was cut short: the token's unwrap is not atomic (facts: pkcs11, 7). One
 * that works is left alone, since another application may have made it.
 */
async function halfMade(provider: HsmProvider, unmatched: readonly Examined[]): Promise<Handle[]> {
  const suspects = unmatched.filter(({ object, blob }) => isWrapped(object.objectClass) && blob === undefined);
  const outcomes = await provider.prove(
    undefined,
    suspects.map(({ object }) => ({
      handle: object.handle,
      objectClass: object.objectClass as 'secret-key' | 'private-key',
      ...(object.keyType === undefined || object.keyType === 'unsupported' ? {} : { keyType: object.keyType }),
      sizeBits: object.sizeBits,
      attributes: object.attributes,
      ...(object.publicHalf === undefined ? {} : { publicHalf: object.publicHalf }),
    })),
  );
  return outcomes
    .filter(
      ({ checks }) =>
        checks.some(({ outcome }) => outcome === 'failed') && !checks.some(({ outcome }) => outcome === 'proved'),
    )
    .map(({ handle }) => handle);
}

async function makeObjects(
  options: UnsealOptions,
  domainKey: Handle,
  batch: readonly Entry[],
  made: Map<ObjectId, Handle>,
): Promise<void> {
  const { provider, target, blobOf } = options;
  const record = (entries: readonly Entry[], outcome: BatchOutcome): void => {
    for (const [index, handle] of outcome.handles.entries()) made.set(entries[index]!.objectId, handle);
    if (outcome.failure === undefined) return;
    const { index, code, returnValue } = outcome.failure;
    const { objectId } = entries[index]!;
    throw new AntipodeError(code, `the HSM answered ${returnValue} when object ${objectId} was restored`, {
      details: { objectId, returnValue },
    });
  };
  const wrapped = batch.filter(({ objectClass }) => isWrapped(objectClass));
  record(
    wrapped,
    await provider.unwrap(
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
          blob: blobOf(blobSha256),
        };
      }),
    ),
  );
  const inManifest = batch.filter(({ objectClass }) => objectClass === 'public-key' || objectClass === 'certificate');
  record(
    inManifest,
    await provider.create(
      inManifest.map(({ objectClass, keyType, attributes }) => ({
        objectClass: objectClass as 'public-key' | 'certificate',
        ...(keyType === undefined ? {} : { keyType }),
        attributes,
      })),
    ),
  );
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
      record(data, await provider.createData({ dataKey, items }));
    } finally {
      await provider.forget([dataKey]);
    }
  }
}

async function proveMade(
  { provider }: UnsealOptions,
  domainKey: Handle,
  stale: readonly Entry[],
  made: ReadonlyMap<ObjectId, Handle>,
): Promise<void> {
  const items = stale.map((entry) => ({ entry, handle: made.get(entry.objectId) }));
  const missing = items.find(({ handle }) => handle === undefined);
  if (missing !== undefined) {
    throw new AntipodeError(
      'MANIFEST_INVALID',
      `object ${missing.entry.objectId} names a data key that the manifest does not have`,
      { details: { objectId: missing.entry.objectId } },
    );
  }
  const proofItems = items.flatMap(({ entry, handle }) => (handle === undefined ? [] : [proofItem(entry, handle)]));
  const outcomes = await provider.prove(domainKey, proofItems);
  const failed = outcomes.filter(({ proved }) => !proved);
  if (failed.length === 0) return;
  const objectIds = items
    .filter(({ handle }) => failed.some((outcome) => outcome.handle === handle))
    .map(({ entry }) => entry.objectId);
  throw new AntipodeError('OBJECT_UNPROVEN', `${failed.length} restored objects do not work`, {
    details: { objectIds: objectIds.slice(0, 20).join(',') },
  });
}

function checkBlob(blob: Uint8Array, expected: string): void {
  const found = sha256Hex(blob);
  if (found !== expected)
    throw new AntipodeError('BLOB_INVALID', 'a sealed object has not the digest that the manifest gives', {
      details: { expected, found },
    });
}
