/** I1: no journal goes back to a lower epoch by itself. Where a fault put an older copy back, the checker begins again. */
import type { JournalChecker } from './checker.ts';

export const epochGrows = (): JournalChecker & { forget(site: string): void } => {
  const highest = new Map<string, bigint>();
  return {
    invariant: 'I1',
    name: 'epoch-grows',
    forget: (site) => void highest.delete(site),
    look: (change, { voters }) => {
      if (change.kind !== 'journal') return undefined;
      const member = voters.find(({ site }) => site === change.site);
      if (member === undefined) return undefined;
      const before = highest.get(member.site) ?? 0n;
      highest.set(member.site, member.epoch);
      return member.epoch < before
        ? `site ${member.site} went back from epoch ${before} to ${member.epoch}`
        : undefined;
    },
  };
};
