/**
 * I11: no agent takes a key away from a token, unless an application has deleted or replaced it. This holds for
 * divergent keys too, which only one site has. One whose name another key needs is sealed before it goes.
 */
import type { Checker } from './checker.ts';

export const nothingDropped = (): Checker & { forget(site: string): void } => {
  const held = new Map<string, ReadonlySet<string>>();
  return {
    invariant: 'I11',
    name: 'nothing-dropped',
    forget: (site) => void held.delete(site),
    look: (change, facts) => {
      if (change.kind !== 'token') return undefined;
      const now = facts.valuesAt(change.site);
      const before = held.get(change.site) ?? new Set<string>();
      held.set(change.site, new Set(now.keys()));
      const gone = facts.keys.filter(
        ({ value, endedAtMs }) => endedAtMs === undefined && before.has(value) && !now.has(value),
      );
      if (gone.length === 0) return undefined;
      const aside = facts.asideAt(change.site);
      const dropped = gone.filter(({ value }) => !aside.has(value));
      return dropped.length === 0
        ? undefined
        : `the agent of site ${change.site} took away ${dropped.map(({ label }) => label).join(', ')}`;
    },
  };
};
