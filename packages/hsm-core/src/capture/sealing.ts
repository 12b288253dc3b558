/** The fourth step of a capture: has the token wrap keys and encrypt data objects, and makes their entries. */
import { Pace, sha256Hex } from '@antipode/runtime';
import { type DataKey, type Entry, isNative } from '../model/generation.ts';
import type { Handle, ObservedObject } from '../model/object.ts';
import { sortedVectors, type Vector } from '../model/vector.ts';
import { inBatches } from '../objects/batches.ts';
import type { WrapOutcome } from '../provider/provider.ts';
import { proofItem } from '../replica/read-back.ts';
import { type CaptureContext, isLive } from './capture-context.ts';
import { type CapturedObject, type Classification, handleOf, isLost, mayClone } from './classification.ts';
import { type SealableData, sealData } from './data-sealing.ts';
import { newEntryOf, newObjectId } from './entry.ts';
import { type SealedValues, sealExactly } from './exact-sealing.ts';
import type { Candidate } from './match.ts';
import { sealNatively } from './native-sealing.ts';
import { lengthReasonOf, type UncapturedObject } from './uncaptured.ts';

export interface Sealing {
  readonly captured: readonly CapturedObject[];
  readonly uncaptured: readonly UncapturedObject[];
  /** Captured objects that both looks of a reseal saw, and that the token could not wrap. They may be gone by now. */
  readonly doubtful: readonly DoubtfulObject[];
  readonly dataKeys: readonly DataKey[];
  /** New blobs by SHA-256, hexadecimal. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  /** How many objects were wrapped or encrypted for this generation. */
  readonly sealedObjects: number;
}

export interface DoubtfulObject {
  readonly object: ObservedObject;
  readonly before: Entry;
}

interface WrappedObject {
  readonly object: ObservedObject;
  readonly entry: Entry;
  readonly blob: Uint8Array;
}

/** `wraps` are those that the scan had the token make. */
export async function sealObjects(
  context: CaptureContext,
  {
    toWrap,
    toSealExactly,
    toEncrypt,
    toClone,
  }: Pick<Classification, 'toWrap' | 'toSealExactly' | 'toEncrypt' | 'toClone'>,
  wraps: ReadonlyMap<Handle, WrapOutcome>,
): Promise<Sealing> {
  const { wrapped, refused, unwrappable, doubtful } = await wrapAll(context, { candidates: toWrap, wraps });
  const clones = await cloneAll(context, [...toClone, ...unwrappable]);
  const broken = await findBroken(context, [...wrapped, ...clones.captured]);
  const isBroken = ({ object }: { object: ObservedObject }): boolean => broken.has(object.handle);
  const sound = wrapped.filter((one) => !isBroken(one));
  const cloned = clones.captured.filter((one) => !isBroken(one));
  const exact = await sealSecrets(context, toSealExactly);
  const encryption = await encryptAll(context, toEncrypt);
  return {
    captured: [
      ...sound.map(({ object, entry }) => ({ object, entry })),
      ...cloned,
      ...clones.kept,
      ...[exact, encryption].flatMap(({ captured, kept }) => [...captured, ...kept]),
    ],
    uncaptured: [
      ...refused,
      ...clones.refused,
      ...exact.refused,
      ...encryption.refused,
      ...[...wrapped, ...clones.captured]
        .filter(isBroken)
        .map(({ object }): UncapturedObject => ({ object, reason: 'does-not-work', objectId: undefined })),
    ],
    doubtful: [...doubtful, ...clones.doubtful, ...exact.doubtful, ...encryption.doubtful],
    dataKeys: [...clones.dataKeys, ...exact.dataKeys, ...encryption.dataKeys],
    blobs: new Map([
      ...sound.map(({ entry, blob }) => [entry.blobSha256!, blob] as const),
      ...clones.blobs,
      ...exact.blobs,
      ...encryption.blobs,
    ]),
    sealedObjects: sound.length + cloned.length + exact.captured.length + encryption.captured.length,
  };
}

/** Whether a generation has had it before, alive or deleted, or a merge has brought it. */
const isKnown = ({ live, buried, options }: CaptureContext, { objectId }: Entry): boolean =>
  live.has(objectId) || [...buried.keys(), ...(options.adopted ?? [])].some((entry) => entry.objectId === objectId);

async function wrapAll(
  context: CaptureContext,
  { candidates, wraps }: { candidates: readonly Candidate[]; wraps: ReadonlyMap<Handle, WrapOutcome> },
): Promise<{
  wrapped: WrappedObject[];
  refused: UncapturedObject[];
  /** Refused by the token, and clonable by its device. */
  unwrappable: Candidate[];
  doubtful: DoubtfulObject[];
}> {
  const { options, domainKey, isReseal } = context;
  const handles = candidates.map(handleOf).filter((handle) => !wraps.has(handle));
  const made = handles.length === 0 ? [] : await options.provider.wrap(domainKey().handle, handles);
  const madeNow = new Map(made.map((outcome) => [outcome.handle, outcome]));
  const wrapped: WrappedObject[] = [];
  const refused: UncapturedObject[] = [];
  const unwrappable: Candidate[] = [];
  const doubtful: DoubtfulObject[] = [];
  const pace = new Pace(options.clock);
  for (const candidate of candidates) {
    if (pace.isDue()) await pace.makeWay();
    const { before } = candidate;
    const { object } = candidate.examined;
    const outcome = madeNow.get(object.handle) ?? wraps.get(object.handle)!;
    if ('blob' in outcome) {
      const { blob } = outcome;
      const sealed = { blobSha256: sha256Hex(blob), blobSize: blob.length };
      wrapped.push({ object, entry: newEntryOf(context, { candidate, sealed }), blob });
    } else if (mayClone(context, candidate, outcome.reason)) unwrappable.push(candidate);
    else if (isReseal && outcome.reason === 'unreadable' && before !== undefined) doubtful.push({ object, before });
    else refused.push({ object, reason: outcome.reason, objectId: before?.objectId });
  }
  return { wrapped, refused, unwrappable, doubtful };
}

/**
 * New private keys that do not work where they were made, and clones that do not show their value again. No standby
 * could prove them, and they must not hold up the generation of all others (I15). The scrub judges keys that were
 * captured before.
 */
async function findBroken(context: CaptureContext, sealed: readonly CapturedObject[]): Promise<Set<Handle>> {
  const { options, domainKey } = context;
  const broken = new Set<Handle>();
  const isNew = sealed.filter(
    ({ entry }) => !isKnown(context, entry) && (isNative(entry) || entry.objectClass === 'private-key'),
  );
  for (const batch of inBatches(isNew)) {
    const items = batch.map(({ object, entry }) => proofItem(entry, object.handle));
    for (const { handle, proved } of await options.provider.prove(domainKey().handle, items))
      if (!proved) broken.add(handle);
  }
  return broken;
}

/** Objects sealed under data keys. */
type UnderDataKeys = Pick<Sealing, 'captured' | 'doubtful' | 'dataKeys' | 'blobs'> & {
  readonly refused: readonly UncapturedObject[];
  /** Objects that the token did not give. They keep the entry that they have. */
  readonly kept: readonly CapturedObject[];
};

const sealSecrets = (context: CaptureContext, candidates: readonly Candidate[]): Promise<UnderDataKeys> =>
  sealUnderDataKeys(context, candidates, (ports, named) => sealExactly(ports, named));

async function cloneAll(context: CaptureContext, candidates: readonly Candidate[]): Promise<UnderDataKeys> {
  const { cloning } = context;
  const vectors = await vectorsOf(context, candidates);
  return sealUnderDataKeys(context, cloning === undefined ? [] : candidates, (ports, named) =>
    sealNatively(
      { ...ports, cloning: cloning! },
      named.map(({ handle, objectId }) => ({ handle, objectId, vectors: vectors.get(handle) })),
    ),
  );
}

/** Vectors under the domain key of this capture. A reseal has recognised the objects under the one before. */
async function vectorsOf(
  { options, domainKey, isReseal }: CaptureContext,
  candidates: readonly Candidate[],
): Promise<Map<Handle, readonly Vector[] | undefined>> {
  const secrets = candidates.filter(({ examined }) => examined.object.objectClass === 'secret-key');
  const handles = secrets.map(handleOf);
  if (!isReseal) return new Map(secrets.map(({ examined }) => [examined.object.handle, examined.vectors]));
  const made = handles.length === 0 ? [] : await options.provider.makeVectors(domainKey().handle, handles);
  return new Map(handles.map((handle, index) => [handle, sortedVectors(made[index] ?? [])]));
}

const encryptAll = (context: CaptureContext, candidates: readonly Candidate[]): Promise<UnderDataKeys> =>
  sealUnderDataKeys(context, candidates, sealData);

/** 0 if the token does not tell. */
const bytesOf = ({ objectClass, valueBytes = 0, sizeBits }: ObservedObject): number =>
  objectClass === 'data' ? valueBytes : sizeBits / 8;

async function sealUnderDataKeys(
  context: CaptureContext,
  candidates: readonly Candidate[],
  seal: (
    ports: Parameters<typeof sealData>[0],
    objects: readonly (SealableData & { readonly candidate: Candidate })[],
  ) => Promise<SealedValues>,
): Promise<UnderDataKeys> {
  const { options, domainKey, isReseal } = context;
  if (candidates.length === 0)
    return { captured: [], kept: [], refused: [], doubtful: [], dataKeys: [], blobs: new Map() };
  const named = candidates.map((candidate) => ({
    candidate,
    handle: handleOf(candidate),
    objectId: candidate.before?.objectId ?? newObjectId(context),
    bytes: bytesOf(candidate.examined.object),
  }));
  const outcome = await seal({ ...options, domainKey: domainKey().handle }, named);
  const captured: CapturedObject[] = [];
  const kept: CapturedObject[] = [];
  const refused: UncapturedObject[] = [];
  const doubtful: DoubtfulObject[] = [];
  for (const { candidate, handle, objectId } of named) {
    const { before, examined } = candidate;
    const { object } = examined;
    const sealed = outcome.sealed.get(handle);
    const why = outcome.refused.get(handle) ?? 'unreadable';
    if (sealed !== undefined) captured.push({ object, entry: newEntryOf(context, { candidate, sealed, objectId }) });
    else if (isReseal && why === 'unreadable' && before !== undefined) doubtful.push({ object, before });
    else {
      // A value that is sealed under the domain key of this generation stays in it, even if it has another one by now.
      if (!isReseal && before !== undefined && isLive(context, before) && !isLost(context, before))
        kept.push({ object, entry: before });
      // A token that does not carry the secret leaves the reason why wrapping cannot.
      const reason = why === 'not-wrappable' ? (lengthReasonOf(object, { isNew: true }) ?? why) : why;
      refused.push({ object, reason, objectId: before?.objectId });
    }
  }
  return { captured, kept, refused, doubtful, dataKeys: outcome.dataKeys, blobs: outcome.blobs };
}
