/** I7: a drill changes nothing but a scratch partition, and nothing else changes the keys in one. */
import type { Checker } from './checker.ts';

export const drillsInScratch = (): Checker => ({
  invariant: 'I7',
  name: 'drills-in-scratch',
  look: (change) => {
    if (
      change.kind === 'token' &&
      change.running.length > 0 &&
      change.running.every(({ method }) => method === 'drill')
    )
      return `a drill has changed the token of site ${change.site}`;
    if (change.kind === 'scratch' && !change.running.some(({ method }) => method === 'drill'))
      return `the scratch partition of site ${change.site} was changed without a drill`;
    return undefined;
  },
});
