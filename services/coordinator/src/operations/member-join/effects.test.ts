import { MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import type { SiteStatus } from '../../sites/detector.ts';
import { useVersion } from '../../store/tables/groups.ts';
import { updateIntent } from '../../store/tables/intents.ts';
import { insertJoining, removeMember } from '../../store/tables/membership.ts';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { siteView } from '../../testing/site-views.ts';
import { type Case, generation, kinds, situation } from '../../testing/situation.ts';
import { plan } from '../planner.ts';
import { lackOf, memberJoin } from './effects.ts';

const database = testDatabase();

const SEAT = { site: 'd', serial: 'serial-d' };
const GROUP = { ...groupOf(SPEC), domainKeyVersion: 3, highestVersion: 3, rotateAbove: 2, joining: [SEAT] };
const NEWEST = generation({ domainKeyVersion: 3 });

interface Lacking {
  readonly version?: number;
  readonly role?: MemberRole;
  readonly status?: SiteStatus;
  readonly acknowledged?: boolean;
  readonly group?: Group;
}

describe('a site that joins', () => {
  const lacks = ({
    version = 3,
    role = MemberRole.STANDBY,
    status = 'up',
    acknowledged = true,
    group = GROUP,
  }: Lacking = {}): string =>
    lackOf({
      group,
      seat: SEAT,
      newest: NEWEST,
      acknowledged: acknowledged ? [{ ...NEWEST, site: 'd' }] : [],
      view: siteView(
        'd',
        { members: [{ group: 'payments', serial: 'serial-d', role, domainKeyVersion: version }] },
        { status },
      ),
    });

  it('has its vote when it has its seat, the domain key and the newest generation', () => {
    expect(lacks()).toBe('');
  });

  it.each<[string, Lacking]>([
    ['is down', { status: 'down' }],
    ['does not know its seat', { role: MemberRole.FENCED }],
    ['does not have version 3', { version: 2 }],
    ['has not acknowledged generation', { acknowledged: false }],
    ['a new version of the domain key is not in use', { group: { ...GROUP, rotateAbove: 3 } }],
  ])('waits while it %s', (what, lacking) => {
    expect(lacks(lacking)).toContain(what);
  });

  it('waits while nothing is captured under the new version', () => {
    const view = siteView(
      'd',
      { members: [{ group: 'payments', serial: 'serial-d', role: MemberRole.STANDBY, domainKeyVersion: 3 }] },
      {},
    );
    const old = generation({ domainKeyVersion: 2 });
    expect(lackOf({ group: GROUP, seat: SEAT, newest: old, acknowledged: [{ ...old, site: 'd' }], view })).toContain(
      'nothing is captured under the new version',
    );
  });
});

describe('what is due while a site joins', () => {
  const joining = { site: 'd', serial: 'serial-3' };
  const due = (one: Case = {}, rest = {}) =>
    kinds(plan(situation({ ...one, group: { joining: [joining], ...one.group } }, rest)));
  const seats = { d: 'standby' } as const;

  it('is a version of the domain key above those that were there before, and then the newest generation', () => {
    expect(due({ group: { joining: [joining], rotateAbove: 1 } })).toEqual(['domain-key', 'member-join d']);
    expect(due({ seats })).toEqual(['replication d', 'member-join d']);
    expect(due({ seats }, { joiningAcknowledged: [{ ...generation(), site: 'd' }] })).toEqual(['member-join d']);
  });

  it('does not replicate before it holds the key, and brings the next version where it missed the one in use', () => {
    expect(due({ seats, versions: { d: 0 } })).toEqual(['domain-key', 'member-join d']);
    expect(due({ seats: { d: 'none' } })).toEqual(['member-join d']);
  });

  it('is not a generation from before it was added, which it could not open', () => {
    const added = { joining: [joining], rotateAbove: 1, highestVersion: 2 };
    const versions = { d: 2 };
    const rest = { newest: generation({ domainKeyVersion: 1 }) };
    expect(due({ seats, versions, group: added }, rest)).not.toContain('replication d');
    expect(due({ seats, versions, group: { ...added, domainKeyVersion: 2 } }, rest)).not.toContain('replication d');
    const captured = { newest: generation({ domainKeyVersion: 2 }) };
    expect(due({ seats, versions, group: { ...added, domainKeyVersion: 2 } }, captured)).toContain('replication d');
  });

  it('is nothing of it while an epoch is not in force', () => {
    expect(due({ seats, group: { joining: [joining], highestEpoch: 2n }, policy: 'manual' })).not.toContain(
      'member-join d',
    );
  });

  it('is a later version after a removal, even if nobody joins', () => {
    expect(kinds(plan(situation({ group: { rotateAbove: 1 } })))).toEqual(['domain-key']);
    expect(
      kinds(
        plan(
          situation(
            { group: { rotateAbove: 1, domainKeyVersion: 2 } },
            { newest: generation({ domainKeyVersion: 2 }) },
          ),
        ),
      ),
    ).toEqual([]);
  });
});

describe('the operation of a site that joins', () => {
  const JOINING = { site: 'd', serial: 'serial-d' };
  const join = (bench: EffectsBench) => memberJoin(bench.context, intentOf('d'));
  const ready = async (): Promise<EffectsBench> => {
    const group = await database.rows.group({ domainKeyVersion: 1, highestVersion: 1 });
    await database.rows.captured([generation({ domainKeyVersion: 2 })]);
    await database.rows.write(async (trx) => {
      await insertJoining(trx, group, JOINING);
      await useVersion(trx, 'payments', 2);
    });
    const bench = new EffectsBench(database);
    bench.said.set('d', { serial: 'serial-d', role: MemberRole.STANDBY, domainKeyVersion: 2 });
    return bench;
  };
  const votes = async () => (await database.rows.readGroup()).members.map(({ site }) => site);

  it('gives it its vote when it has acknowledged the newest generation, and not before', async () => {
    const bench = await ready();
    const error = await rejection(join(bench));
    expect([error.code, error.message, await votes()]).toEqual([
      'GROUP_BUSY',
      expect.stringContaining('has not acknowledged generation 4'),
      ['a', 'b', 'c'],
    ]);
    await database.rows.acknowledged('d', { epoch: 1n, number: 4n });
    await database.rows.intended({ id: 'move', kind: 'failover', state: { phase: 'requested' } });
    expect((await rejection(join(bench))).message).toContain('a failover or a reseat is under way');
    await database.rows.write((trx) => updateIntent(trx, 'move', { status: 'done' }, 0));
    expect(await join(bench)).toEqual({ type: 'joined' });
    const { spec, joining, revision } = await database.rows.readGroup();
    expect([await votes(), spec.members.length, joining, revision]).toEqual([['a', 'b', 'c', 'd'], 4, [], 3]);
    expect(await database.rows.events()).toContain('member-joined');
    expect(await join(bench)).toEqual({ type: 'joined' });
  });

  it('seats it where its agent does not know, and gives up where it was removed', async () => {
    const bench = await ready();
    bench.said.set('d', { serial: 'serial-d', role: MemberRole.FENCED });
    await rejection(join(bench));
    expect(bench.orders).toMatchObject([{ site: 'd', method: 'setRole', request: { role: MemberRole.STANDBY } }]);
    const group = await database.rows.readGroup();
    await database.rows.write((trx) => removeMember(trx, group, { ...JOINING, nowMs: 0 }));
    expect((await rejection(join(bench))).code).toBe('NOT_FOUND');
  });

  it('ends with the error that keeps the domain key from it', async () => {
    const bench = await ready();
    await database.rows.intended({ id: 'key', kind: 'domain-key', state: { phase: 'incomplete' } });
    await database.rows.write((trx) => updateIntent(trx, 'key', { status: 'parked', errorCode: 'PEER_NOT_PINNED' }, 0));
    expect((await rejection(join(bench))).code).toBe('PEER_NOT_PINNED');
  });
});
