import { ChangeGroupRequestSchema, type GroupSettingsSchema, PlanGroupChangeRequestSchema } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { readGroup } from '../store/tables/groups.ts';
import { testDatabase } from '../testing/database.ts';
import { SPEC } from '../testing/group.ts';
import { OPERATOR, OperatorBench } from '../testing/operator-bench.ts';
import { operatorHandlers } from './operator.ts';

const database = testDatabase();
type Settings = MessageInitShape<typeof GroupSettingsSchema>;

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
    });
    expect(await inForce()).toMatchObject({ revision: 1, spec: { rpoMs: 300_000 } });
  });

  it('is made at once, leaves an event without rules, and has the next revision', async () => {
    const bench = await ready();
    const answer = await order(bench, { rpoSeconds: 60, filter: { excludeLabels: ['a-secret-name'] } });
    expect(answer).toMatchObject({ operationId: '', group: { revision: 2, spec: { rpoSeconds: 60 } } });
    expect(await inForce()).toMatchObject({ revision: 2, spec: { filter: { excludeLabels: ['a-secret-name'] } } });
    const events = await database.store.query((db) => db.selectFrom('event').selectAll().execute());
    const [told] = events.filter(({ kind }) => kind === 'group-changed');
    expect(JSON.parse(told!.details)).toEqual({ revision: 2, fields: 'filter,rpo_seconds', operator: 'alice' });
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
