/** Where the native movement of a group does not reach, for the plan of a change. Pure. */
import { hex } from '@antipode/runtime';
import type { GroupSpec, Seat } from '../../model.ts';
import { partitionIn } from '../../sites/accounts.ts';
import type { Detector } from '../../sites/detector.ts';
import type { Obstacle } from './change.ts';

/** The cloning domain of a partition: hexadecimal, empty where it clones nothing. Undefined if nobody has heard of it. */
export type CloningOf = (seat: Seat) => string | undefined;

export const cloningBy =
  (detector: Detector): CloningOf =>
  ({ site, serial }) => {
    const state = detector.view(site)?.state;
    const partition = state === undefined ? undefined : partitionIn(state, serial);
    return partition && hex(partition.cloningDomain);
  };

/** One sentence for each of these partitions that does not take the clones that the active member gives. */
export function cloningWarnings(
  { movement }: Pick<GroupSpec, 'movement'>,
  { active, seats, cloningOf }: { active: Seat | undefined; seats: readonly Seat[]; cloningOf: CloningOf },
): string[] {
  if (movement === undefined || active === undefined) return [];
  const source = cloningOf(active);
  if (source === '')
    return [
      `The partition of site ${active.site}, which is active, clones nothing. Keys that its token does not wrap are reported, as before.${movement === 'native' ? '' : ' All others have their sealed form alone.'}`,
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
        : [
            `Partition ${seat.serial} of site ${seat.site} ${why}: it does not get the keys that no token wraps.${movement === 'native' ? '' : ' All others it gets in their sealed form.'}`,
          ];
    });
}

/** Manifests have this format or a lower one where keys move so (ADR 0055, 0058). */
const FORMATS = { native: 5, 'prefer-native': 6 } as const;

/**
 * Refuses native movement by its name where the agent of a partition is of a release without it. Such an agent takes the
 * order to capture, and would leave this part of it out without a word. As a standby it would refuse every generation.
 */
export function nativeObstacle(
  { movement }: Pick<GroupSpec, 'movement'>,
  { seats, detector }: { seats: readonly Seat[]; detector: Detector },
): Obstacle | undefined {
  if (movement === undefined) return undefined;
  const format = FORMATS[movement];
  const behind = seats.filter(({ site }) => {
    const state = detector.view(site)?.state;
    return state !== undefined && state.manifestFormat < format;
  });
  if (behind.length === 0) return undefined;
  const sites = [...new Set(behind.map(({ site }) => site))].join(', ');
  return {
    code: 'GROUP_CHANGE_REFUSED',
    message: `movement ${movement} needs generations of format ${format}, which the agent of site ${sites} does not read`,
    hint: `Upgrade the agent of site ${sites} first (docs/upgrading.md). Until then leave the movement as it is.`,
  };
}
