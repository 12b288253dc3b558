/** The facts by which a change of the members is planned, and the obstacles of every such change. */
import { type Generation, type Group, isSettled, type Seat } from '../../model.ts';
import type { Detector } from '../../sites/detector.ts';
import type { Acknowledged } from '../../store/tables/generations.ts';
import type { Intent } from '../../store/tables/intents.ts';
import type { FormerSeat } from '../../store/tables/membership.ts';
import type { Obstacle } from './change.ts';

export interface ChangeFacts {
  readonly group: Group;
  /** The other groups. A partition is a member of one group only. */
  readonly others: readonly Group[];
  readonly former: readonly FormerSeat[];
  readonly open: readonly Intent[];
  readonly newest: Generation | undefined;
  readonly acknowledged: readonly Acknowledged[];
  readonly detector: Detector;
}

/** Operations that decide by the members, or move the active role among them. */
const EXCLUSIVE: ReadonlySet<string> = new Set(['failover', 'reseat', 'rejoin']);

/** One change of the members at a time, so that any majority before it and any majority after it have a member in common. */
export function busyWith({ group, open }: Pick<ChangeFacts, 'group' | 'open'>): Obstacle | undefined {
  const busy = (what: string): Obstacle => ({
    code: 'GROUP_BUSY',
    message: `${what}, so its members cannot be changed now`,
  });
  if (!isSettled(group)) return busy('a failover has not ended');
  if (group.domainKeyVersion === 0) return busy('the first domain key has not reached the members yet');
  const other = open.find(({ kind }) => EXCLUSIVE.has(kind));
  if (other !== undefined) return busy(`an operation has not ended (${other.kind})`);
  const key = open.find((intent) => intent.kind === 'domain-key' && !isIdleKey(intent));
  if (key !== undefined) return busy('a new domain key is on its way');
  return undefined;
}

/**
 * Whether a change of the partitions may end this exchange of the domain key: it is parked, or waits for a site that does
 * not answer, perhaps the very one that is removed. A version that did not reach everybody is never used, and the change
 * brings the next one.
 */
export const isIdleKey = ({ status, attempts, state }: Intent): boolean =>
  status === 'parked' || (attempts > 0 && state.phase !== 'taking-up');

export const seatText = ({ site, serial }: Seat): string => `${site}=${serial}`;

/** The consequence that every change of the partitions has. */
export function domainKeyConsequences({ newest }: Pick<ChangeFacts, 'newest'>): string[] {
  const objects = newest === undefined ? '' : ` (${newest.objectCount} objects)`;
  return [
    `A new version of the domain key is brought to every partition of the group. The next capture seals everything again under it${objects}, and every standby reads it back. Captures and failovers go on meanwhile.`,
  ];
}
