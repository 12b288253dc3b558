/** I10: a member serves at the moment that a story names, whatever is still disturbed then. */
import type { Checker } from './checker.ts';

export const somebodyServes = (): Checker => ({
  invariant: 'I10',
  name: 'somebody-serves',
  look: ({ kind }, { members }) =>
    kind !== 'due' || members.some(({ role, leaseMs }) => role === 'active' && leaseMs > 0)
      ? undefined
      : `nobody serves: ${members.map(({ site, role, epoch }) => `${site} ${role || 'without a seat'} in epoch ${epoch}`).join(', ')}`,
});
