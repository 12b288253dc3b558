import { GroupStateSchema, MemberRole, type MergedObject } from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { besideTheLine } from '../../views/status.ts';
import { divergentMembers, hasMerged, silentSites, uncountedSites } from './divergence.ts';

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

it('counts what is sealed at one site only, wherever that site stands', () => {
  const [group] = given({ ...CAUGHT_UP, site: 'a', setAsideObjects: 1, keptAsideObjects: 2 });
  group!.members[0]!.setAsideObjects = 3;
  expect(divergentMembers([group!])).toMatchObject([
    { site: 'b', role: 'active', divergent: 0, setAside: 3, kept: 0 },
    { site: 'a', divergent: 0, unaccounted: 0, setAside: 1, kept: 2 },
  ]);
  expect(besideTheLine([group!])).toEqual([
    '3 objects are sealed at site b only, because group payments has others with their names: `antipode deleted list` at site b lists them.',
    '1 object is sealed at site a only, because group payments has others with their names: `antipode divergence show payments a` lists them.',
  ]);
});

it('does not take the last word of a site that is not heard for a count of now', () => {
  const groups = given({ ...CAUGHT_UP, site: 'a', siteState: 'down' }, { ...CAUGHT_UP, site: 'c' });
  groups[0]!.members[0]!.siteState = 'up';
  expect(silentSites(groups)).toEqual([{ group: 'payments', site: 'a', siteState: 'down' }]);
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
