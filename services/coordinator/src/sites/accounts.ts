/**
 * Finds a seat or a partition in the account that a site gives of itself. A site can have hundreds of each, and every pass
 * and every heartbeat asks for them by name. So a long account is indexed when it is first asked.
 */
import type { DescribeResponse, MemberState, PartitionState } from '@antipode/protocol';

type Account = Partial<Pick<DescribeResponse, 'members' | 'partitions'>>;

/** A shorter list is searched as fast as an index is made. */
const INDEXED_MIN = 16;

const seats = new WeakMap<readonly MemberState[], ReadonlyMap<string, MemberState>>();
const partitions = new WeakMap<readonly PartitionState[], ReadonlyMap<string, PartitionState>>();

/** The seat of the site in a group. */
export const seatIn = (account: Account | undefined, group: string): MemberState | undefined =>
  found(account?.members, seats, { nameOf: (seat) => seat.group, name: group });

/** The partition of the site with a serial number. */
export const partitionIn = (account: Account | undefined, serial: string | undefined): PartitionState | undefined =>
  serial === undefined
    ? undefined
    : found(account?.partitions, partitions, { nameOf: (partition) => partition.serial, name: serial });

/** The first of its name. */
function found<T>(
  all: readonly T[] | undefined,
  indexes: WeakMap<readonly T[], ReadonlyMap<string, T>>,
  { nameOf, name }: { nameOf: (one: T) => string; name: string },
): T | undefined {
  if (all === undefined || all.length < INDEXED_MIN) return all?.find((one) => nameOf(one) === name);
  let index = indexes.get(all);
  if (index === undefined) {
    index = new Map([...all].reverse().map((one) => [nameOf(one), one]));
    indexes.set(all, index);
  }
  return index.get(name);
}
