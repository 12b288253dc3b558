/**
 * I1: a member becomes active only in an epoch that most voting sites have persisted. A site in quarantine may have
 * forgotten an earlier vote, so it counts only for what it persisted before, or after an operator has reseated it.
 */
import type { Checker } from './checker.ts';

export const majorityVoted = (): Checker => {
  /** The highest epoch that each site has persisted while its journal could be believed. */
  const voted = new Map<string, bigint>();
  return {
    invariant: 'I1',
    name: 'majority-voted',
    look: (change, facts) => {
      if (change.kind !== 'journal') return undefined;
      for (const { site, epoch } of facts.voters)
        if (epoch > (voted.get(site) ?? 0n) && !facts.isQuarantined(site)) voted.set(site, epoch);
      const active = facts.members.find(({ site }) => site === change.site);
      // The first epoch founds the group, and takes it from nobody.
      if (active?.role !== 'active' || active.epoch === 1n) return undefined;
      const votes = facts.voters.filter(({ site }) => (voted.get(site) ?? 0n) >= active.epoch).length;
      const needed = Math.floor(facts.voters.length / 2) + 1;
      return votes >= needed
        ? undefined
        : `site ${active.site} is active in epoch ${active.epoch}, which ${votes} of ${facts.voters.length} voting sites have persisted, expected at least ${needed}`;
    },
  };
};
