/**
 * I12: where the agents guard their group, a member that becomes active without a key that was promised has used an
 * approval for that epoch.
 */
import type { Checker } from './checker.ts';

export const approved = (): Checker => {
  const seen = new Map<string, bigint>();
  return {
    invariant: 'I12',
    name: 'approved',
    look: (change, facts) => {
      if (change.kind !== 'journal' || !facts.isGuarded) return undefined;
      const member = facts.members.find(({ site }) => site === change.site);
      if (member?.role !== 'active' || seen.get(member.site) === member.epoch) return undefined;
      seen.set(member.site, member.epoch);
      const held = facts.valuesAt(member.site);
      const lost = facts.keys.filter(
        ({ value, isPromised, endedAtMs }) => isPromised && endedAtMs === undefined && !held.has(value),
      );
      if (lost.length === 0 || facts.approvalsUsedAt(member.site) > 0) return undefined;
      return `site ${member.site} became active in epoch ${member.epoch} without ${lost.map(({ label }) => label).join(', ')}, and nobody has approved that`;
    },
  };
};
