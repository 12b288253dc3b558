/**
 * The cost of a scrape of a large fleet, between two readings of the database. Series and bytes grow with the groups, and
 * by the same for each: no label has more values where there are more groups. The processor time is a ratio.
 */
import { HealthServer, METRIC_REASONS, Metrics } from '@antipode/runtime';
import { expect, it } from 'vitest';
import type { GroupReadings } from '../rpc/groups/group-readings.ts';
import { testDatabase } from '../testing/database.ts';
import { OperatorBench } from '../testing/operator-bench.ts';
import { addCoordinatorMetrics } from './coordinator-metrics.ts';

const SMALL = 250;
const LARGE = 1_000;
/** A group of three members that has drills, two reasons of objects that are not captured, and a concern. */
const SERIES_OF_GROUP = 35;
/** So a page of a thousand groups stays under 2.5 MB. */
const BYTES_OF_GROUP_MAX = 2_500;
/** By the number of groups it would be 4. */
const CPU_RATIO_MAX = 12;

const database = testDatabase();

interface Scrape {
  readonly series: number;
  readonly bytes: number;
  readonly cpuMs: number;
}

it('is the same for each of a thousand groups as for each of two hundred and fifty', async () => {
  const bench = new OperatorBench(database);
  const metrics = new Metrics({ role: 'coordinator', name: 'main', clock: bench.clock });
  let groups = measured(1);
  const current: GroupReadings['current'] = async (epoch) => ({
    groups,
    unreadable: [],
    epoch,
    atMs: 0,
    tookMs: 1_000,
  });
  addCoordinatorMetrics(metrics, bench.ports, { current, forget: () => {} });
  const health = { ok: true, checks: {} };
  const server = new HealthServer({ live: () => health, ready: () => health, metrics });
  const port = await server.listen('127.0.0.1:0');
  const scrape = async (): Promise<Scrape> => {
    const before = process.cpuUsage();
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const { user, system } = process.cpuUsage(before);
    const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
    return { series, bytes: text.length, cpuMs: (user + system) / 1_000 };
  };
  try {
    // The first ones also compile what all of them run.
    for (let count = 0; count < 5; count += 1) await scrape();
    groups = measured(SMALL);
    const small = await scrape();
    groups = measured(LARGE);
    const large = await scrape();
    expect((large.series - small.series) / (LARGE - SMALL)).toBe(SERIES_OF_GROUP);
    expect((large.bytes - small.bytes) / (LARGE - SMALL)).toBeLessThan(BYTES_OF_GROUP_MAX);
    expect(large.cpuMs / small.cpuMs).toBeLessThan(CPU_RATIO_MAX);
  } finally {
    await server.close();
  }
}, 30_000);

/** Groups of three members, named by their numbers, of which everything is known. */
const measured = (count: number): Awaited<ReturnType<GroupReadings['current']>>['groups'] =>
  Array.from({ length: count }, (_, number) => ({
    name: `group-${String(number).padStart(4, '0')}`,
    protection: 'protected',
    rpoMs: 300_000,
    epoch: 1n,
    ages: { recoveryPointMs: 1_000, restorableMs: 2_000, drillMs: 2_000 },
    drillPassed: true,
    counts: { protectedKeys: 1_000, unprotectedKeys: 2, uncaptured: METRIC_REASONS.slice(0, 2) },
    members: ['a', 'b', 'c'].map((site, at) => ({
      site,
      role: at === 0 ? 'active' : 'standby',
      recoveryPointMs: at === 0 ? undefined : 1_000,
      lagMs: at === 0 ? undefined : 0,
    })),
    concerns: ['site'],
  }));
