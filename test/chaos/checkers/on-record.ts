/** I6: an order is on record before a site gets it, and what came of it afterwards. */
import type { Checker } from './checker.ts';

export const onRecord = (): Checker => ({
  invariant: 'I6',
  name: 'on-record',
  look: (change) => {
    if (change.kind === 'order' && !change.isOnRecord)
      return `site ${change.site} gets the order ${change.method} of operation ${change.operation}, which is not on record`;
    if (change.kind !== 'end' || change.unrecorded.length === 0) return undefined;
    return `not on record: ${change.unrecorded.join(', ')}`;
  },
});
