import {
  ChangeGroupRequestSchema,
  CreateGroupRequestSchema,
  type GroupChangeSchema,
  type GroupSettingsSchema,
  GroupSpecSchema,
  Movement,
  PlanGroupChangeRequestSchema,
} from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { specMessage } from '../../groups/group-spec.ts';
import { reserveNumber } from '../../store/tables/generations.ts';
import { readGroup } from '../../store/tables/groups.ts';
import { readIntent, updateIntent } from '../../store/tables/intents.ts';
import { readFormerSeats } from '../../store/tables/membership.ts';
import { testDatabase } from '../../testing/database.ts';
import { SPEC } from '../../testing/group.ts';
import { OPERATOR, OperatorBench } from '../../testing/operator-bench.ts';
import { generation } from '../../testing/situation.ts';
import { operatorHandlers } from '../operator.ts';

const database = testDatabase();
type Settings = MessageInitShape<typeof GroupSettingsSchema>;
type Kind = NonNullable<MessageInitShape<typeof GroupChangeSchema>['kind']>;

async function ready(): Promise<OperatorBench> {
  await database.rows.group({ spec: { ...SPEC, filter: { ...SPEC.filter, excludeLabels: ['tmp-*'] } } });
  return new OperatorBench(database);
}

const inForce = () => database.store.snapshot((db) => readGroup(db, 'payments'));

const plan = ({ ports }: OperatorBench, value: Settings) =>
  operatorHandlers(ports).planGroupChange(
    create(PlanGroupChangeRequestSchema, { group: 'payments', change: { kind: { case: 'settings', value } } }),
    OPERATOR,
  );

const order = ({ ports }: OperatorBench, value: Settings, revision = 1) =>
  operatorHandlers(ports).changeGroup(
    create(ChangeGroupRequestSchema, { group: 'payments', change: { kind: { case: 'settings', value } }, revision }),
    OPERATOR,
  );

describe('a change of the settings', () => {
  it('is planned without changing anything', async () => {
    const bench = await ready();
    expect(await plan(bench, { rpoSeconds: 60 })).toMatchObject({
      revision: 1,
      changes: ['rpo_seconds: 300 -> 60'],
      obstacle: '',
      durations: [{ ms: 0n }],
    });
    expect(await inForce()).toMatchObject({ revision: 1, spec: { rpoMs: 300_000 } });
  });

  it('to native movement is refused by name while an agent of an earlier release is there', async () => {
    const bench = await ready();
    bench.hear('b', { manifestFormat: 3 });
    const refused = await rejection(order(bench, { movement: Movement.NATIVE }));
    expect(refused).toMatchObject({ code: 'GROUP_CHANGE_REFUSED', ownHint: expect.stringContaining('site b first') });
    bench.hear('b', { manifestFormat: 5 });
    await order(bench, { movement: Movement.NATIVE });
    expect((await inForce()).spec.movement).toBe('native');
    const ahead = await rejection(order(bench, { movement: Movement.PREFER_NATIVE }, 2));
    expect(ahead).toMatchObject({ code: 'GROUP_CHANGE_REFUSED', message: expect.stringContaining('format 6') });
    bench.hear('b', { manifestFormat: 6 });
    await order(bench, { movement: Movement.PREFER_NATIVE }, 2);
    expect((await inForce()).spec.movement).toBe('prefer-native');
    // Other settings can be changed where it is in force already.
    bench.hear('b', { manifestFormat: 3 });
    await order(bench, { rpoSeconds: 60 }, 3);
  });

  it('is made at once, leaves an event without rules, and has the next revision', async () => {
    const bench = await ready();
    const answer = await order(bench, { rpoSeconds: 60, filter: { excludeLabels: ['a-secret-name'] } });
    expect(answer).toMatchObject({ operationId: '', group: { revision: 2, spec: { rpoSeconds: 60 } } });
    expect(await inForce()).toMatchObject({ revision: 2, spec: { filter: { excludeLabels: ['a-secret-name'] } } });
    const events = await database.store.query((db) => db.selectFrom('event').selectAll().execute());
    const [told] = events.filter(({ kind }) => kind === 'group-changed');
    expect(JSON.parse(told!.details)).toEqual({
      revision: 2,
      change: 'settings',
      fields: 'filter,rpo_seconds',
      operator: 'alice',
    });
  });

  it('is not made for a declaration that somebody has changed meanwhile', async () => {
    const bench = await ready();
    await order(bench, { rpoSeconds: 60 });
    expect((await rejection(order(bench, { scrubSeconds: 3_600 }))).code).toBe('GROUP_CHANGED');
    expect(await inForce()).toMatchObject({ revision: 2, spec: { scrubMs: SPEC.scrubMs } });
  });

  it('is safe to repeat: what is so already is not changed again, whatever revision was seen', async () => {
    const bench = await ready();
    for (let time = 0; time < 3; time += 1) await order(bench, { rpoSeconds: 60 });
    expect((await inForce()).revision).toBe(2);
  });

  it('is refused in a group that the journals contradict', async () => {
    const bench = await ready();
    bench.hear('b', { epoch: 7n, epochOwner: 'b' });
    for (const call of [plan, order])
      expect((await rejection(call(bench, { rpoSeconds: 60 }))).code).toBe('GROUP_CONTRADICTED');
  });

  it('is refused without a change, and for a group that does not exist', async () => {
    const { ports } = await ready();
    const { planGroupChange, changeGroup } = operatorHandlers(ports);
    const codes = [
      rejection(planGroupChange(create(PlanGroupChangeRequestSchema, { group: 'payments' }), OPERATOR)),
      rejection(changeGroup(create(ChangeGroupRequestSchema, { group: 'payments' }), OPERATOR)),
      rejection(
        changeGroup(
          create(ChangeGroupRequestSchema, { group: 'nobody', change: { kind: { case: 'settings', value: {} } } }),
          OPERATOR,
        ),
      ),
    ];
    expect((await Promise.all(codes)).map(({ code }) => code)).toEqual([
      'REQUEST_INVALID',
      'REQUEST_INVALID',
      'NOT_FOUND',
    ]);
  });
});

describe('a change of the members', () => {
  const ask = ({ ports }: OperatorBench, kind: Kind, revision: number) =>
    operatorHandlers(ports).changeGroup(
      create(ChangeGroupRequestSchema, { group: 'payments', change: { kind }, revision }),
      OPERATOR,
    );
  const withSites = async (): Promise<OperatorBench> => {
    await database.rows.group({
      spec: { ...SPEC, failoverPolicy: 'manual' },
      domainKeyVersion: 2,
      highestVersion: 3,
    });
    const bench = new OperatorBench(database);
    for (const site of ['a', 'b', 'c', 'd']) bench.hear(site);
    // The bench notes what is intended; what the same transaction writes, the store does.
    bench.ports.reconciler.intend = async (planned, isWanted = async () => true) => {
      const wanted = await database.store.write(bench.leadership.require(), isWanted);
      if (wanted) bench.intended.push(planned);
      return { id: wanted ? `intent-${bench.intended.length}` : '', isNew: wanted };
    };
    return bench;
  };
  const D = { site: 'd', serial: 'serial-d' };

  it('adds a site that joins, has no vote yet, and is completed by an operation', async () => {
    const bench = await withSites();
    const answer = await ask(bench, { case: 'addMember', value: D }, 1);
    expect(answer).toMatchObject({
      operationId: 'intent-1',
      group: { revision: 2, domainKeyDue: true, joining: [{ ...D, waitsFor: 'it does not know its seat' }] },
    });
    const group = await inForce();
    expect([group.members.length, group.joining, group.rotateAbove]).toEqual([3, [D], 3]);
    expect(bench.intended).toMatchObject([{ kind: 'member-join', site: 'd' }]);
    // Again: nothing more.
    expect(await ask(bench, { case: 'addMember', value: D }, 1)).toMatchObject({ operationId: '' });
    expect((await inForce()).revision).toBe(2);
  });

  it('removes a member with its acknowledgements and operations, and orders a new domain key', async () => {
    const bench = await withSites();
    const { rows } = database;
    await rows.captured([generation()]);
    for (const site of ['b', 'c']) await rows.acknowledged(site, { epoch: 1n, number: 4n });
    await rows.intended({ id: 'at-c', kind: 'replication', site: 'c', state: { phase: 'applying' } });
    await rows.intended({ id: 'key', kind: 'domain-key', state: { phase: 'incomplete' } });
    await rows.write((trx) => updateIntent(trx, 'key', { status: 'parked' }, 0));
    await ask(bench, { case: 'removeMember', value: { site: 'c' } }, 1);
    const { members, spec, rotateAbove } = await inForce();
    expect([members.map(({ site }) => site), spec.members.length, rotateAbove]).toEqual([['a', 'b'], 2, 3]);
    const read = await database.store.snapshot(async (db) => ({
      acknowledged: (await db.selectFrom('acknowledgement').select('site').execute()).map(({ site }) => site),
      former: await readFormerSeats(db),
      statuses: [(await readIntent(db, 'at-c'))?.status, (await readIntent(db, 'key'))?.status],
    }));
    expect(read).toEqual({
      acknowledged: ['b'],
      former: [{ group: 'payments', site: 'c', serial: 'serial-c', epoch: 1n, owner: 'a', deleted: false }],
      statuses: ['cancelled', 'cancelled'],
    });
    expect(bench.intended).toMatchObject([{ kind: 'domain-key', site: '' }]);
    expect(await ask(bench, { case: 'removeMember', value: { site: 'c' } }, 1)).toMatchObject({ operationId: '' });
  });

  it('removes the site for which a domain key waits, and ends that one', async () => {
    const bench = await withSites();
    const { rows } = database;
    await rows.intended({ id: 'key', kind: 'domain-key', state: { phase: 'distributing' } });
    const busy = await rejection(ask(bench, { case: 'removeMember', value: { site: 'c' } }, 1));
    expect(busy.code).toBe('GROUP_BUSY');
    await rows.write((trx) => updateIntent(trx, 'key', { attempts: 1 }, 0));
    await ask(bench, { case: 'removeMember', value: { site: 'c' } }, 1);
    expect((await database.store.snapshot((db) => readIntent(db, 'key')))?.status).toBe('cancelled');
    expect([(await inForce()).rotateAbove, bench.intended]).toMatchObject([3, [{ kind: 'domain-key' }]]);
  });

  it('prefers a member that is removed no longer', async () => {
    const bench = await withSites();
    await ask(bench, { case: 'settings', value: { prefer: { sites: ['c', 'b'] } } }, 1);
    await ask(bench, { case: 'removeMember', value: { site: 'c' } }, 2);
    expect((await inForce()).spec.prefer).toEqual(['b']);
  });

  it('forgets that a site was removed when it is added again', async () => {
    const bench = await withSites();
    await ask(bench, { case: 'removeMember', value: { site: 'c' } }, 1);
    await ask(bench, { case: 'addMember', value: { site: 'c', serial: 'serial-c' } }, 2);
    expect([await database.store.snapshot(readFormerSeats), (await inForce()).joining.length]).toEqual([[], 1]);
  });

  it('is refused with the reason and its hint, and changes nothing', async () => {
    const bench = await withSites();
    const error = await rejection(ask(bench, { case: 'removeMember', value: { site: 'a' } }, 1));
    expect([error.code, error.hint]).toEqual(['GROUP_CHANGE_REFUSED', expect.stringContaining('antipode failover')]);
    const renamed = await rejection(ask(bench, { case: 'addMember', value: { site: 'e', serial: 'serial-b' } }, 1));
    expect([renamed.code, renamed.hint]).toEqual(['GROUP_CHANGE_REFUSED', expect.stringContaining('keeps its name')]);
    const stale = ask(bench, { case: 'scratch', value: { partitions: [] } }, 7);
    expect((await rejection(stale)).code).toBe('GROUP_CHANGED');
    expect([(await inForce()).revision, bench.intended]).toEqual([1, []]);
  });

  it('names other scratch partitions', async () => {
    const bench = await withSites();
    await ask(bench, { case: 'scratch', value: { partitions: [{ site: 'd', serial: 'scratch-d' }] } }, 1);
    expect(await inForce()).toMatchObject({ spec: { scratch: [{ site: 'd' }] }, rotateAbove: 3 });
    expect(bench.intended).toMatchObject([{ kind: 'domain-key' }]);
  });
});

describe('the deletion of a group', () => {
  const gone = async (bench: OperatorBench, revision = 1) =>
    operatorHandlers(bench.ports).changeGroup(
      create(ChangeGroupRequestSchema, {
        group: 'payments',
        change: { kind: { case: 'delete', value: {} } },
        revision,
      }),
      OPERATOR,
    );
  const withHistory = async (): Promise<OperatorBench> => {
    const { rows } = database;
    await rows.group({ domainKeyVersion: 2, highestVersion: 3 });
    await rows.captured([generation({ number: 9n })]);
    await rows.acknowledged('b', { epoch: 1n, number: 9n });
    await rows.epoch({ epoch: 4n, owner: 'b', isActive: true });
    await rows.intended({ id: 'open', kind: 'replication', site: 'b', state: { phase: 'applying' } });
    const bench = new OperatorBench(database);
    for (const site of ['a', 'b', 'c']) bench.hear(site, { isSeated: false });
    return bench;
  };

  it('forgets the group, keeps its numbers, and tells every member', async () => {
    const bench = await withHistory();
    expect(await gone(bench)).toEqual({});
    expect((await rejection(inForce())).code).toBe('NOT_FOUND');
    const former = await database.store.snapshot(readFormerSeats);
    expect(former.map(({ site, epoch, deleted }) => [site, epoch, deleted])).toEqual(
      ['a', 'b', 'c'].map((site) => [site, 4n, true]),
    );
    expect((await database.rows.intent('open'))?.status).toBe('cancelled');
    expect(await database.rows.events()).toContain('group-changed');
    // Again: nothing to do. A group that never was there is an error.
    expect(await gone(bench)).toEqual({});
  });

  it('is refused while a failover is under way', async () => {
    const bench = await withHistory();
    await database.rows.epoch({ epoch: 5n, owner: 'c' });
    expect((await rejection(gone(bench))).code).toBe('GROUP_BUSY');
    expect((await inForce()).epoch).toBe(4n);
  });

  it('lets a new group of the name begin above the epochs, versions and numbers of the old one', async () => {
    const bench = await withHistory();
    await gone(bench);
    const spec = create(GroupSpecSchema, specMessage(SPEC));
    const handlers = operatorHandlers(bench.ports);
    const found = () => handlers.createGroup(create(CreateGroupRequestSchema, { spec }), OPERATOR);
    bench.hear('c');
    expect((await rejection(found())).code).toBe('GROUP_BUSY');
    bench.hear('c', { isSeated: false });
    await found();
    const { epoch, firstEpoch, highestVersion, domainKeyVersion } = await inForce();
    expect({ epoch, firstEpoch, highestVersion, domainKeyVersion }).toEqual({
      epoch: 5n,
      firstEpoch: 5n,
      highestVersion: 3,
      domainKeyVersion: 0,
    });
    expect(await database.rows.write((trx) => reserveNumber(trx, 'payments', { seen: 0n }))).toBe(10n);
    expect(bench.intended).toMatchObject([{ kind: 'domain-key' }]);
  });

  it('does not touch a new group of the name when the order for the old one is repeated', async () => {
    const bench = await withHistory();
    await gone(bench);
    const spec = create(GroupSpecSchema, specMessage(SPEC));
    await operatorHandlers(bench.ports).createGroup(create(CreateGroupRequestSchema, { spec }), OPERATOR);
    expect((await rejection(gone(bench))).code).toBe('GROUP_CHANGED');
    expect((await inForce()).revision).toBe(2);
  });
});

describe('the consequences of other rules', () => {
  const rules = { filter: { excludeLabels: ['tmp-*', 'local-*'] } };

  it('are asked of the active member, for the rules of before and after', async () => {
    const bench = await ready();
    const orders: unknown[] = [];
    bench.answer = ({ request }, site) => {
      orders.push([site, request]);
      return { change: { excluded: { objects: 1, ckaIds: ['0a'] }, included: {} } };
    };
    const planned = await plan(bench, rules);
    expect(planned).toMatchObject({ needsConfirmation: true, filter: { excluded: { objects: 1, ckaIds: ['0a'] } } });
    expect(orders).toMatchObject([
      [
        'a',
        {
          serial: 'serial-a',
          filter: { excludeLabels: ['tmp-*', 'local-*'] },
          before: { excludeLabels: ['tmp-*'] },
        },
      ],
    ]);
  });

  it.each([
    ['SITE_UNREACHABLE', 'SITE_UNREACHABLE'],
    [{ rules: [] }, 'earlier release'],
  ] as const)('are unknown where the site answers %o, and do not prevent the change', async (answer, said) => {
    const bench = await ready();
    bench.answer = () => answer as never;
    const { consequences, needsConfirmation, obstacle, filter } = await plan(bench, rules);
    expect([consequences?.[0], needsConfirmation, obstacle, filter]).toEqual([
      expect.stringContaining(said),
      true,
      '',
      undefined,
    ]);
  });
});
