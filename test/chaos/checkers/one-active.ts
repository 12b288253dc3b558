/** I1: at most one member may act as the active one, whoever believes what. */
import type { Checker, MemberFacts } from './checker.ts';

const isActing = ({ role, leaseMs }: MemberFacts): boolean => role === 'active' && leaseMs > 0;

export const oneActive = (): Checker => ({
  invariant: 'I1',
  name: 'one-active',
  look: ({ kind }, { members }) => {
    if (kind !== 'step') return undefined;
    // Asked after every step: nothing is made for the answer that nearly all get.
    let count = 0;
    for (const member of members) if (isActing(member)) count += 1;
    if (count < 2) return undefined;
    const acting = members.filter(isActing);
    return `two active members hold a lease: ${acting.map(({ site, epoch }) => `${site} in epoch ${epoch}`).join(', ')}`;
  },
});
