/**
 * Makes the manifest entry of an object from what the token shows now and from its captured entry. Attributes that a
 * token cannot read back are carried forward. So a promoted standby captures as truthfully as the first source did.
 */
import { hex } from '@antipode/runtime';
import { ATTRIBUTES, type Attributes, attributesOf, decides, setAttribute } from '../model/attributes.ts';
import { comparableAttributes, type Entry } from '../model/generation.ts';
import { OBJECT_ID_BYTES, type ObjectClass, type ObjectId, type ObservedObject } from '../model/object.ts';
import type { CaptureContext } from './capture-context.ts';
import type { Candidate } from './match.ts';

/** Where the value of an object is sealed. Empty if the value is in the manifest itself. */
export type Sealed = Partial<
  Pick<Entry, 'blobSha256' | 'blobSize' | 'dataKeyId' | 'valueTag' | 'cloningDomain' | 'vectors' | 'byDevice'>
>;

export function entryOf(options: {
  object: ObservedObject;
  objectId: ObjectId;
  before: Entry | undefined;
  sealed: Sealed;
}): Entry {
  const { object, objectId, before, sealed } = options;
  const { keyType } = object;
  const publicHalf = before?.publicHalf ?? object.publicHalf;
  // If the token does not report the length of a secret, its blob does. RFC 5649 rounds up to 8 bytes, as AES keys are.
  const isClone = sealed.cloningDomain !== undefined;
  const bySeal = keyType === 'aes' && sealed.blobSize && !isClone ? (sealed.blobSize - 8) * 8 : 0;
  const sizeBits = before?.sizeBits || object.sizeBits || bySeal;
  return {
    objectId,
    objectClass: object.objectClass as ObjectClass,
    ...(keyType === undefined || keyType === 'unsupported' ? {} : { keyType }),
    sizeBits,
    // A clone keeps its history, so the token that has it shows it.
    attributes: isClone ? object.attributes : carriedForward(object, before),
    ...(publicHalf === undefined ? {} : { publicHalf }),
    blobSize: 0,
    ...sealed,
  };
}

/**
 * Whether an attribute that counts differs from the entry. A replica that became sensitive is narrowed, not changed.
 */
export function differs(object: ObservedObject, before: Entry): boolean {
  const objectClass = before.objectClass;
  const seen = comparableAttributes({ objectClass, attributes: object.attributes });
  const known = comparableAttributes(before);
  for (const name of new Set([...seen.keys(), ...known.keys()])) {
    if (!decides(name, before.keyType)) continue;
    const [now, then] = [seen.get(name), known.get(name)];
    if (now === undefined || then === undefined || Buffer.compare(now, then) !== 0) return true;
  }
  return DATES.some(
    (name) => object.attributes[name] !== undefined && object.attributes[name] !== before.attributes[name],
  );
}

const DATES = ['startDate', 'endDate'] as const;

/** Portable attributes as read now, and the other ones as the first source gave them. */
function carriedForward(object: ObservedObject, before: Entry | undefined): Attributes {
  if (before === undefined) return object.attributes;
  const attributes: Attributes = { ...object.attributes };
  for (const name of attributesOf(before.objectClass)) {
    const value = before.attributes[name];
    const isCarried = ATTRIBUTES[name].fate === 'carried' || !decides(name, before.keyType);
    if (value === undefined || !isCarried) continue;
    const isReadableDate = (DATES as readonly string[]).includes(name) && object.attributes[name] !== undefined;
    if (!isReadableDate) setAttribute(attributes, name, value);
  }
  if (before.attributes.sensitive === false) attributes.sensitive = false;
  return attributes;
}

/**
 * The entry of an object that a capture seals. An object that was not read twice alike keeps its captured attributes.
 */
export function newEntryOf(
  context: CaptureContext,
  {
    candidate: { examined, before, readTwice },
    sealed,
    objectId = before?.objectId ?? newObjectId(context),
  }: { candidate: Candidate; sealed: Sealed; objectId?: ObjectId },
): Entry {
  if (before !== undefined && !readTwice) return { ...unsealed(before), ...sealed };
  return entryOf({ object: examined.object, objectId, before, sealed });
}

/** The entry without its sealed form. */
function unsealed(entry: Entry): Entry {
  const {
    blobSha256: _blob,
    dataKeyId: _key,
    valueTag: _tag,
    cloningDomain: _domain,
    vectors: _shown,
    byDevice: _how,
    clone: _clone,
    ...rest
  } = entry;
  return rest;
}

export const newObjectId = ({ options }: CaptureContext): ObjectId => hex(options.prng.bytes(OBJECT_ID_BYTES));
