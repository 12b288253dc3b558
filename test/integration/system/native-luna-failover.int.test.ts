/**
 * The source of a copy dies while the devices copy, and the tool of the vendor waits for it. The standbys that wait stay
 * standbys: one of them is promoted at once, with the keys that had arrived there, and says which had not.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy, MemberRole, Movement } from '@antipode/protocol';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Fault } from '../../emulators/lunacm/faults.ts';
import type { LunaNetwork } from '../../support/luna-network.ts';
import { lunaNetworkOf } from '../../support/luna-system.ts';
import { paired } from '../../support/softhsm-pair.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

const PINS: Readonly<Record<string, string>> = { a: '77442201', b: '77442202', c: '77442203', scratch: '77442200' };

/** A tool that hangs is waited for as long as its client waits, and half a minute more. */
const SILENCE_MS = 330_000;

let system: TestSystem;
let luna: LunaNetwork;

beforeAll(async () => {
  const tokens = (site: string) => ({ label: `payments-${site}`, pin: PINS[site]! });
  system = await TestSystem.start({ createGroup: false, tokens, timeoutMs: 120_000 });
  luna = await lunaNetworkOf(system, PINS, { processes: ['a'] });
  await system.site('a').token.toolAsync('--keygen', '--key-type', 'aes:32', '--id', '01', '--label', 'key 01');
  // Captures come by order only.
  await system.createGroup(FailoverPolicy.AUTOMATIC, { rpoSeconds: 3_600 });
  const change = { kind: { case: 'settings', value: { movement: Movement.NATIVE } } } as const;
  const plan = await system.operator.planGroupChange({ group: GROUP, change });
  await system.operator.changeGroup({ group: GROUP, change, revision: plan.revision });
  await system.replicate();
  await system.untilProtection('protected');
}, 300_000);
afterAll(() => system?.close());

const fault = (...faults: readonly Fault[]): void =>
  writeFileSync(join(luna.folder, 'faults.json'), JSON.stringify(faults));

/** How many runs of the tool hang, or have hung. */
const hung = (): number =>
  readFileSync(join(luna.folder, 'log.jsonl'), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"hangs"')).length;

/** Processes of the tool. */
const tools = (): string[] =>
  readdirSync('/proc').filter((name) => {
    try {
      return (
        /^\d+$/.test(name) && readFileSync(`/proc/${name}/environ`, 'utf8').includes(`ConfigurationPath=${luna.folder}`)
      );
    } catch {
      // It has ended, or belongs to another user.
      return false;
    }
  });

const membersNow = async () => (await system.operator.getGroup({ group: GROUP })).group!.members;

it('promotes a standby whose copy hangs, in seconds', async () => {
  fault({ command: 'partition clone', at: 2, do: 'hang' });
  for (const id of ['02', '03', '04'])
    await system.site('a').token.toolAsync('--keygen', '--key-type', 'aes:32', '--id', id, '--label', `key ${id}`);
  await system.makeKey('a', '05');
  await system.operator.replicate({ group: GROUP });
  await system.until('both standbys wait for a device', async () => hung() === 2);
  // While they wait, they answer and say what is missing, and nobody takes their HSM for hung.
  await expect
    .poll(async () => (await membersNow()).filter(({ refusedObjects }) => refusedObjects === 3).length, {
      timeout: 60_000,
    })
    .toBe(2);
  for (const name of ['b', 'c'])
    for (const { unansweredMs } of (await system.order(name).describe({})).partitions) expect(unansweredMs).toBe(0);

  const startMs = systemClock.monotonicMs();
  await system.site('a').process!.killAll();
  luna.change(paired(system.site('a').token).serial, { isReachable: false });
  const active = await system.until('another site is active', async () => {
    const { site } = await system.operator.resolve({ group: GROUP });
    return site !== 'a' && site;
  });
  const tookMs = systemClock.monotonicMs() - startMs;
  expect(tookMs).toBeLessThan(SILENCE_MS / 5);
  await system.failedOver();

  // It serves what is sealed, and the one key that had arrived. The others are exceptions, and no key is there twice.
  expect(await system.keysAt(active)).toEqual(['key 01', expect.stringMatching(/^key 0[234]$/), 'key 05']);
}, 300_000);

it('has ended the tool of the member that serves', async () => {
  fault();
  const { site: active } = await system.operator.resolve({ group: GROUP });
  expect(active).not.toBe('a');
  await expect.poll(() => tools().length, { timeout: 60_000 }).toBe(0);
});

it('recognises what had arrived, and goes on with the next generation', async () => {
  const { site: active } = await system.operator.resolve({ group: GROUP });
  const other = active === 'b' ? 'c' : 'b';
  await system.makeKey(active, '06');
  const { state } = await system.replicate([other]);
  expect(state.newest?.uncaptured).toEqual([]);
  expect((await membersNow()).map(({ unaccountedObjects }) => unaccountedObjects)).toEqual([0, 0, 0]);
  await expect.poll(() => system.keysAt(other), { timeout: 60_000 }).toEqual(await system.keysAt(active));
}, 300_000);

it('has told which generation was lost, and takes none of its keys for deleted once they are back', async () => {
  const { site: active } = await system.operator.resolve({ group: GROUP });
  const { outcome } = (await system.operator.listOperations({ group: GROUP, limit: 20 })).operations.find(
    ({ kind }) => kind === 'failover',
  )!;
  expect(outcome.case === 'failover' && outcome.value.lost).toHaveLength(1);
  const serving = await system.keysAt(active);
  expect(serving).toHaveLength(4);
  luna.change(paired(system.site('a').token).serial, { isReachable: true });
  await system.startAgent('a');
  await system.until('a stands by', async () =>
    (await membersNow()).some(({ site, role }) => site === 'a' && role === MemberRole.STANDBY),
  );
  await system.insistent('a is brought up to date', () => system.replicate(['a']));
  // Two keys are nowhere else. They stay, and operators see that there are two.
  expect(await system.keysAt('a')).toEqual(['01', '02', '03', '04', '05', '06'].map((id) => `key ${id}`));
  expect(await system.keysAt(active)).toEqual(serving);
  const at = (await membersNow()).map(({ site, divergentObjects }) => [site, divergentObjects]);
  expect(at.sort()).toEqual(['a', 'b', 'c'].map((site) => [site, site === 'a' ? 2 : 0]));
}, 300_000);
