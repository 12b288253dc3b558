/**
 * Whether an object is what a signed manifest says of it, in every attribute. A clone has to be, unlike an object that
 * was rebuilt: its device makes the attributes, and not a template of ours.
 */
import { bytesEqual } from '@antipode/runtime';
import {
  ASSUMED,
  ATTRIBUTES,
  type AttributeName,
  type AttributeValue,
  attributesOf,
  encodeAttribute,
} from '../model/attributes.ts';
import type { ObservedObject } from '../model/object.ts';
import type { NativeObject } from '../provider/native-cloner.ts';

/** Something that differs: an attribute by its name in the model, or what an object is. Never a value. */
export type CloneDifference = AttributeName | 'class' | 'key-type' | 'size' | 'public-half' | 'unreadable';

/**
 * Everything in which they differ. Absent, empty and assumed values are the same. A public half that the token does not
 * show is not compared: the proof by use compares it.
 */
export function differencesOf(item: NativeObject, seen: ObservedObject): CloneDifference[] {
  if (seen.objectClass !== item.objectClass) return ['class'];
  if (seen.keyType !== item.keyType) return ['key-type'];
  const differences: CloneDifference[] = [];
  if (seen.isPartlyRead || seen.hasTemplate || seen.isBeyondModel) differences.push('unreadable');
  if (item.sizeBits !== 0 && seen.sizeBits !== item.sizeBits) differences.push('size');
  const isOtherHalf = item.publicHalf !== undefined && seen.publicHalf !== undefined;
  if (isOtherHalf && !bytesEqual(item.publicHalf, seen.publicHalf)) differences.push('public-half');
  for (const name of attributesOf(item.objectClass))
    if (!isSame(name, item.attributes, seen.attributes)) differences.push(name);
  return differences;
}

/** Attributes that only a clone keeps. */
const HISTORY: readonly AttributeName[] = ['local', 'alwaysSensitive', 'neverExtractable', 'keyGenMechanism'];

/** The history in which they differ. */
export const historyDifferences = (item: NativeObject, seen: ObservedObject): AttributeName[] =>
  HISTORY.filter((name) => !isSame(name, item.attributes, seen.attributes));

/** Whether two entries say the same of an object, in every attribute. */
export const hasSameAttributes = (one: NativeObject, other: NativeObject): boolean =>
  attributesOf(one.objectClass).every((name) => isSame(name, one.attributes, other.attributes));

const NOTHING = new Uint8Array();

function isSame(name: AttributeName, one: NativeObject['attributes'], other: NativeObject['attributes']): boolean {
  const [left, right] = [one[name] ?? ASSUMED[name], other[name] ?? ASSUMED[name]];
  if (left === right) return true;
  // Most attributes are flags. Those need no bytes, of which a large partition would make millions.
  if (ATTRIBUTES[name].kind === 'boolean' && left !== undefined && right !== undefined) return false;
  return bytesEqual(bytesOf(name, left), bytesOf(name, right));
}

const bytesOf = (name: AttributeName, value: AttributeValue | undefined): Uint8Array =>
  value === undefined ? NOTHING : encodeAttribute(name, value);
