/** I3: where somebody has a copy all the time, every key is at every member in the end, whether it was promised or not. */
import type { Checker } from './checker.ts';

export const nothingLost = (): Checker => ({
  invariant: 'I3',
  name: 'nothing-lost',
  look: (change, facts) => {
    if (change.kind !== 'end' || !change.isLossless) return undefined;
    const lost = facts.members.flatMap(({ site }) =>
      facts.keys
        .filter(({ value, endedAtMs }) => endedAtMs === undefined && !facts.valuesAt(site).has(value))
        .map(({ label }) => `${label} at ${site}`),
    );
    return lost.length === 0 ? undefined : `keys are missing: ${lost.join(', ')}`;
  },
});
