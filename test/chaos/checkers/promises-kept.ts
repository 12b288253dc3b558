/**
 * I3: a key of an acknowledged generation is never lost. A member that becomes active has every one, unless an operator
 * has accepted the loss. At the end the active member and every standby have it.
 */
import type { Checker, Facts } from './checker.ts';

const isDue = ({ isPromised, endedAtMs }: Facts['keys'][number]): boolean => isPromised && endedAtMs === undefined;

export const promisesKept = (): Checker => {
  const active = new Map<string, bigint>();
  const missingAt = (site: string, facts: Facts): string[] =>
    facts.keys.filter((key) => isDue(key) && !facts.valuesAt(site).has(key.value)).map(({ label }) => label);
  return {
    invariant: 'I3',
    name: 'promises-kept',
    look: (change, facts) => {
      if (facts.isLossAccepted) return undefined;
      if (change.kind === 'journal') {
        const member = facts.members.find(({ site }) => site === change.site);
        if (member?.role !== 'active' || active.get(member.site) === member.epoch) return undefined;
        active.set(member.site, member.epoch);
        const missing = missingAt(member.site, facts);
        return missing.length === 0
          ? undefined
          : `site ${member.site} became active in epoch ${member.epoch} without ${missing.join(', ')}`;
      }
      if (change.kind !== 'end') return undefined;
      const lost = facts.members
        .filter(({ role }) => role === 'active' || role === 'standby')
        .map(({ site }) => ({ site, missing: missingAt(site, facts) }))
        .filter(({ missing }) => missing.length > 0);
      return lost.length === 0
        ? undefined
        : `acknowledged keys are missing: ${lost.map(({ site, missing }) => `${missing.join(', ')} at ${site}`).join('; ')}`;
    },
  };
};
