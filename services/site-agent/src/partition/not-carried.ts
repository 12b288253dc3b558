/**
 * Attributes that objects of this site have and no replica gets. Captures find them object by object, and the journal
 * and the heartbeats have their names.
 */
import { isWeighty, kindOf } from '@antipode/hsm-core';
import type { NotCarriedHere } from '../storage/journal/findings.ts';

interface Read {
  readonly before: readonly NotCarriedHere[];
  /**
   * Attributes that no replica gets, by the id of each object that the capture has read. Empty if the object has no
   * such attribute any more.
   */
  readonly read: ReadonlyMap<string, readonly string[]>;
  readonly entries: readonly { readonly objectId: string; readonly objectClass: string; readonly keyType?: string }[];
}

/** The list after a capture; undefined if the capture did not change it. */
export function afterCapture({ before, read, entries }: Read): NotCarriedHere[] | undefined {
  const known = new Map(before.map(({ objectId, attributes }) => [objectId, attributes]));
  for (const [objectId, attributes] of read) {
    if (attributes.length > 0) known.set(objectId, attributes);
    else known.delete(objectId);
  }
  if (known.size === 0) return before.length === 0 ? undefined : [];
  const after: NotCarriedHere[] = [];
  for (const entry of entries) {
    const attributes = known.get(entry.objectId);
    if (attributes !== undefined) after.push({ objectId: entry.objectId, kind: kindOf(entry as never), attributes });
  }
  after.sort((a, b) => (a.objectId < b.objectId ? -1 : 1));
  return JSON.stringify(after) === JSON.stringify(before) ? undefined : after;
}

/** `CKA_TRUSTED 2, ...`: how many objects have each. */
export function countedByName(objects: readonly Pick<NotCarriedHere, 'attributes'>[]): string {
  const counts = new Map<string, number>();
  for (const { attributes } of objects) for (const name of attributes) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => `${name} ${count}`).join(', ');
}

/** For heartbeats: those come first whose loss takes a protection away. */
export function weightiestFirst(objects: readonly NotCarriedHere[]): { first: NotCarriedHere[]; weighty: number } {
  const [weighty, others] = [objects.filter(isWeightyObject), objects.filter((one) => !isWeightyObject(one))];
  return { first: [...weighty, ...others], weighty: weighty.length };
}

const isWeightyObject = ({ attributes }: NotCarriedHere): boolean => attributes.some(isWeighty);
