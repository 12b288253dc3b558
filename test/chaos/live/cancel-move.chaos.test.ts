/** A planned move is cancelled while its target catches up: real processes, and the commands of an operator. */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { type LyingToken, lying } from '../../support/devices/lying-token.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { SOFTHSM_MODULE } from '../../support/tokens.ts';

let system: TestSystem;
let device: LyingToken;
beforeAll(async () => {
  system = await TestSystem.start({ processes: ['a', 'c', 'coordinator'] });
  const { token, configFile } = system.site('b');
  device = lying(token);
  await system.stopAgent('b');
  writeFileSync(configFile, readFileSync(configFile, 'utf8').replace(SOFTHSM_MODULE, device.config.module));
  await system.startAgent('b', { asProcess: true });
  for (const id of ['01', '02', '03']) await system.makeKey('a', id);
  await system.until('they are replicated', () => system.replicate());
});
afterAll(() => system?.close());

it('nothing was changed, the active site serves on, and the next move works', async () => {
  const { file: configFile } = operatorConfigOf(system.folder);
  device.tell({ lie: 'delay', ms: 4_000, function: 'C_GetAttributeValue' });
  const moving = antipode(['failover', GROUP, '--to', 'b', '--yes'], { configFile });
  const operation = await system.until('the target catches up', async () =>
    (await system.operator.listOperations({ group: GROUP, limit: 10 })).operations.find(
      ({ kind, phase }) => kind === 'failover' && phase === 'catching-up',
    ),
  );
  const cancelled = await antipode(['operation', 'cancel', operation.id], { configFile });
  expect([cancelled.code, cancelled.stderr]).toEqual([0, expect.not.stringContaining('[')]);
  const moved = await moving;
  expect(moved).toMatchObject({ code: 1, stderr: expect.stringContaining('[OPERATION_CANCELLED]') });
  device.tell();
  const { operations } = await system.operator.listOperations({ group: GROUP, limit: 10 });
  expect(operations.find(({ id }) => id === operation.id)).toMatchObject({ status: 'cancelled' });
  const again = await antipode(['operation', 'cancel', operation.id], { configFile });
  expect(again.code).not.toBe(0);
  await system.makeKey('a', '04');
  const { state } = await system.until('captures go on', () => system.replicate());
  expect(state).toMatchObject({ activeSite: 'a', epoch: 1n });
  const next = await antipode(['failover', GROUP, '--to', 'b', '--yes'], { configFile });
  expect(next).toMatchObject({ code: 0, stdout: expect.stringContaining('site b is active in epoch 2') });
});
