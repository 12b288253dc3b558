/**
 * The last step of a capture's sealing: gives keys that are sealed the clone of their device as a second form (ADR 0055,
 * `prefer-native`). A key without one is as well protected. Nothing here refuses a key.
 */
import type { Prng } from '@antipode/runtime';
import { type CloneForm, type DataKey, type Entry, hasClone, isNative, withoutClone } from '../model/generation.ts';
import { type Handle, isWrapped, type ObjectId } from '../model/object.ts';
import { differencesOf, hasSameAttributes } from '../objects/clone-comparison.ts';
import type { HsmProvider } from '../provider/provider.ts';
import { type CaptureContext, isLive } from './capture-context.ts';
import { type CapturedObject, isLost } from './classification.ts';
import type { Candidate } from './match.ts';
import { type CloningDomain, sealNatively } from './native-sealing.ts';

export interface SecondForms {
  /** By object id. */
  readonly clones: ReadonlyMap<ObjectId, CloneForm>;
  readonly dataKeys: readonly DataKey[];
  /** By SHA-256, hexadecimal. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

const NONE: SecondForms = { clones: new Map(), dataKeys: [], blobs: new Map() };

/**
 * Whether the clone of this object is what its entry says, in every attribute. An object that was rebuilt from its sealed
 * form has lost its history: a clone of it would keep nothing.
 */
export const isWorthCloning = ({ object, entry }: CapturedObject): boolean =>
  isWrapped(entry.objectClass) && !isNative(entry) && differencesOf(entry, object).length === 0;

/**
 * Takes the clones of these objects, encrypted under one data key. One that the device does not give is left out. Devices
 * that copy keys among themselves give no blobs, so their keys have one form.
 */
export async function takeSecondForms(
  ports: {
    readonly provider: HsmProvider;
    readonly prng: Prng;
    readonly group: string;
    readonly domainKey: Handle;
    readonly cloning: CloningDomain | undefined;
  },
  objects: readonly CapturedObject[],
): Promise<SecondForms> {
  const { cloning } = ports;
  if (cloning === undefined || cloning.isByDevice || objects.length === 0) return NONE;
  const keys = objects.map(({ object: { handle }, entry: { objectId } }) => ({ handle, objectId, vectors: undefined }));
  const { sealed, dataKeys, blobs } = await sealNatively({ ...ports, cloning }, keys);
  const clones = new Map<ObjectId, CloneForm>();
  for (const { handle, objectId } of keys) {
    const { cloningDomain, blobSha256, blobSize, dataKeyId } = sealed.get(handle) ?? {};
    if (cloningDomain === undefined || blobSha256 === undefined || blobSize === undefined || dataKeyId === undefined)
      continue;
    clones.set(objectId, { cloningDomain, blobSha256, blobSize, dataKeyId });
  }
  return { clones, dataKeys, blobs };
}

/** The same objects, each entry with the second form that it is to have. */
export async function addSecondForms(
  context: CaptureContext,
  { captured, candidates }: { captured: readonly CapturedObject[]; candidates: readonly Candidate[] },
): Promise<{ captured: readonly CapturedObject[] } & Omit<SecondForms, 'clones'>> {
  const { options, cloning, prefersNative, domainKey } = context;
  if (!prefersNative) {
    const sealed = captured.map((one) => (hasClone(one.entry) ? { ...one, entry: withoutClone(one.entry) } : one));
    return { ...NONE, captured: sealed };
  }
  const own = cloning?.isByDevice ? undefined : cloning?.domain;
  const candidateOf = new Map(candidates.map((candidate) => [candidate.examined.object.handle, candidate]));
  const kept = new Map<ObjectId, CloneForm>();
  const toTake: CapturedObject[] = [];
  for (const one of captured) {
    const { before, readTwice = false } = candidateOf.get(one.object.handle) ?? {};
    const clone = before === undefined ? undefined : servingClone(context, { before, entry: one.entry });
    if (clone !== undefined) kept.set(one.entry.objectId, clone);
    if (own !== undefined && clone?.cloningDomain !== own && readTwice && isWorthCloning(one)) toTake.push(one);
  }
  const ports = { ...options, cloning };
  const { clones, dataKeys, blobs } =
    toTake.length === 0 ? NONE : await takeSecondForms({ ...ports, domainKey: domainKey().handle }, toTake);
  return {
    captured: captured.map((one) => withForm(one, clones.get(one.entry.objectId) ?? kept.get(one.entry.objectId))),
    dataKeys,
    blobs,
  };
}

/** The clone of the former entry, if it is still a clone of this one, and every blob of it is there. */
function servingClone(
  context: CaptureContext,
  { before, entry }: { before: Entry; entry: Entry },
): CloneForm | undefined {
  const { clone } = before;
  if (clone === undefined || context.isReseal || !isLive(context, before)) return undefined;
  if (isNative(entry) || isLost(context, clone)) return undefined;
  if (entry !== before && !hasSameAttributes(entry, before)) return undefined;
  return clone;
}

/** An unchanged entry stays the very same one. */
function withForm(one: CapturedObject, clone: CloneForm | undefined): CapturedObject {
  const { entry } = one;
  if (clone === undefined) return hasClone(entry) ? { ...one, entry: withoutClone(entry) } : one;
  if (entry.clone?.blobSha256 === clone.blobSha256) return one;
  return { ...one, entry: { ...entry, clone } };
}

/** Entries of objects that are not here now. A lost clone leaves them, since no member could be whole with it. */
export const withoutLostClones = (context: CaptureContext, entries: readonly Entry[]): readonly Entry[] =>
  entries.map((entry) => (hasClone(entry) && isLost(context, entry.clone!) ? withoutClone(entry) : entry));
