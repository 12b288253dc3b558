/** The parts of the declaration of each group that this site knows by its own pins, journal and memory. Reads only. */
import { filterMessage, movementField, type TellGroupsResponseSchema } from '@antipode/protocol';
import { elapsedMs } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Site } from '../site.ts';

export function tellGroups({
  clock,
  journal,
  pins,
  places,
  vouched,
}: Pick<Site, 'clock' | 'journal' | 'pins' | 'places' | 'vouched'>): MessageInitShape<typeof TellGroupsResponseSchema> {
  const { answeredMs } = vouched;
  return {
    ...(answeredMs === undefined ? {} : { coordinatorSilentMs: BigInt(Math.floor(elapsedMs(clock) - answeredMs)) }),
    groups: journal.tenure.seats().map(({ group }) => {
      const filter = journal.decisions.filter(group);
      const place = places.of(group)?.place;
      return {
        group,
        trusted: pins.of(group).map(({ site, serial, role }) => ({ site, serial, role })),
        ...(filter === undefined ? {} : { filter: filterMessage(filter) }),
        ...movementField(journal.decisions.movement(group)),
        ...(place === undefined ? {} : { stopsOnLeaseLapse: place.stopsOnLeaseLapse }),
        vouchers: vouched.vouchersOf(group),
      };
    }),
  };
}
