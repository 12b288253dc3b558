import { expect, it } from 'vitest';
import type { Acknowledged } from '../store/tables/generations.ts';
import { groupOf, SPEC } from '../testing/group.ts';
import { type SaidOfMember, siteView } from '../testing/site-views.ts';
import { acknowledgementsOf } from './acknowledgements.ts';

const GROUP = groupOf(SPEC);
const HELD = { site: 'b', epoch: 2n, number: 7n, manifestDigest: 'ab' } as Acknowledged;
const applied = (generation: bigint, epoch = 2n) => ({ epoch, generation });

function saidOfB(
  member: SaidOfMember | undefined,
  { acknowledged = [HELD], errorCode = '' }: { acknowledged?: Acknowledged[]; errorCode?: string } = {},
) {
  const said = member && {
    partitions: [{ serial: 'serial-b', errorCode }],
    members: [{ group: 'payments', ...member }],
  };
  const view = (site: string) => (site === 'b' ? siteView(site, said) : undefined);
  return acknowledgementsOf(GROUP, acknowledged, view).members?.find(({ site }) => site === 'b');
}

it('is the newest generation of a member, without the objects that it refused', () => {
  expect(saidOfB({ applied: applied(7n), refused: [{ objectId: 'c0' }], refusedObjects: 1 })).toEqual({
    site: 'b',
    isKnown: true,
    epoch: 2n,
    number: 7n,
    manifestDigest: new Uint8Array([0xab]),
    refusedObjectIds: ['c0'],
  });
  expect(acknowledgementsOf(GROUP, [HELD], () => undefined).members?.map(({ site }) => site)).toEqual(['a', 'b', 'c']);
});

it.each([
  ['its site was not heard yet', undefined],
  ['its last report is older than what it has acknowledged', { applied: applied(6n) }],
  ['its last report is of an earlier tenure', { applied: applied(9n, 1n) }],
])('is not known while %s', (_while, member) => {
  expect(saidOfB(member)).toEqual({ site: 'b' });
});

it.each([
  ['has acknowledged nothing', { applied: applied(7n) }, { acknowledged: [] }],
  ['cannot use its partition', { applied: applied(7n) }, { errorCode: 'HSM_UNAVAILABLE' }],
  ['refused more objects than it names', { applied: applied(7n), refusedObjects: 101 }, {}],
])('is nothing of a member that %s', (_that, member, facts) => {
  expect(saidOfB(member, facts)).toEqual({ site: 'b', isKnown: true });
});
