/**
 * Reads a replica back and uses its objects. A generation counts as applied only after that.
 */
import { bytesEqual, fromHex } from '@antipode/runtime';
import { contentDigest, type Entry, entryDigest, isExact, isNative } from '../model/generation.ts';
import { type Handle, isWrapped, type ObjectId } from '../model/object.ts';
import { entryBytes, inBatches } from '../objects/batches.ts';
import { seenAs } from '../objects/doomed.ts';
import { examine, observedDigest, typesByBlob } from '../objects/recognise.ts';
import type { ProofItem, ProofOutcome } from '../provider/provider.ts';
import { recogniseReplica } from './recognition.ts';
import type { Replica, ReplicaMemory } from './replica.ts';

export interface ProofSummary {
  readonly proved: number;
  readonly failed: number;
  readonly failedObjectIds: readonly ObjectId[];
  /** Uses that no mechanism of this token could exercise. */
  readonly usesNotExercised: number;
  /** The objects, their uses that were not exercised, and the reason for each use in the same order. */
  readonly notExercised: readonly {
    readonly objectId: ObjectId;
    readonly uses: readonly string[];
    readonly reasons: readonly string[];
  }[];
}

interface Judged {
  readonly entry: Entry;
  readonly outcome: ProofOutcome | undefined;
}

/**
 * Reads objects back and uses them. The content digest covers every object of the generation: the requested ones as
 * read now, the others as they were last read.
 *
 * Objects that an apply has just made and used are not used twice. A request for everything trusts no memory, and uses
 * all of them. Nothing is changed, except half-made keys if the whole partition has to be read.
 */
export async function readBack(
  options: Replica & {
    readonly objectIds: readonly ObjectId[] | 'everything';
    /**
     * Objects that the apply could not restore here. The proof leaves them out, and the digest counts them as wanted.
     */
    readonly refused?: ReadonlySet<ObjectId>;
  },
): Promise<{ contentDigest: string; proof: ProofSummary }> {
  const { provider, clock, memory, target, objectIds, refused = new Set<ObjectId>() } = options;
  const domainKey = await recogniseReplica(options);
  const entries = target.generation.entries.filter(({ objectId }) => !refused.has(objectId));
  const asked = objectIds === 'everything' ? undefined : new Set(objectIds);
  const touched = entries.filter(
    ({ objectId }) => asked?.has(objectId) !== false || (memory.known.get(objectId)?.digest.length ?? 0) === 0,
  );
  const judged: Judged[] = [];
  const batches = [...inBatches(touched, entryBytes)];
  let ahead = readHeld(options, batches[0]);
  for (const [index, batch] of batches.entries()) {
    const { held, reading } = ahead;
    const observed = await reading;
    // The token reads the next batch while this side digests the last one.
    ahead = readHeld(options, batches[index + 1]);
    const present = held.flatMap(({ entry, handle }, place) =>
      observed[place] === undefined ? [] : [{ entry, handle, object: observed[place] }],
    );
    const examined = await examine(provider, {
      clock,
      domainKey,
      objects: present.map(({ object }) => object),
      byBlob: typesByBlob(batch),
    });
    const used = asked === undefined ? new Map<Handle, ProofOutcome>() : proofsOf(memory, batch);
    for (const entry of batch) memory.known.delete(entry.objectId);
    for (const [place, { entry, handle }] of present.entries()) {
      const one = examined[place]!;
      const digest = observedDigest(entry, one);
      memory.known.set(entry.objectId, {
        handle,
        digest,
        isOurs: bytesEqual(digest, entryDigest(entry)),
        seen: seenAs(one),
      });
    }
    const unused = present.filter(({ handle }) => !used.has(handle));
    const proofs = await provider.prove(
      domainKey,
      unused.map(({ entry, handle }) => proofItem(entry, handle)),
    );
    const byHandle = new Map([...used.values(), ...proofs].map((outcome) => [outcome.handle, outcome]));
    for (const entry of batch) {
      const handle = memory.known.get(entry.objectId)?.handle;
      judged.push({ entry, outcome: handle === undefined ? undefined : byHandle.get(handle) });
    }
  }
  const digests = new Map(
    target.generation.entries.map((entry) => {
      const seen = memory.known.get(entry.objectId)?.digest ?? new Uint8Array();
      return [entry.objectId, refused.has(entry.objectId) ? entryDigest(entry) : seen];
    }),
  );
  return { contentDigest: contentDigest(digests), proof: summarise(judged) };
}

function readHeld({ provider, memory }: Replica, batch: readonly Entry[] = []) {
  const held = batch.flatMap((entry) => {
    const handle = memory.known.get(entry.objectId)?.handle;
    return handle === undefined ? [] : [{ entry, handle }];
  });
  const reading =
    held.length === 0
      ? Promise.resolve([])
      : provider.read(
          held.map(({ handle }) => handle),
          held.map(({ entry }) => entry.publicHalf),
        );
  // The caller that awaits this gets the error. If an earlier batch has failed, nobody awaits it.
  reading.catch(() => undefined);
  return { held, reading };
}

/** Proofs that the last apply made of exactly these entries. */
function proofsOf({ known }: ReplicaMemory, entries: readonly Entry[]): Map<Handle, ProofOutcome> {
  const proofs = entries.flatMap((entry) => {
    const proof = known.get(entry.objectId)?.proof;
    return proof !== undefined && bytesEqual(proof.digest, entryDigest(entry)) ? [proof.outcome] : [];
  });
  return new Map(proofs.map((outcome) => [outcome.handle, outcome]));
}

export function summarise(judged: readonly Judged[]): ProofSummary {
  const failed = judged.filter(({ outcome }) => outcome?.proved !== true);
  const notExercised = judged.flatMap(({ entry: { objectId }, outcome }) => {
    const left = outcome?.checks.filter((check) => check.outcome === 'not-exercised') ?? [];
    return left.length === 0
      ? []
      : [{ objectId, uses: left.map(({ use }) => use), reasons: left.map(({ detail }) => detail) }];
  });
  return {
    proved: judged.length - failed.length,
    failed: failed.length,
    failedObjectIds: failed.map(({ entry }) => entry.objectId),
    usesNotExercised: notExercised.reduce((sum, { uses }) => sum + uses.length, 0),
    notExercised,
  };
}

export function proofItem(entry: Entry, handle: Handle): ProofItem {
  const { objectClass, keyType, sizeBits, attributes, publicHalf, blobSha256, valueTag, vectors } = entry;
  // A blob under a data key is another each time.
  const rewraps = isWrapped(objectClass) && !isExact(entry) && !isNative(entry);
  return {
    handle,
    objectClass,
    ...(keyType === undefined ? {} : { keyType }),
    sizeBits,
    attributes,
    ...(publicHalf === undefined ? {} : { publicHalf }),
    ...(blobSha256 === undefined || !rewraps ? {} : { blobSha256: fromHex(blobSha256) }),
    ...(valueTag === undefined ? {} : { valueTag }),
    ...(vectors === undefined ? {} : { vectors }),
    ...(isNative(entry) ? { isClone: true as const } : {}),
  };
}
