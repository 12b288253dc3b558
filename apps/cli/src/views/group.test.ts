import { troublesOf } from '@antipode/operator';
import { GroupStateSchema, MemberRole, Movement } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { remarksOn } from '../commands/operator/group.ts';
import { WAYS_OUT } from '../ways-out.ts';
import { distributorText, groupTable, memberTable, movementText, uncapturedTable } from './group.ts';

const bare = create(GroupStateSchema, { spec: { name: 'payments' }, protection: 'unprotected' });
const state = create(GroupStateSchema, {
  spec: { name: 'payments' },
  protection: 'partially-protected',
  activeSite: 'a',
  epoch: 3n,
  protectedKeys: 4,
  unprotectedKeys: 1,
  newest: {
    generation: 8n,
    objectCount: 5,
    uncaptured: [{ objectId: '0b', kind: 'private-key/rsa', reason: 'unextractable' }],
  },
  recoveryPointAgeMs: 60_000n,
  lastProvenMs: 1_767_225_600_000n,
  members: [
    { site: 'a', serial: '1f', role: MemberRole.ACTIVE, siteState: 'up' },
    {
      site: 'b',
      serial: '2f',
      role: MemberRole.FENCED,
      siteState: 'down',
      acknowledgedGeneration: 7n,
      recoveryPointAgeMs: 4_000n,
      divergentObjects: 2,
      unaccountedObjects: 5,
    },
    { site: 'c', serial: '3f' },
  ],
});

/** The rows of a table, cells apart. */
const rows = (text: string): string[][] =>
  text
    .split('\n')
    .slice(1)
    .map((line) => line.split(/ {2,}/));

it('a group is shown with its protection, its age, and how much of it is not captured, the worst first', () => {
  expect(rows(groupTable([state, bare]))).toEqual([
    ['payments', 'unprotected', '-', '-', '0', '-', '-', '-', '-', 'never'],
    ['payments', 'partially-protected', '1 of 5', 'a', '3', '8', '5', '1', '60.0 s', '2026-01-01T00:00:00.000Z'],
  ]);
});

it('a member is shown with what it has acknowledged, and a dash for what it has not', () => {
  expect(rows(memberTable(state))).toEqual([
    ['a', 'active', 'up', '1f', '-', '-', '0', '0', '0'],
    ['b', 'fenced', 'down', '2f', '7', '4.0 s', '2', '5', '0'],
    ['c', '?', '3f', '-', '-', '0', '0', '0'],
  ]);
});

it.each([
  ['up', 'up (HSM_FULL)'],
  ['down', 'down (was HSM_FULL)'],
])('the error of a partition at a site that is %s is shown as of now or of before', (siteState, cell) => {
  const members = [{ site: 'a', siteState, serial: '1f', partitionErrorCode: 'HSM_FULL' }];
  expect(memberTable(create(GroupStateSchema, { members }))).toContain(cell);
});

it('objects that are not captured are listed with their reasons, and each reason with the way out', () => {
  expect(uncapturedTable(bare)).toBe('');
  const lines = uncapturedTable(state).split('\n');
  expect(rows(lines.slice(1).join('\n'))[1]).toEqual(['0b', 'private-key/rsa', 'unextractable']);
  expect(lines.filter((line) => line.includes(': '))).toEqual([`unextractable: ${WAYS_OUT.unextractable}.`]);
});

it('a group that cannot fail over by itself says so when it is made', () => {
  const said = (members: number): string => remarksOn({ name: 'payments', members }).join('\n');
  expect(said(1)).toContain('its keys have no copy');
  expect(said(2)).toContain('automatic failover is impossible');
  expect(said(2)).toContain('antipode failover payments --accept-loss');
  expect([3, 4].map(said)).toEqual(['', '']);
});

it('says how keys move where they are not all sealed', () => {
  const saidOf = (movement?: Movement) =>
    movementText(create(GroupStateSchema, { spec: { name: 'payments', ...(movement && { movement }) } }));
  expect([saidOf(), saidOf(Movement.SEALED)]).toEqual([undefined, undefined]);
  expect(saidOf(Movement.NATIVE)).toContain('all others are sealed (native)');
  expect(saidOf(Movement.PREFER_NATIVE)).toContain('all others have both forms');
  expect(saidOf(9 as Movement)).toContain('only a later release');
});

it('shows an unusable distributor, the work that waits for it, and how to name another', () => {
  const spec = { name: 'payments', distributor: { site: 'd', serial: '4f' } };
  const lost = create(GroupStateSchema, { spec, distributorErrorCode: 'SITE_UNREACHABLE' });
  const [line = '', ...more] = troublesOf(lost);
  expect(more).toEqual([]);
  for (const part of ['site d', 'SITE_UNREACHABLE', 'New domain keys wait for it', 'group set-distributor payments'])
    expect(line).toContain(part);
  expect(troublesOf(create(GroupStateSchema, { spec }))).toEqual([]);
  expect(distributorText(lost)).toContain('partition 4f of site d alone');
  expect(distributorText(bare)).toContain('the active member');
});
