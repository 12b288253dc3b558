/** An operator pauses and resumes the automation of groups; each pause is on record, with who and why. */
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import { testDatabase } from '../testing/database.ts';
import { OPERATOR, OperatorBench } from '../testing/operator-bench.ts';
import { automationHandlers } from './automation.ts';

const database = testDatabase();
let bench: OperatorBench;
let handlers: ReturnType<typeof automationHandlers>;
beforeEach(async () => {
  await database.rows.group();
  bench = new OperatorBench(database);
  handlers = automationHandlers(bench.ports);
});
const pause = (group: string, reason = '') =>
  handlers.pauseAutomation({ $typeName: 'antipode.v1.PauseAutomationRequest', group, reason }, OPERATOR);
const resume = (group: string) =>
  handlers.resumeAutomation({ $typeName: 'antipode.v1.ResumeAutomationRequest', group }, OPERATOR);

it.each(['payments', ''])('of the group "%s" (or of all) is paused once, and resumed', async (group) => {
  const sinceMs = bench.clock.wallMs();
  expect(await pause(group, 'new firmware')).toEqual({ groups: ['payments'] });
  await bench.clock.advance(5_000);
  await pause(group, 'another reason');
  const { pause: paused } = await database.rows.readGroup();
  expect(paused).toEqual({ sinceMs, operator: 'alice', reason: 'new firmware' });
  await resume(group);
  const after = await database.rows.readGroup();
  expect([after.pause, after.resumedMs]).toEqual([undefined, bench.clock.wallMs()]);
  expect(await database.rows.events()).toEqual(['automation-paused', 'automation-resumed']);
});

it('of a group that does not exist is an error', async () => {
  expect((await rejection(pause('nothing'))).code).toBe('NOT_FOUND');
  expect((await rejection(resume('nothing'))).code).toBe('NOT_FOUND');
});
