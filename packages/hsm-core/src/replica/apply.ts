/**
 * Applies a generation to a partition. Repeating it after a crash at any point ends in the same state (I9).
 *
 * Blobs are checked against the signed manifest before the first of them is used. Every object is made and proved
 * before any object that it replaces is destroyed, so that the previous generation stays whole until then (I4). An
 * apply destroys only objects of ours that it has replaced, and objects of its own that do not work (I11).
 */
import { AntipodeError, bytesEqual, type ErrorCode, invariant } from '@antipode/runtime';
import { isTwin } from '../capture/namesakes.ts';
import { type Entry, entryDigest, type SealedGeneration } from '../model/generation.ts';
import { type Handle, isWrapped, type ObjectId } from '../model/object.ts';
import { entryBytes, inBatches } from '../objects/batches.ts';
import { asSeen, destroyDoomed } from '../objects/doomed.ts';
import type { Refusal } from '../provider/provider.ts';
import { formsOf } from './forms.ts';
import { proofItem } from './read-back.ts';
import { recogniseAgain } from './recognition.ts';
import { type ApplyIntent, hasDomainKeyOf, type Replica } from './replica.ts';
import {
  type Restoration,
  type RestoredObject,
  restoreAll,
  startedRestoration,
  type UncopiedKey,
} from './restoration.ts';

export interface ApplyOptions extends Replica {
  /** The generation that was read back and used here last. Objects that are the same in it need no second proof. */
  readonly proved: SealedGeneration | undefined;
  /**
   * Objects that may look right and not work: a scrub or a proof has found damage since they were last used. The apply
   * uses them before it makes anything, and restores those that do not work like missing ones.
   */
  readonly doubted?: ReadonlySet<ObjectId> | 'everything';
  /**
   * The partition was out of the group for a while, or its token may be another one. An object that looks like a missing one
   * of the group may then be anybody's.
   */
  readonly isReturned?: boolean;
  /**
   * Why devices have not copied keys, by object. With it this apply asks no device for a key that is not here: its caller
   * does, beside it ({@link ApplyResult.uncopied}), and applies again.
   */
  readonly copies?: ReadonlyMap<ObjectId, Refusal>;
  /** @throws GENERATION_UNKNOWN */
  readonly blobOf: (sha256: string) => Uint8Array;
}

/**
 * An object that this token does not take. All other objects are restored (I15). An older object under its id stays.
 */
export interface RefusedObject {
  readonly objectId: ObjectId;
  readonly code: ErrorCode;
  /** The CKR_ name, if it was the token that refused. */
  readonly returnValue?: string;
}

export interface ApplyResult {
  /** Objects that this apply has made. */
  readonly applied: readonly ObjectId[];
  /** Those of them that have two forms, and that are clones here. */
  readonly cloned: readonly ObjectId[];
  /**
   * Exceptions of this replica: objects that are not restored here, each with its reason. Every apply tries them again.
   */
  readonly refused: readonly RefusedObject[];
  /** Keys that devices have to copy, where the caller asks them. They are among the refused ones. */
  readonly uncopied: readonly UncopiedKey[];
  /**
   * Objects that a read-back has to use: made by this apply or by one that was cut short, or not the same in the
   * generation that was proved here last.
   */
  readonly unproven: readonly ObjectId[];
  /** How many readable keys became sensitive here. */
  readonly narrowed: number;
  /** How many objects no generation accounts for, or were replaced and must not be destroyed. They stay. */
  readonly unaccounted: number;
  /** How many objects a former generation names, and this one neither lists nor reports as deleted. They stay. */
  readonly divergent: number;
}

/**
 * If this token takes no object of the generation at all, the error is that of the first object: HSM_REFUSED, ID_TAKEN
 * or OBJECT_UNPROVEN. The proved objects then stay for the next try, and nothing is replaced.
 * @throws BLOB_INVALID, DOMAIN_KEY_MISSING, HSM_FULL, HSM_UNAVAILABLE, HSM_SESSION_VOID, and the errors above
 */
export async function applyGeneration(options: ApplyOptions): Promise<ApplyResult> {
  const { memory, target, journal } = options;
  const { entries } = target.generation;
  const begun = journal.openIntents();
  // Open intents mean that an earlier apply crashed. Read the partition again first, so that its leftovers are matched
  // against this target. Objects that were made and not read back since are not known well enough either.
  const isUnread = entries.some(({ objectId }) => memory.known.get(objectId)?.digest.length === 0);
  if (begun.length > 0 || isUnread) memory.forget();
  const domainKey = await recogniseAgain(options);
  const unsound = await findUnsound(options, domainKey);
  const stale = entries.filter((entry) => !isAsWanted(options, entry) || unsound.has(entry.objectId));
  const forms = await formsOf(options, stale);
  const damaged = await findDamaged(options, stale);
  const restoration: Restoration = startedRestoration(options, { domainKey, forms });
  const { restored, cloned, refused, uncopied } = restoration;
  try {
    await restoreAll(restoration);
    checkAnyKey(entries, refused);
    await destroyReplaced(restoration, stale);
    memory.damaged = damaged.filter(({ objectId }) => restored.has(objectId)).map(({ handle }) => handle);
  } catch (thrown) {
    memory.forget();
    throw thrown;
  }
  for (const [objectId, { handle, proof }] of restored)
    memory.known.set(objectId, { handle, digest: new Uint8Array(), isOurs: true, proof });
  journal.commit(target.digest, [
    ...new Set([...begun.map(({ objectId }) => objectId), ...restored.keys(), ...refused.keys()]),
  ]);
  return { ...resultOf(options, { begun, restored, cloned, refused }), uncopied };
}

function resultOf(
  options: ApplyOptions,
  {
    begun,
    restored,
    cloned,
    refused,
  }: {
    begun: readonly ApplyIntent[];
    restored: ReadonlyMap<ObjectId, RestoredObject>;
    cloned: ReadonlySet<ObjectId>;
    refused: ReadonlyMap<ObjectId, AntipodeError>;
  },
): Omit<ApplyResult, 'uncopied'> {
  const { memory, target } = options;
  const { entries, tombstones } = target.generation;
  const explained = new Set([...entries, ...tombstones.map(({ entry }) => entry)].map(({ objectId }) => objectId));
  return {
    applied: [...restored.keys()],
    cloned: [...cloned].filter((objectId) => restored.has(objectId)),
    refused: [...refused].map(([objectId, { code, details }]) => ({
      objectId,
      code,
      ...(details['returnValue'] === undefined ? {} : { returnValue: String(details['returnValue']) }),
    })),
    unproven: unprovenOf(options, new Set([...restored.keys(), ...begun.map(({ objectId }) => objectId)])),
    narrowed: entries.filter(
      ({ objectId, attributes }) => restored.has(objectId) && !cloned.has(objectId) && attributes.sensitive === false,
    ).length,
    unaccounted: memory.unaccounted.length,
    divergent: [...memory.known.keys()].filter((objectId) => !explained.has(objectId)).length,
  };
}

function isAsWanted({ memory }: ApplyOptions, entry: Entry): boolean {
  const known = memory.known.get(entry.objectId);
  return known !== undefined && bytesEqual(known.digest, entryDigest(entry));
}

/**
 * Doubted objects that read as wanted and do not work. Damage to those parts of an RSA key that no use needs has no
 * other sign. Like every replaced object, such an object is destroyed only after its successor is proved.
 */
async function findUnsound(options: ApplyOptions, domainKey: Handle): Promise<Set<ObjectId>> {
  const { provider, memory, target, doubted = new Set<ObjectId>() } = options;
  const here = target.generation.entries.filter(
    (entry) => (doubted === 'everything' || doubted.has(entry.objectId)) && isAsWanted(options, entry),
  );
  const unsound = new Set<ObjectId>();
  for (const batch of inBatches(here, entryBytes)) {
    const items = batch.map((entry) => proofItem(entry, memory.known.get(entry.objectId)!.handle));
    const outcomes = await provider.prove(domainKey, items);
    for (const [index, { objectId }] of batch.entries()) if (outcomes[index]?.proved !== true) unsound.add(objectId);
  }
  return unsound;
}

/**
 * Unaccounted objects that equal a missing entry in class, type, names and every attribute that does not tell the
 * value. Their value is damaged, or they are other keys. A program that searches by name may find one of them instead
 * of the restored key.
 */
async function findDamaged(
  { provider, keyring, memory, previous, isReturned = false }: ApplyOptions,
  stale: readonly Entry[],
): Promise<{ objectId: ObjectId; handle: Handle }[]> {
  if (memory.unaccounted.length === 0 || isReturned) return [];
  // A token without the domain key of a generation is not the one that it was applied in.
  const here = previous.filter((sealed) => hasDomainKeyOf(keyring, sealed));
  const applied = new Set(here.flatMap(({ generation }) => generation.entries.map(({ objectId }) => objectId)));
  const missing = stale.filter(({ objectId }) => applied.has(objectId) && !memory.known.has(objectId));
  if (missing.length === 0) return [];
  const free = (await provider.read(memory.unaccounted)).filter((object) => object !== undefined);
  return missing.flatMap((entry) => {
    const index = free.findIndex((object) => isTwin(object, entry));
    return index === -1 ? [] : [{ objectId: entry.objectId, handle: free.splice(index, 1)[0]!.handle }];
  });
}

/** Destroys the objects that restored ones replace, and what an earlier apply had replaced before it crashed. */
async function destroyReplaced(
  { options, domainKey, restored, refused }: Restoration,
  stale: readonly Entry[],
): Promise<void> {
  const { provider, clock, memory, checkFence } = options;
  // A token that keeps one key per CKA_ID has changed it in place.
  const changed = new Set([...restored.values()].map(({ handle }) => handle));
  const replaced = stale
    .filter(({ objectId }) => !refused.has(objectId))
    .flatMap(({ objectId }) => memory.known.get(objectId) ?? [])
    .filter(({ handle }) => !changed.has(handle))
    .map(({ handle, seen }) => {
      invariant(seen !== undefined, 'the object to replace was not read first', {});
      return { handle, seen };
    });
  const doomed = [...replaced, ...memory.superseded].map(asSeen);
  const { left } = await destroyDoomed(provider, { clock, domainKey, doomed, checkFence });
  memory.unaccounted = [...memory.unaccounted, ...left];
  memory.superseded = [];
}

/**
 * Refusals that tell what a member lacks for objects of one kind. They tell nothing of what else its token takes, even if
 * the generation has no other object.
 */
const LACKS: ReadonlySet<ErrorCode> = new Set([
  'SECRET_INEXACT',
  'DOMAIN_KEY_UNTRUSTED',
  'NATIVE_UNAVAILABLE',
  'CLONING_DOMAIN_OTHER',
  'NATIVE_SOURCE_UNREACHED',
  'NATIVE_CLONING',
  'NATIVE_NOT_CLONED',
]);

/** If the token takes no key of the generation at all, the fault is the token's. The apply then fails as a whole. */
function checkAnyKey(entries: readonly Entry[], refused: ReadonlyMap<ObjectId, AntipodeError>): void {
  const judged = entries.filter(({ objectId }) => {
    const code = refused.get(objectId)?.code;
    return code === undefined || !LACKS.has(code);
  });
  const keys = judged.filter(({ objectClass }) => isWrapped(objectClass));
  const counted = keys.length > 0 ? keys : judged;
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
