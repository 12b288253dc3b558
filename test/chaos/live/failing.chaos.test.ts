/** A status is a claim: what failed the last time is shown at once, and not when the objective has passed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy, type GroupState } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode } from '../../support/command.ts';
import { type LyingToken, lying, type Order } from '../../support/devices/lying-token.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { SOFTHSM_MODULE } from '../../support/tokens.ts';

let system: TestSystem;
const devices = new Map<string, LyingToken>();

beforeAll(async () => {
  system = await TestSystem.start({ failoverPolicy: FailoverPolicy.MANUAL });
  for (const name of ['a', 'b']) {
    const { token, configFile } = system.site(name);
    const device = lying(token);
    devices.set(name, device);
    await system.stopAgent(name);
    writeFileSync(configFile, readFileSync(configFile, 'utf8').replace(SOFTHSM_MODULE, device.config.module));
    await system.startAgent(name);
  }
  await system.makeKey('a', '01');
  await system.until('it is replicated', () => system.replicate());
});
afterAll(() => system?.close());

const groupNow = async (): Promise<GroupState> => (await system.operator.getGroup({ group: GROUP })).group!;
const status = () => antipode(['status'], { configFile: join(system.folder, 'operator', 'operator.yaml') });
const untilProtected = () => system.untilProtection('protected');

it.each<[string, string, Order]>([
  ['replication', 'b', { lie: 'refuse', code: 'CKR_DEVICE_MEMORY', function: 'C_UnwrapKey' }],
  ['capture', 'a', { lie: 'refuse', code: 'CKR_DEVICE_MEMORY', function: 'C_FindObjectsInit' }],
])(
  'a %s that fails at %s is shown at once, with its reason, and is over with the next that succeeds',
  async (kind, site, order) => {
    await untilProtected();
    await system.until('status says that all is well', async () => (await status()).code === 0);
    const device = devices.get(site)!;
    device.tell(order);
    await system.makeKey('a', kind === 'capture' ? '02' : '03');
    await system.operator.replicate({ group: GROUP });
    const group = await system.until('it is shown', async () => {
      const now = await groupNow();
      return now.concerns.some((concern) => concern.kind === kind) && now;
    });
    const { recoveryPointAgeMs, spec, protection } = group;
    // By its numbers it is as good as ever.
    expect(Number(recoveryPointAgeMs)).toBeLessThan(Number(spec?.rpoSeconds) * 1_000);
    expect(protection).toBe('failing');
    expect(group.concerns.find((concern) => concern.kind === kind)).toMatchObject({ site, errorCode: 'HSM_FULL' });
    const shown = await status();
    expect(shown).toMatchObject({ code: 4 });
    expect(shown.stdout).toMatch(new RegExp(`the last ${kind} failed at site ${site}, since .*: \\[HSM_FULL\\]`));
    device.tell();
    expect((await untilProtected()).concerns).toEqual([]);
  },
);

it('a standby that is not heard is shown when it is suspect, long before it lags', async () => {
  await untilProtected();
  await system.stopAgent('c');
  const group = await system.until('it is shown', async () => {
    const now = await groupNow();
    return now.concerns.some(({ kind, site }) => kind === 'site' && site === 'c') && now;
  });
  expect(group.protection).toBe('failing');
  expect(group.concerns).toMatchObject([{ kind: 'site', site: 'c' }]);
  await system.startAgent('c');
  await untilProtected();
});
