/**
 * I4, I13: a member that has acknowledged a generation holds all of it at that moment. Objects that its token has refused
 * are an exception, and on record.
 */
import type { Checker } from './checker.ts';

export const wholeGenerations = (): Checker => ({
  invariant: 'I4',
  name: 'whole-generations',
  look: (change, facts) => {
    if (change.kind !== 'acknowledgement' || facts.isEmptied(change.site)) return undefined;
    const held = facts.valuesAt(change.site);
    const isEnded = (value: string): boolean =>
      facts.keys.some((key) => key.value === value && key.endedAtMs !== undefined);
    const absent = change.values.filter((value) => !held.has(value) && !isEnded(value));
    if (absent.length === 0) return undefined;
    const refused = facts.refusedAt(change.site);
    const missing = absent.filter((value) => !refused.has(value));
    if (missing.length === 0) return undefined;
    return `site ${change.site} has acknowledged generation ${change.number} of epoch ${change.epoch} without ${missing.length} of its ${change.values.length} keys`;
  },
});
