/** I1: an agent whose journal may be an older copy does nothing in the group until an operator has reseated it. */
import type { Checker } from './checker.ts';

/** A call to a slow HSM that has begun before ends. */
const BEGUN_MS_MAX = 5_000;

export const quarantineKept = (): Checker => {
  const since = new Map<string, number>();
  return {
    invariant: 'I1',
    name: 'quarantine-kept',
    look: (change, facts) => {
      if (change.kind === 'journal') {
        if (!facts.isQuarantined(change.site)) since.delete(change.site);
        else if (!since.has(change.site)) since.set(change.site, facts.nowMs);
        return undefined;
      }
      const sinceMs = change.kind === 'token' ? since.get(change.site) : undefined;
      if (change.kind !== 'token' || sinceMs === undefined || facts.nowMs - sinceMs < BEGUN_MS_MAX) return undefined;
      return `the token of site ${change.site} was changed, although the site has been in quarantine for ${Math.round(facts.nowMs - sinceMs)} ms`;
    },
  };
};
