/**
 * Restores a generation into an empty scratch partition, proves every object, and empties the partition again. This is
 * the core of a drill. The caller has checked that the partition is declared as scratch (I7).
 */
import { AntipodeError, type Clock, sha256Hex } from '@antipode/runtime';
import { looksOf } from '../capture/namesakes.ts';
import type { Keyring } from '../domain-key/keyring.ts';
import { contentDigestOf, type Entry, isNative, type SealedGeneration } from '../model/generation.ts';
import { isWrapped, type ObservedObject } from '../model/object.ts';
import { destroyAll } from '../objects/batches.ts';
import type { HsmProvider } from '../provider/provider.ts';
import { applyGeneration } from './apply.ts';
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
    await applyGeneration({ ...replica, proved: undefined, blobOf });
    restoredMs = clock.monotonicMs();
    const { contentDigest, proof } = await readBack({ ...replica, objectIds: 'everything' });
    // A program finds a key by its names. No other object may have them, except objects that anybody can put here.
    const namesakes = (await findNamesakes(replica)).filter(({ readDigest }) => !strangers.has(readDigest));
    provedMs = clock.monotonicMs();
    const isClean = await emptyScratch({ provider, keyring, strangers });
    return {
      proof: withKeptClones(proof, options.target),
      isEqual: contentDigest === contentDigestOf(target.generation) && namesakes.length === 0,
      restoreMs: restoredMs - startedMs,
      proveMs: provedMs - restoredMs,
      cleanMs: clock.monotonicMs() - provedMs,
      isClean,
      strangers: [...strangers.values()].reduce((sum, copies) => sum + copies, 0),
    };
  } catch (thrown) {
    await emptyScratch({ provider, keyring, strangers }).catch(() => false);
    throw thrown;
  }
}

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
    .map((entry) => {
      const { attributes } = entry;
      return attributes.destroyable === true || isNative(entry)
        ? entry
        : { ...entry, attributes: { ...attributes, destroyable: true } };
    });
  return { ...target, generation: { ...target.generation, entries } };
}

/** Whether a token that has the clone keeps it for ever. */
const isKeptClone = (entry: Entry): boolean => isNative(entry) && entry.attributes.destroyable === false;

/** Names the clones that no drill can try. */
function withKeptClones(proof: ProofSummary, { generation }: SealedGeneration): ProofSummary {
  const kept = generation.entries.filter(isKeptClone).map(({ objectId }) => ({
    objectId,
    uses: ['restore'],
    reasons: ['CKA_DESTROYABLE is false, so that the scratch partition would keep the clone'],
  }));
  return {
    ...proof,
    usesNotExercised: proof.usesNotExercised + kept.length,
    notExercised: [...proof.notExercised, ...kept],
  };
}
