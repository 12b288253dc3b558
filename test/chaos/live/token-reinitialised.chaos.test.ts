/**
 * Somebody initialises the active token again, in its slot: identity, domain keys and all keys are gone. The loss is
 * reported, nothing is buried, and a standby serves. The token comes back as a standby with a new identity.
 */
import { execFileSync } from 'node:child_process';
import { silentLog } from '@antipode/runtime';
import { initialisePartition, loadAgentConfig, pinPartitions } from '@antipode/site-agent';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { USER_PIN } from '../../support/tokens.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start();
  for (const id of ['01', '02', '03']) await system.makeKey('a', id);
  await system.replicate();
});
afterAll(() => system?.close());

const groupNow = async () => (await system.operator.getGroup({ group: GROUP })).group!;

it('is reported, buries nothing, and ends with the token as a standby again', async () => {
  const { token, serial } = system.site('a');
  const env = { ...process.env, ...token.environment };
  const util = (...args: string[]): string => execFileSync('softhsm2-util', args, { env, stdio: 'pipe' }).toString();
  const [, slot] = /Slot (\d+)\s+Slot info:(?:(?!Slot \d).)*Initialized:\s+yes/s.exec(util('--show-slots')) ?? [];
  util('--init-token', '--slot', slot!, '--label', token.label, '--pin', USER_PIN, '--so-pin', '11223344');
  expect(await system.keysAt('a')).toEqual([]);

  const { newest: before } = await groupNow();
  await system.operator.replicate({ group: GROUP }).catch(() => {});
  const group = await system.until('it is told', async () => {
    const now = await groupNow();
    return ['unserved', 'held'].includes(now.protection) && now;
  });
  const { file: configFile } = operatorConfigOf(system.folder);
  const status = await antipode(['status'], { configFile });
  expect(status.code).toBe(4);
  expect(status.stdout).toMatch(/IDENTITY_MISSING|PARTITION_NOT_FOUND|CAPTURE_HELD/);
  expect(group.newest?.generation).toBe(before?.generation);
  for (const site of ['b', 'c']) expect(await system.keysAt(site)).toEqual(['key 01', 'key 02', 'key 03']);

  const moved = await antipode(['failover', GROUP, '--to', 'b', '--yes'], { configFile });
  expect(moved).toMatchObject({ code: 0, stdout: expect.stringContaining('site b is active in epoch 2') });
  await system.makeKey('b', '04');
  await system.until('b replicates to c', () => system.replicate(['c']));

  await system.stopAgent('a');
  const config = loadAgentConfig(system.site('a').configFile);
  const { pin, serial: now } = await initialisePartition({ config, name: 'main', log: silentLog, replaceLost: true });
  expect(now).toBe(serial);
  for (const name of ['a', 'b', 'c'])
    pinPartitions({ config: loadAgentConfig(system.site(name).configFile), group: GROUP, pins: [pin] });
  await system.startAgent('a');
  await system.until('a is up', async () =>
    (await system.operator.getStatus({})).sites.every(({ state }) => state === 'up'),
  );
  const rotated = await antipode(['group', 'rotate-domain-key', GROUP], { configFile });
  expect([rotated.code, rotated.stderr]).toEqual([0, expect.anything()]);
  const { state } = await system.until('a has everything', () => system.replicate(['a', 'c']));
  expect(await system.keysAt('a')).toEqual(['key 01', 'key 02', 'key 03', 'key 04']);
  expect(state.members.map((one) => one.divergentObjects)).toEqual([0, 0, 0]);
  await system.untilProtection('protected');
});
