/** The plan of a reseat, as an operator sees it. */
import { PlanReseatRequestSchema } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { testDatabase } from '../../testing/database.ts';
import { SPEC } from '../../testing/group.ts';
import { OPERATOR, OperatorBench } from '../../testing/operator-bench.ts';
import { operatorHandlers } from '../operator.ts';

const database = testDatabase();

it('names the sites that a new leader has not heard yet: one of them may contradict the database', async () => {
  const bench = new OperatorBench(database);
  await database.rows.group({ spec: { ...SPEC, witnesses: ['w'] } });
  const sites = ['a', 'b', 'c', 'w'];
  bench.detector.expect(sites.map((site) => ({ site, address: `${site}:1` })));
  const obstacle = async (): Promise<string> => {
    const request = create(PlanReseatRequestSchema, { group: 'payments' });
    return (await operatorHandlers(bench.ports).planReseat(request, OPERATOR)).obstacle ?? '';
  };
  for (const site of ['a', 'b']) bench.hear(site);
  expect(await obstacle()).toContain('site c, w');
  for (const site of ['c', 'w']) bench.hear(site);
  expect(await obstacle()).not.toContain('site c');
});
