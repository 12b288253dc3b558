/**
 * Sites whose heartbeats arrive while their work is not done: real processes, real links and tokens. `status` must not
 * say `up` of them, nor `protected` of their groups.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { statusText } from '@antipode/cli/testing';
import type { GetStatusResponse, SiteState } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LiveAlerts } from '../../support/live-alerts.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
let alerts: LiveAlerts;

beforeAll(async () => {
  system = await TestSystem.start({ processes: ['b'], links: 'recorded', health: true });
  await system.replicate();
  await system.untilProtection('protected');
  alerts = await LiveAlerts.watch(system);
}, 90_000);

afterAll(async () => {
  await alerts?.close();
  await system?.close();
});

const status = (): Promise<GetStatusResponse> => system.operator.getStatus({});
const site = async (name: string): Promise<SiteState> => (await status()).sites.find((one) => one.site === name)!;

/** The status in which the site is mute in this way alone. */
const untilMute = (name: string, kind: string): Promise<GetStatusResponse> =>
  system.until(`site ${name} is mute: ${kind}`, async () => {
    const found = await status();
    const { state, mutenesses } = found.sites.find((one) => one.site === name)!;
    return state === 'mute' && mutenesses.length === 1 && mutenesses[0]!.kind === kind && found;
  });

const untilUp = (name: string): Promise<true> =>
  system.until(`site ${name} is up`, async () => (await site(name)).state === 'up') as Promise<true>;

const concerns = async (): Promise<string[]> => {
  const { group } = await system.operator.getGroup({ group: GROUP });
  return [group!.protection, ...group!.concerns.map((one) => `${one.kind} ${one.site} ${one.errorCode}`)];
};

/** The lines of a metric at the coordinator. */
async function metric(name: string): Promise<string[]> {
  const answer = await fetch(`http://${system.health.get('coordinator')}/metrics`);
  return (await answer.text()).split('\n').filter((line) => line.startsWith(name));
}

it.each([
  ['swallows every call', 'blackHole'],
  ['refuses every connection', 'cut'],
] as const)('tells that nothing reaches an agent whose door %s, though it is heard', async (_what, fault) => {
  const link = system.site('b').inbound!;
  link[fault]();
  const found = await untilMute('b', 'calls');
  const b = found.sites.find((one) => one.site === 'b')!;
  expect(Number(b.silenceMs)).toBeLessThan(1_250);
  expect(['SITE_UNREACHABLE', 'TIMED_OUT']).toContain(b.mutenesses[0]!.errorCode);
  expect(statusText(found)).toMatch(/\bb +mute /);
  expect(statusText(found)).toContain('Site b is heard and does not do its work');
  const [protection, ...doubts] = await concerns();
  expect(protection).not.toBe('protected');
  expect(doubts).toContain(`site b ${b.mutenesses[0]!.errorCode}`);
  expect(await metric('antipode_site_mute{site="b",kind="calls"}')).toEqual([expect.stringMatching(/ 1$/)]);
  expect(await metric('antipode_site_state{site="b",state="up"}')).toEqual([expect.stringMatching(/ 0$/)]);
  link.cut();
  link.heal();
  await untilUp('b');
  await system.untilProtection('protected');
});

it('tells of work that keeps its turn at a partition and does nothing, while others wait', async () => {
  const [partition] = system.agent('c').site.partitions.all;
  const work = Promise.withResolvers<void>();
  const orders: Promise<void>[] = [];
  await alerts.raised(() => {
    orders.push(
      partition!.use(() => work.promise),
      partition!.use(async () => {}),
    );
  }, 'AntipodeSiteMute');
  const found = await untilMute('c', 'turn');
  const [told] = found.sites.find((one) => one.site === 'c')!.mutenesses;
  expect(told).toMatchObject({ serial: system.site('c').serial, errorCode: 'PARTITION_STALLED' });
  expect(Number(told!.ageMs)).toBeGreaterThan(5_000);
  expect(told!.message).toMatch(/[1-9]\d* orders? waits?/);
  expect(statusText(found)).toMatch(/c +mute .* PARTITION_STALLED/);
  expect((await concerns()).slice(1)).toContain('partition c PARTITION_STALLED');
  await alerts.resolved(() => {
    work.resolve();
    return Promise.all(orders);
  }, 'AntipodeSiteMute');
  await untilUp('c');
});

/** Processes that talk to the HSMs of an agent. */
const workersOf = (agent: number): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const parent = Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]);
        return parent === agent && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker/main.ts');
      } catch {
        // It has ended meanwhile.
        return false;
      }
    });

it('tells of an HSM worker that stands still in the middle of its work', async () => {
  const workers = workersOf(system.site('b').process!.pid!);
  expect(workers.length).toBeGreaterThan(0);
  for (const pid of workers) process.kill(pid, 'SIGSTOP');
  // So that work waits for it.
  await system.makeKey('a', '77');
  const captured = system.operator.replicate({ group: GROUP }).catch(() => undefined);
  const found = await untilMute('b', 'hsm');
  expect(statusText(found)).toMatch(/\bb +mute .*HSM_WORKER_LOST/);
  expect((await concerns()).slice(1)).toContain('partition b HSM_WORKER_LOST');
  for (const pid of workers) process.kill(pid, 'SIGCONT');
  await captured;
  await untilUp('b');
  await system.untilProtection('protected');
});
