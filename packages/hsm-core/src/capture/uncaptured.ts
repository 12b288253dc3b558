/** Objects that a capture does not take: the reason for each, and the name by which the manifest reports it. */
import { hex } from '@antipode/runtime';
import { attributesOf, encodeAttribute } from '../model/attributes.ts';
import type { Uncaptured } from '../model/generation.ts';
import {
  isWrapped,
  OBJECT_ID_BYTES,
  type ObjectId,
  type ObservedObject,
  type UncapturedReason,
  VALUE_BYTES_MAX,
} from '../model/object.ts';
import { bytesIn, inBatches } from '../objects/batches.ts';
import { isOfUnknownLength, isPadded, mayBeExact } from '../objects/recognise.ts';

/**
 * The most that all objects whose value is in the manifest may take in one generation: a quarter of the largest manifest
 * that a member accepts.
 */
export const SHOWN_BYTES_MAX = 64 * 1024 * 1024;

/** About how many bytes an object takes in the manifest if it is not sealed. */
export const shownBytes = (object: Pick<ObservedObject, 'objectClass' | 'attributes' | 'publicHalf'>): number =>
  isWrapped(object.objectClass) || object.objectClass === 'data' ? 0 : 128 + bytesIn(object);

export interface UncapturedObject {
  readonly object: ObservedObject;
  readonly reason: UncapturedReason;
  /** Present if the object was captured before. */
  readonly objectId: ObjectId | undefined;
}

/**
 * The reason why an object cannot be sealed, by what is read of it. An unknown length counts only at the first capture,
 * since a token may forget it. `hasTrusted`: a trusted key is available. `hasTag`: the token tags the secret, so that it
 * can be sealed exactly.
 */
export function reasonOf(
  object: ObservedObject,
  { isNew, hasTrusted, hasTag = false }: { isNew: boolean; hasTrusted: boolean; hasTag?: boolean },
): UncapturedReason | undefined {
  const { objectClass, keyType, attributes } = object;
  if (object.isPartlyRead) return 'unreadable';
  if (objectClass === 'other') return 'unsupported-type';
  if (objectClass === 'public-key' && keyType !== 'unsupported' && object.publicHalf === undefined)
    return 'unsupported-type';
  if ((object.valueBytes ?? 0) > VALUE_BYTES_MAX || bytesIn(object) > VALUE_BYTES_MAX) return 'too-large';
  if (objectClass === 'certificate' && attributes.value === undefined) return 'unreadable';
  if (keyType === 'unsupported') return attributes.extractable === false ? 'unextractable' : 'unsupported-type';
  if (object.hasTemplate || object.isBeyondModel) return 'unsupported-attribute';
  if (!isWrapped(objectClass)) return undefined;
  if (attributes.extractable !== true) return 'unextractable';
  if (attributes.wrapWithTrusted === true && !hasTrusted) return 'wrap-with-trusted';
  return hasTag ? undefined : lengthReasonOf(object, { isNew });
}

/** Why wrapping would change the secret, or may change it. */
export function lengthReasonOf(object: ObservedObject, { isNew }: { isNew: boolean }): UncapturedReason | undefined {
  if (isPadded(object)) return 'length-not-multiple-of-8';
  return isOfUnknownLength(object) && isNew ? 'length-unknown' : undefined;
}

/**
 * Whether the token may give the object to the next capture although nothing in the partition changes until then: it
 * failed, or it did not carry secrets exactly just now.
 */
export const mayPass = ({ object, reason }: Pick<UncapturedObject, 'object' | 'reason'>): boolean =>
  reason === 'unreadable' || reason === 'does-not-work' || (reason.startsWith('length-') && mayBeExact(object));

/**
 * Names an object that was never captured by a keyed tag of what can be read of it. The name is stable and tells
 * nothing.
 */
export async function nameUncaptured(
  uncaptured: readonly UncapturedObject[],
  tag: (values: readonly Uint8Array[]) => Promise<readonly Uint8Array[]>,
): Promise<Uncaptured[]> {
  const seen = new Map<string, number>();
  const unnamed = uncaptured.filter(({ objectId }) => objectId === undefined);
  const values = unnamed.map(({ object }) => {
    const value = readableOf(object);
    const copies = seen.get(hex(value)) ?? 0;
    seen.set(hex(value), copies + 1);
    const copy = Buffer.alloc(4);
    copy.writeUInt32BE(copies);
    return Buffer.concat([value, copy]);
  });
  const tags: Uint8Array[] = [];
  for (const batch of inBatches(values, bytesIn)) tags.push(...(await tag(batch)));
  const names = new Map(unnamed.map(({ object }, index) => [object, hex(tags[index]!.subarray(0, OBJECT_ID_BYTES))]));
  return uncaptured.map(({ object, reason, objectId = names.get(object)! }) => {
    const { objectClass, keyType } = object;
    return { objectId, objectClass, ...(keyType === undefined ? {} : { keyType }), ...outsideOf(object), reason };
  });
}

/** The numbers alone: labels never leave the site. */
function outsideOf({ outside }: ObservedObject): Pick<Uncaptured, 'outside'> {
  if (outside === undefined) return {};
  const { objectClass, keyType } = outside;
  return {
    outside: { ...(objectClass === undefined ? {} : { objectClass }), ...(keyType === undefined ? {} : { keyType }) },
  };
}

function readableOf({ objectClass, keyType, attributes, publicHalf }: ObservedObject): Buffer {
  const readable = [...(objectClass === 'other' ? [] : attributesOf(objectClass))].flatMap((name) =>
    attributes[name] === undefined ? [] : [Buffer.from(name), encodeAttribute(name, attributes[name])],
  );
  return Buffer.concat([
    Buffer.from(`${objectClass}:${keyType ?? ''}:`),
    publicHalf ?? new Uint8Array(),
    Buffer.concat(readable),
  ]);
}
