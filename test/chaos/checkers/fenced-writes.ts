/** I2: no token is changed by an order whose epoch is lower than the one that its site has persisted. */
import type { Checker } from './checker.ts';

export const fencedWrites = (): Checker => ({
  invariant: 'I2',
  name: 'fenced-writes',
  look: (change, { members }) => {
    if (change.kind !== 'token') return undefined;
    const member = members.find(({ site }) => site === change.site);
    if (member === undefined || change.running.length === 0) return undefined;
    if (change.running.some(({ epoch }) => epoch >= member.epoch)) return undefined;
    return `the token of site ${change.site} was changed under epoch ${change.running.map(({ epoch }) => epoch).join(', ')}, its journal has ${member.epoch}`;
  },
});
