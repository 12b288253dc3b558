/**
 * Objects of a group that their names do not tell apart, by what the sites report. Everything is replicated, so this is
 * no failure. But a program that takes the first object with a name can find another one after a move. Pure.
 */
import type { MemberState } from '@antipode/protocol';
import type { Group } from '../model.ts';
import { seatIn } from '../sites/accounts.ts';
import type { SiteView } from '../sites/detector.ts';
import type { Concern } from './concerns.ts';

interface Seen {
  readonly group: Group;
  readonly view: (site: string) => SiteView | undefined;
}

export function namesConcerns({ group, view }: Seen): Concern[] {
  const shared = inLine({ group, view });
  const texts =
    shared === undefined
      ? []
      : [
          ...textOf(shared.sharedIdObjects, 'share a CKA_ID with another object of their class'),
          ...textOf(shared.sharedLabelObjects, 'share a label with another object of their class'),
          ...textOf(
            shared.strayHalfObjects,
            'are public keys or certificates with the CKA_ID of a private key that they do not belong to',
          ),
        ];
  return [
    ...(texts.length === 0 ? [] : [concernOf('', `of the objects of the group, ${texts.join('; ')}`)]),
    ...group.members.flatMap(({ site, role }) => {
      const objects = role === 'active' ? 0 : (seatIn(view(site)?.state, group.spec.name)?.namesakeObjects ?? 0);
      if (objects === 0) return [];
      const what = objects === 1 ? '1 object has' : `${objects} objects have`;
      return [concernOf(site, `${what} the label or CKA_ID of an object of the group, and only this token has it`)];
    }),
  ];
}

/** The number of objects that a program can confuse with another one of the group. */
export function sharedNamesIn(seen: Seen): number {
  const { sharedIdObjects = 0, sharedLabelObjects = 0 } = inLine(seen) ?? {};
  return Math.max(sharedIdObjects, sharedLabelObjects);
}

/** Every member with the newest generation reports the same. The active member has it first. */
function inLine({ group, view }: Seen): MemberState | undefined {
  const seats = [...group.members]
    .sort((one, other) => Number(other.role === 'active') - Number(one.role === 'active'))
    .map(({ site }) => seatIn(view(site)?.state, group.spec.name));
  return seats.find((seat) => seat !== undefined);
}

const textOf = (objects: number, what: string): string[] => (objects === 0 ? [] : [`${objects} ${what}`]);

const concernOf = (site: string, message: string): Concern => ({
  kind: 'names',
  site,
  errorCode: 'NAMES_SHARED',
  message,
  ageMs: 0,
});
