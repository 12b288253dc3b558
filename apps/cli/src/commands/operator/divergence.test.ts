import { GroupStateSchema, MemberRole, type MergedObject } from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { divergentMembers, hasMerged, uncountedSites } from './divergence.ts';
import { besideTheLine } from './status.ts';

type Member = NonNullable<MessageInitShape<typeof GroupStateSchema>['members']>[number];

const given = (...members: Member[]) => [
  create(GroupStateSchema, {
    spec: { name: 'payments' },
    activeSite: 'b',
    newest: { epoch: 2n },
    members: [{ site: 'b', role: MemberRole.ACTIVE, acknowledgedEpoch: 1n, divergentObjects: 9 }, ...members],
  }),
];
const CAUGHT_UP = { role: MemberRole.STANDBY, siteState: 'up', acknowledgedEpoch: 2n };

it('counts objects beside the line at every site but the active one, and status tells of them', () => {
  const groups = given(
    { ...CAUGHT_UP, site: 'a', divergentObjects: 2, unaccountedObjects: 1 },
    { ...CAUGHT_UP, site: 'c', keptObjects: 1 },
    { ...CAUGHT_UP, site: 'd' },
  );
  expect(divergentMembers(groups).map(({ site }) => site)).toEqual(['a', 'c']);
  expect(besideTheLine(groups)).toEqual([
    'Site a has 2 divergent and 1 unaccounted objects, which group payments does not have: `antipode divergence show payments a` lists them.',
  ]);
});

it.each([
  ['is lost since a failover', { role: MemberRole.FENCED, siteState: 'down', acknowledgedEpoch: 2n }],
  ['has returned and not rejoined', { role: MemberRole.FENCED, siteState: 'up' }],
  ['has rejoined and applied nothing yet', { role: MemberRole.STANDBY, siteState: 'up', acknowledgedEpoch: 1n }],
])('does not take a site for counted that %s', (_, member) => {
  const groups = given({ ...member, site: 'a' }, { ...CAUGHT_UP, site: 'c' });
  expect(uncountedSites(groups)).toEqual([{ group: 'payments', site: 'a', siteState: member.siteState }]);
});

it('counts a site that has caught up, and a group without a generation', () => {
  expect(uncountedSites(given({ ...CAUGHT_UP, site: 'a' }))).toEqual([]);
  expect(uncountedSites([create(GroupStateSchema, { members: [{ site: 'a', role: MemberRole.STANDBY }] })])).toEqual(
    [],
  );
});

it('a generation has what was merged only where something was', () => {
  const object = (verdict: string) => ({ verdict }) as MergedObject;
  expect(hasMerged([object('present'), object('name-taken')], 7)).toBe('Generation 7 has what was merged.');
  expect(hasMerged([object('name-taken')], 7)).toContain('No object was merged.');
});
