/** Where the native movement of a group does not reach, for the plan of a change. Pure. */
import { hex } from '@antipode/runtime';
import type { GroupSpec, Seat } from '../../model.ts';
import { partitionIn } from '../../sites/accounts.ts';
import type { Detector } from '../../sites/detector.ts';

/** The cloning domain of a partition: hexadecimal, empty where it clones nothing. Undefined if nobody has heard of it. */
export type CloningOf = (seat: Seat) => string | undefined;

export const cloningBy =
  (detector: Detector): CloningOf =>
  ({ site, serial }) => {
    const state = detector.view(site)?.state;
    const partition = state === undefined ? undefined : partitionIn(state, serial);
    return partition && hex(partition.cloningDomain);
  };

/** One sentence for each of these partitions that does not take what the active member gives. */
export function cloningWarnings(
  { movement }: Pick<GroupSpec, 'movement'>,
  { active, seats, cloningOf }: { active: Seat | undefined; seats: readonly Seat[]; cloningOf: CloningOf },
): string[] {
  if (movement !== 'native' || active === undefined) return [];
  const source = cloningOf(active);
  if (source === '')
    return [
      `The partition of site ${active.site}, which is active, clones nothing. Keys that its token does not wrap are reported, as before.`,
    ];
  return seats
    .filter(({ site, serial }) => site !== active.site || serial !== active.serial)
    .flatMap((seat) => {
      const domain = cloningOf(seat);
      if (domain === undefined || source === undefined)
        return [`Nobody knows whether partition ${seat.serial} of site ${seat.site} takes what moves natively.`];
      const why = domain === '' ? 'clones nothing' : 'is in another cloning domain than the active one';
      return domain === source
        ? []
        : [`Partition ${seat.serial} of site ${seat.site} ${why}: it does not get the keys that move natively.`];
    });
}
