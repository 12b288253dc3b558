/** I2: a coordinator changes the tables only while it leads by the database itself. */
import type { Checker } from './checker.ts';

export const leaderWrites = (): Checker => ({
  invariant: 'I2',
  name: 'leader-writes',
  look: (change) =>
    change.kind !== 'write' || change.coordinator === change.leader
      ? undefined
      : `coordinator ${change.coordinator} has changed tables, while coordinator ${change.leader} leads`,
});
