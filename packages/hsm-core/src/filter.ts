/** What a group keeps at its site: objects that never leave, by class, CKA_ID or CKA_LABEL. */
import { hex } from '@antipode/runtime';
import type { ObservedObject } from './model/object.ts';

/** Objects that never leave: excluded when any rule matches. */
export interface ObjectFilter {
  /** CKA_ID, hexadecimal. */
  readonly excludeIds: readonly string[];
  /** CKA_LABEL, shell pattern with `*` and `?`. */
  readonly excludeLabels: readonly string[];
  readonly excludeClasses: readonly string[];
}

export function isExcluded(
  { objectClass, attributes }: ObservedObject,
  { excludeIds, excludeLabels, excludeClasses }: ObjectFilter,
): boolean {
  const id = attributes.id === undefined ? undefined : hex(attributes.id);
  const label = attributes.label === undefined ? undefined : Buffer.from(attributes.label).toString('utf8');
  return (
    excludeClasses.includes(objectClass) ||
    (id !== undefined && excludeIds.some((excluded) => excluded.toLowerCase() === id)) ||
    (label !== undefined && excludeLabels.some((pattern) => matchesPattern(label, pattern)))
  );
}

/** Shell pattern with `*` and `?`, matched in linear time: the pattern is an operator's, the label anybody's. */
export function matchesPattern(text: string, pattern: string): boolean {
  let [at, star, mark, index] = [0, -1, 0, 0];
  while (index < text.length) {
    if (at < pattern.length && (pattern[at] === '?' || pattern[at] === text[index]) && pattern[at] !== '*') {
      at += 1;
      index += 1;
    } else if (pattern[at] === '*') {
      star = at;
      mark = index;
      at += 1;
    } else if (star !== -1) {
      at = star + 1;
      mark += 1;
      index = mark;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}
