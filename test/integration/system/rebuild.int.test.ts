/**
 * The database of the coordinator is gone, without any backup. A coordinator adopts the group from its sites, by the
 * command, while the active member serves and another member is silent. A whole system on real tokens.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { MemberRole } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { RogueSite } from '../../attacks/support/rogue-site.ts';
import { antipode } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

vi.setConfig({ testTimeout: 150_000, hookTimeout: 150_000 });

const EXCLUDED = 'ee';
let system: TestSystem;
let config: string;
let before: bigint;
let ports: Map<string, number>;
const rogues: RogueSite[] = [];

beforeAll(async () => {
  system = await TestSystem.start({ processes: ['coordinator'], rpoSeconds: 86_400 });
  config = join(system.folder, 'coordinator', 'coordinator.yaml');
  await system.makeKey('a', '01');
  await system.replicate();
  await system.moveTo('b');
  const change = { kind: { case: 'settings' as const, value: { filter: { excludeIds: [EXCLUDED] } } } };
  const { revision } = await system.operator.planGroupChange({ group: GROUP, change });
  await system.operator.changeGroup({ group: GROUP, change, revision });
  await system.makeKey('b', EXCLUDED);
  await system.makeKey('b', '02');
  await system.insistent('both keys are looked at', () => system.replicate(['a', 'c']));
  before = (await system.operator.getGroup({ group: GROUP })).group!.epoch;
  ports = new Map(['a', 'b', 'c'].map((site) => [site, system.agent(site).port]));
  await system.until('b knows who vouches for it', async () => system.agent('b').site.vouched.groups.includes(GROUP));
  const agent = system.order('b');
  const told = await agent.tellGroups({});
  agent.close();
  expect(Number(told.coordinatorSilentMs)).toBeLessThan(5_000);
  expect(told.groups.map(({ vouchers }) => [...vouchers].sort())).toEqual([['a', 'c']]);
  await system.coordinatorProcess!.stop();
  rmSync(join(system.folder, 'coordinator', 'data', 'postgres'), { recursive: true });
  await system.stopAgent('c');
});
afterAll(async () => {
  for (const rogue of rogues) await rogue.close();
  await system?.close();
});

const rebuild = (...words: string[]) => {
  const sites = [...ports].flatMap(([site, port]) => ['--site', `${site}=localhost:${port}`]);
  return antipode(['coordinator', 'rebuild', ...sites, ...words, '--config', config, '--json']);
};
const activeNow = () =>
  ['a', 'b', 'c'].filter(
    (site) =>
      system
        .site(site)
        .agent?.site.journal.tenure.seats()
        .some(({ role }) => role === 'active') ?? false,
  );

/** A site with a certificate of the trust domain, which answers for itself what a test says. */
async function rogue(
  name: string,
  { members, trusted }: { members: readonly Seat[]; trusted: readonly string[] },
): Promise<RogueSite> {
  const site = await RogueSite.start(system, name);
  rogues.push(site);
  site.serves = {
    describe: async () => ({ site: name, members: members.map((seat) => ({ role: MemberRole.ACTIVE, ...seat })) }),
    tellGroups: async () => ({
      groups: members.map(({ group }) => ({
        group,
        trusted: trusted.map((one) => ({ site: one, serial: system.site(one).serial, role: 'member' })),
        filter: {},
        vouchers: [],
      })),
    }),
  };
  return site;
}

interface Seat {
  readonly group: string;
  readonly serial: string;
  readonly epoch: bigint;
  readonly epochOwner: string;
}

/** As a dry run tells it, with these sites in the place of those that have their names. */
async function planBeside(
  ...liars: RogueSite[]
): Promise<{ group: string; verdict: string; [key: string]: unknown }[]> {
  const places = new Map([...ports].map(([site, port]) => [site, `localhost:${port}`]));
  for (const { name, address } of liars) places.set(name, address);
  const sites = [...places].flatMap(([site, address]) => ['--site', `${site}=${address}`]);
  const { code, stdout } = await antipode([
    'coordinator',
    'rebuild',
    ...sites,
    '--dry-run',
    '--config',
    config,
    '--json',
  ]);
  expect([code, liars.map(({ calls }) => calls.includes('tellGroups'))]).toEqual([0, liars.map(() => true)]);
  return JSON.parse(stdout).groups;
}

it('is adopted by nobody where one site of three is believed', async () => {
  const { code, stderr } = await rebuild('--without', 'b', '--yes');
  expect(code).not.toBe(0);
  expect(stderr).toContain('REBUILD_REFUSED');
});

it('shows what it would adopt, and changes nothing in a dry run', async () => {
  const { code, stdout } = await rebuild('--dry-run');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ silent: [{ site: 'c' }], known: [], groups: [{ verdict: 'adopt' }] });
});

it.each<[string, () => bigint, string[]]>([
  ['one above', () => before + 1n, []],
  ['2^53', () => 2n ** 53n, ['c']],
])('believes no member that reports an epoch of its own, %s', async (_what, epoch, leftOut) => {
  const { serial } = system.site('c');
  const seat = { group: GROUP, serial, epoch: epoch(), epochOwner: 'c' };
  const [plan, ...more] = await planBeside(await rogue('c', { members: [seat], trusted: ['a', 'b'] }));
  expect(more).toEqual([]);
  expect(plan).toMatchObject({ verdict: 'adopt', epoch: Number(before), owner: 'b' });
  expect((plan!['leftOut'] as { site: string }[]).map(({ site }) => site)).toEqual(leftOut);
  expect((plan!['members'] as { role: string }[]).filter(({ role }) => role === 'active')).toHaveLength(1);
});

it('gives no seat to a site that nobody trusts, and no partition of another site to anybody', async () => {
  const stolen = { serial: system.site('b').serial, epoch: before, epochOwner: 'd' };
  const members = [
    { ...stolen, group: GROUP },
    { ...stolen, group: 'ghost' },
  ];
  const plans = await planBeside(await rogue('d', { members, trusted: ['a', 'b', 'c'] }));
  expect(plans.map(({ group, verdict }) => [group, verdict])).toEqual([
    ['ghost', 'undecided'],
    [GROUP, 'adopt'],
  ]);
  expect(plans[1]).toMatchObject({ owner: 'b', epoch: Number(before), leftOut: [{ site: 'd' }] });
  expect((plans[1]!['members'] as { site: string }[]).map(({ site }) => site).sort()).toEqual(['a', 'b', 'c']);
});

it('takes the partition of another member for no seat of the one that names it', async () => {
  const seat = { group: GROUP, serial: system.site('b').serial, epoch: before, epochOwner: 'c' };
  const [plan] = await planBeside(await rogue('c', { members: [seat], trusted: ['a', 'b'] }));
  expect(plan).toMatchObject({ verdict: 'adopt', owner: 'b', leftOut: [{ site: 'c' }] });
  expect((plan!['members'] as { site: string }[]).map(({ site }) => site).sort()).toEqual(['a', 'b']);
});

it('refuses beside a coordinator that answers a site', async () => {
  const site = await rogue('d', { members: [], trusted: [] });
  site.serves = { ...site.serves, tellGroups: async () => ({ coordinatorSilentMs: 0n }) };
  const { code, stderr } = await rebuild('--site', `d=${site.address}`, '--yes');
  expect(code).not.toBe(0);
  expect(stderr).toContain('a coordinator answered site d');
});

it('adopts seats, epoch and filter from the agents, and the group goes on', async () => {
  const { code, stdout } = await rebuild('--yes');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    adopted: [GROUP],
    groups: [
      {
        epoch: Number(before),
        owner: 'b',
        isOwnerHeard: true,
        vouchers: ['a', 'c'],
        filter: { excludeIds: [EXCLUDED] },
        scratch: [{ site: 'c', serial: system.site('c').scratchSerial }],
        leftOut: [],
      },
    ],
  });
  expect(JSON.parse(stdout).groups[0].members).toMatchObject([
    { site: 'a', role: 'standby' },
    { site: 'b', role: 'active' },
    { site: 'c', role: 'fenced', serial: system.site('c').serial },
  ]);
  // A second time there is nothing to adopt.
  expect((await rebuild('--yes')).stderr).toContain('has every group');

  await system.startCoordinator({ asProcess: true });
  await system.untilActive('b');
  expect(activeNow()).toEqual(['b']);
  await system.makeKey('b', '03');
  await system.insistent('the next key is replicated', () => system.replicate(['a']));
  expect(await system.keysAt('a')).toEqual(['key 01', 'key 02', 'key 03']);
  expect((await system.operator.getGroup({ group: GROUP })).group!.epoch).toBe(before);
});

it('takes the silent member in again, drills there, and moves', async () => {
  await system.startAgent('c');
  await system.insistent('c has the next key', async () => {
    await system.makeKey('b', '04');
    await system.replicate(['a', 'c']);
  });
  await system.insistent('c is drilled', async () => {
    await system.ended((await system.operator.runDrill({ group: GROUP, site: 'c' })).operationId);
  });
  await system.moveTo('c');
  await system.untilActive('c');
  expect(activeNow()).toEqual(['c']);
  expect((await system.operator.getGroup({ group: GROUP })).group!.epoch).toBeGreaterThan(before);
  expect(await system.keysAt('c')).not.toContain(`key ${EXCLUDED}`);
});
