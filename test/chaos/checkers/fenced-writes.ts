/**
 * I2: no token is changed by an order whose epoch is lower than the one that its site has persisted. A call that is in
 * the device when an epoch is persisted cannot be called back. It counts from its begin.
 */
import type { Checker } from './checker.ts';

export const fencedWrites = (): Checker => ({
  invariant: 'I2',
  name: 'fenced-writes',
  look: (change) => {
    if (change.kind !== 'token' || change.running.length === 0) return undefined;
    const { site, epochAtCall, running } = change;
    if (running.some(({ epoch }) => epoch >= epochAtCall)) return undefined;
    return `the token of site ${site} was changed under epoch ${running.map(({ epoch }) => epoch).join(', ')} by a call that began when its journal had ${epochAtCall}`;
  },
});
