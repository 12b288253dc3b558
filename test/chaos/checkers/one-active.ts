/** I1: at most one member may act as the active one, whoever believes what. */
import type { Checker } from './checker.ts';

export const oneActive = (): Checker => ({
  invariant: 'I1',
  name: 'one-active',
  look: ({ kind }, { members }) => {
    if (kind !== 'step') return undefined;
    const acting = members.filter(({ role, leaseMs }) => role === 'active' && leaseMs > 0);
    if (acting.length < 2) return undefined;
    return `two active members hold a lease: ${acting.map(({ site, epoch }) => `${site} in epoch ${epoch}`).join(', ')}`;
  },
});
