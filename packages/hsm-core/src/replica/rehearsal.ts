/**
 * Restores a generation into an empty scratch partition, proves every object, and empties the partition again. This is
 * the core of a drill. The caller has checked that the partition is declared as scratch (I7).
 */
import { AntipodeError, type Clock, sha256Hex } from '@antipode/runtime';
import { looksOf } from '../capture/namesakes.ts';
import type { Keyring } from '../domain-key/keyring.ts';
import {
  contentDigestOf,
  type Entry,
  hasClone,
  isNative,
  type SealedGeneration,
  withoutClone,
} from '../model/generation.ts';
import { isWrapped, type ObjectId, type ObservedObject } from '../model/object.ts';
import { destroyAll } from '../objects/batches.ts';
import type { HsmProvider } from '../provider/provider.ts';
import { applyGeneration } from './apply.ts';
import { clonesHere } from './forms.ts';
import { type ProofSummary, readBack } from './read-back.ts';
import { type Replica, ReplicaMemory } from './replica.ts';
import { findNamesakes } from './set-aside.ts';

export interface Rehearsal {
  readonly proof: ProofSummary;
  /** Whether the read-back gave the content digest of the generation, and no other object has its names. */
  readonly isEqual: boolean;
  readonly restoreMs: number;
  readonly proveMs: number;
  readonly cleanMs: number;
  /** Whether the partition ended as it began. */
  readonly isClean: boolean;
  /** Objects that anybody can make without a PIN, and that were there before the drill. They stay. */
  readonly strangers: number;
}

/** Objects that anybody can make without a PIN: how many there are of each read digest. It is valid in one provider. */
export type Strangers = ReadonlyMap<string, number>;

/**
 * Counts the objects of a scratch partition, without its own keys. `foreign` are keys and private objects: somebody
 * with the PIN uses the partition. The other objects prove nothing, and must not stop a drill.
 */
export async function lookIntoScratch({
  provider,
  keyring,
}: {
  provider: HsmProvider;
  keyring: Keyring;
}): Promise<{ foreign: number; strangers: Strangers; looks: ReadonlySet<string> }> {
  const objects = await beside({ provider, keyring });
  const anybodys = objects.filter(isAnybodys);
  const strangers = new Map<string, number>();
  for (const { readDigest } of anybodys) strangers.set(readDigest, (strangers.get(readDigest) ?? 0) + 1);
  return { foreign: objects.length - anybodys.length, strangers, looks: new Set(anybodys.map(lookDigestOf)) };
}

const isAnybodys = ({ objectClass, attributes }: ObservedObject): boolean =>
  attributes.private === false || (attributes.private !== true && !isWrapped(objectClass));

/**
 * Digest of class, type and names. Every process of a worker computes the same one, unlike a read digest. It holds no
 * value of an object.
 */
const lookDigestOf = (object: ObservedObject): string => sha256Hex(Buffer.from(looksOf(object)));

/**
 * The partition is emptied even after a failure.
 * @throws SCRATCH_REFUSED when the partition is not empty, and what `applyGeneration` throws
 */
export async function rehearse(options: {
  provider: HsmProvider;
  keyring: Keyring;
  clock: Clock;
  target: SealedGeneration;
  blobOf: (sha256: string) => Uint8Array;
}): Promise<Rehearsal> {
  const { provider, keyring, clock, blobOf } = options;
  const { foreign, strangers } = await lookIntoScratch(options);
  if (foreign > 0) {
    throw new AntipodeError('SCRATCH_REFUSED', `the scratch partition holds ${foreign} objects, expected none`, {
      details: { objects: foreign },
    });
  }
  const target = destroyable(options.target);
  const inScratch: InScratch = { provider, keyring, clock, blobOf, strangers };
  const first = await restoreOnce(inScratch, target);
  const clones = [...(await clonesHere(provider, target.generation.entries))];
  const cloned = new Set(first.cloned);
  // The members outside of the cloning domain take the sealed form, so that is tried as well.
  const second =
    first.isClean && clones.length > 0 ? await restoreOnce(inScratch, sealedOnly(target, clones)) : undefined;
  const proofs = [first.proof, ...(second === undefined ? [] : [second.proof])];
  const proof = withoutTrial(bothForms(proofs, { lost: clones.filter(({ objectId }) => !cloned.has(objectId)) }), [
    ...options.target.generation.entries.filter(isKeptClone).map((entry) => ({ entry, ...KEPT_CLONE })),
    ...options.target.generation.entries
      .filter((entry) => hasClone(entry) && !clones.some(({ objectId }) => objectId === entry.objectId))
      .map((entry) => ({ entry, ...(isKept(entry) ? KEPT_SECOND_FORM : OTHER_DOMAIN) })),
  ]);
  const rounds = [first, ...(second === undefined ? [] : [second])];
  const sum = (of: (round: Round) => number): number => rounds.reduce((total, round) => total + of(round), 0);
  return {
    proof,
    isEqual: rounds.every(({ isEqual }) => isEqual),
    restoreMs: sum(({ restoreMs }) => restoreMs),
    proveMs: sum(({ proveMs }) => proveMs),
    cleanMs: sum(({ cleanMs }) => cleanMs),
    isClean: rounds.every(({ isClean }) => isClean),
    strangers: [...strangers.values()].reduce((total, copies) => total + copies, 0),
  };
}

interface InScratch {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly blobOf: (sha256: string) => Uint8Array;
  readonly strangers: Strangers;
}

type Round = Omit<Rehearsal, 'strangers'> & { readonly cloned: readonly ObjectId[] };

/** Restores, proves, and empties the partition again. */
async function restoreOnce(
  { provider, keyring, clock, blobOf, strangers }: InScratch,
  target: SealedGeneration,
): Promise<Round> {
  const replica: Replica = {
    provider,
    keyring,
    clock,
    memory: new ReplicaMemory(),
    target,
    previous: [],
    // The drill empties the whole partition, so there is nothing to record.
    journal: { openIntents: () => [], begin: () => {}, commit: () => {} },
    checkFence: () => {},
  };
  const startedMs = clock.monotonicMs();
  let restoredMs = startedMs;
  let provedMs = startedMs;
  try {
    const { cloned } = await applyGeneration({ ...replica, proved: undefined, blobOf });
    restoredMs = clock.monotonicMs();
    const { contentDigest, proof } = await readBack({ ...replica, objectIds: 'everything' });
    // A program finds a key by its names. No other object may have them, except objects that anybody can put here.
    const namesakes = (await findNamesakes(replica)).filter(({ readDigest }) => !strangers.has(readDigest));
    provedMs = clock.monotonicMs();
    const isClean = await emptyScratch({ provider, keyring, strangers });
    return {
      cloned,
      proof,
      isEqual: contentDigest === contentDigestOf(target.generation) && namesakes.length === 0,
      restoreMs: restoredMs - startedMs,
      proveMs: provedMs - restoredMs,
      cleanMs: clock.monotonicMs() - provedMs,
      isClean,
    };
  } catch (thrown) {
    await emptyScratch({ provider, keyring, strangers }).catch(() => false);
    throw thrown;
  }
}

/** The sealed form of these keys, and nothing else. */
const sealedOnly = (target: SealedGeneration, keys: readonly Entry[]): SealedGeneration => ({
  ...target,
  generation: { ...target.generation, entries: keys.map(destroyableForm), tombstones: [], uncaptured: [] },
});

/**
 * Destroys all objects of a scratch partition, except its own keys and the objects from before the drill. Returns
 * whether they are gone. Objects that anybody makes there meanwhile do not count.
 *
 * The objects from before are named by `strangers` in the provider that has seen them, and by `looks` in any other. By
 * looks a public object of the drill may be taken for one of them. It stays, since the other choice would be to destroy
 * an object of somebody else.
 */
export async function emptyScratch({
  provider,
  keyring,
  strangers,
  looks,
}: {
  provider: HsmProvider;
  keyring: Keyring;
  strangers?: Strangers;
  looks?: ReadonlySet<string>;
}): Promise<boolean> {
  const left = await beside({ provider, keyring, strangers, looks });
  if (left.length === 0) return true;
  const handles = left.map(({ handle }) => handle);
  await destroyAll(provider, handles, { checkFence: () => {} });
  const doomed = new Set(left.map(({ readDigest }) => readDigest));
  const after = await beside({ provider, keyring, strangers, looks });
  return after.every((object) => isAnybodys(object) && !doomed.has(object.readDigest));
}

async function beside({
  provider,
  keyring,
  strangers,
  looks,
}: {
  provider: HsmProvider;
  keyring: Keyring;
  strangers?: Strangers | undefined;
  looks?: ReadonlySet<string> | undefined;
}): Promise<ObservedObject[]> {
  const spared = new Map(strangers);
  return (await provider.inventory()).filter((object) => {
    const { handle, readDigest } = object;
    if (keyring.ownHandles.has(handle)) return false;
    if (looks !== undefined && isAnybodys(object) && looks.has(lookDigestOf(object))) return false;
    const copies = spared.get(readDigest) ?? 0;
    spared.set(readDigest, copies - 1);
    return copies <= 0;
  });
}

/**
 * Makes every key destroyable. Any other key would stay in the scratch partition for ever. A clone is as its source is, so
 * one that its token would keep is left out.
 */
function destroyable(target: SealedGeneration): SealedGeneration {
  const entries = target.generation.entries
    .filter((entry) => !isKeptClone(entry))
    .map((entry) => (isNative(entry) || (hasClone(entry) && !isKept(entry)) ? entry : destroyableForm(entry)));
  return { ...target, generation: { ...target.generation, entries } };
}

/** The sealed form, made so that it can be destroyed. */
function destroyableForm(entry: Entry): Entry {
  const { attributes } = entry;
  if (attributes.destroyable === true) return withoutClone(entry);
  return { ...withoutClone(entry), attributes: { ...attributes, destroyable: true } };
}

/** Whether a token that has a clone of it keeps that for ever. */
const isKept = ({ attributes }: Entry): boolean => attributes.destroyable === false;
const isKeptClone = (entry: Entry): boolean => isNative(entry) && isKept(entry);

/** A use that no drill here can try. */
interface NotTried {
  readonly use: string;
  readonly reason: string;
}

const KEPT_CLONE: NotTried = {
  use: 'restore',
  reason: 'CKA_DESTROYABLE is false, so that the scratch partition would keep the clone',
};
const KEPT_SECOND_FORM: NotTried = { ...KEPT_CLONE, use: 'clone' };
const OTHER_DOMAIN: NotTried = {
  use: 'clone',
  reason: 'the scratch partition is not in the cloning domain of the clone, so that only the sealed form was restored',
};

/** The proofs of both rounds. A clone that was not made, or did not work, is a failure: the sealed form does not hide it. */
function bothForms(proofs: readonly ProofSummary[], { lost }: { lost: readonly Entry[] }): ProofSummary {
  const [first, second] = proofs as [ProofSummary, ProofSummary?];
  const failed = new Set([
    ...proofs.flatMap(({ failedObjectIds }) => failedObjectIds),
    ...lost.map((one) => one.objectId),
  ]);
  const objects = first.proved + first.failed;
  return {
    proved: objects - failed.size,
    failed: failed.size,
    failedObjectIds: [...failed],
    usesNotExercised: first.usesNotExercised + (second?.usesNotExercised ?? 0),
    notExercised: [...first.notExercised, ...(second?.notExercised ?? [])],
  };
}

function withoutTrial(proof: ProofSummary, untried: readonly ({ readonly entry: Entry } & NotTried)[]): ProofSummary {
  return {
    ...proof,
    usesNotExercised: proof.usesNotExercised + untried.length,
    notExercised: [
      ...proof.notExercised,
      ...untried.map(({ entry: { objectId }, use, reason }) => ({ objectId, uses: [use], reasons: [reason] })),
    ],
  };
}
