/**
 * The heart of a drill: restores a generation into an empty scratch partition, proves every object, empties it again.
 * The caller has made sure that the partition is declared as scratch (I7).
 */
import { AntipodeError, type Clock } from '@antipode/runtime';
import { destroyAll } from './batches.ts';
import type { Keyring } from './keyring.ts';
import { contentDigestOf, type SealedGeneration } from './model/generation.ts';
import type { Handle } from './model/object.ts';
import type { HsmProvider } from './provider.ts';
import { type ProofSummary, readBack } from './read-back.ts';
import { type Replica, ReplicaMemory } from './replica.ts';
import { findNamesakes } from './set-aside.ts';
import { unseal } from './unseal.ts';

export interface Rehearsal {
  readonly proof: ProofSummary;
  /** Whether reading everything back gave the content digest of the generation, and nothing else bears its names. */
  readonly isEqual: boolean;
  readonly restoreMs: number;
  readonly proveMs: number;
  readonly cleanMs: number;
  /** Whether the partition was empty again at the end. */
  readonly isClean: boolean;
}

/** @throws SCRATCH_REFUSED when the partition is not empty, and what unseal throws; it is emptied also then */
export async function rehearse(options: {
  provider: HsmProvider;
  keyring: Keyring;
  clock: Clock;
  target: SealedGeneration;
  blobOf: (sha256: string) => Uint8Array;
}): Promise<Rehearsal> {
  const { provider, keyring, clock, blobOf } = options;
  const foreign = await others(provider, keyring);
  if (foreign.length > 0) {
    throw new AntipodeError('SCRATCH_REFUSED', `the scratch partition holds ${foreign.length} objects, expected none`, {
      details: { objects: foreign.length },
    });
  }
  const target = destroyable(options.target);
  const replica: Replica = {
    provider,
    keyring,
    memory: new ReplicaMemory(),
    target,
    previous: [],
    // What a drill leaves behind is emptied whole, so that no part of it has to be remembered.
    journal: { openIntents: () => [], begin: () => {}, commit: () => {} },
    checkFence: () => {},
  };
  const startedMs = clock.monotonicMs();
  let restoredMs = startedMs;
  let provedMs = startedMs;
  try {
    await unseal({ ...replica, proved: undefined, blobOf });
    restoredMs = clock.monotonicMs();
    const { contentDigest, proof } = await readBack({ ...replica, objectIds: 'everything' });
    // A program finds a key by its names: nothing else must answer to them.
    const namesakes = await findNamesakes(replica);
    provedMs = clock.monotonicMs();
    const isClean = await emptyScratch({ provider, keyring });
    return {
      proof,
      isEqual: contentDigest === contentDigestOf(target.generation) && namesakes.length === 0,
      restoreMs: restoredMs - startedMs,
      proveMs: provedMs - restoredMs,
      cleanMs: clock.monotonicMs() - provedMs,
      isClean,
    };
  } catch (thrown) {
    await emptyScratch({ provider, keyring }).catch(() => false);
    throw thrown;
  }
}

/** Destroys everything in a scratch partition but its own keys. Tells whether it is empty then. */
export async function emptyScratch({
  provider,
  keyring,
}: {
  provider: HsmProvider;
  keyring: Keyring;
}): Promise<boolean> {
  const left = await others(provider, keyring);
  if (left.length === 0) return true;
  await destroyAll(provider, left, { checkFence: () => {} });
  return (await others(provider, keyring)).length === 0;
}

async function others(provider: HsmProvider, keyring: Keyring): Promise<Handle[]> {
  return (await provider.inventory()).map(({ handle }) => handle).filter((handle) => !keyring.ownHandles.has(handle));
}

/** A key that may not be destroyed would stay in the scratch partition for ever. */
function destroyable(target: SealedGeneration): SealedGeneration {
  const entries = target.generation.entries.map((entry) => {
    const { attributes } = entry;
    return attributes.destroyable === true ? entry : { ...entry, attributes: { ...attributes, destroyable: true } };
  });
  return { ...target, generation: { ...target.generation, entries } };
}
