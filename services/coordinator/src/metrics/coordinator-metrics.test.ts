import { AntipodeError, Metrics, seededPrng, silentLog } from '@antipode/runtime';
import { beforeEach, expect, it } from 'vitest';
import { type Hook, hookFailed } from '../hooks/hook.ts';
import { SEVERITIES } from '../notices/causes.ts';
import { Heartbeats } from '../notices/heartbeat.ts';
import { Receivers } from '../notices/receivers.ts';
import { GroupReadings } from '../rpc/groups/group-readings.ts';
import type { RpcPorts } from '../rpc/ports.ts';
import { putNotice } from '../store/tables/notices.ts';
import { testDatabase } from '../testing/database.ts';
import { SPEC } from '../testing/group.ts';
import { OperatorBench } from '../testing/operator-bench.ts';
import { addCoordinatorMetrics } from './coordinator-metrics.ts';

const database = testDatabase();
let bench: OperatorBench;
let metrics: Metrics;

/** Of the coordinator with these ports in place of the bench's. */
function measure(instead: Partial<RpcPorts> = {}): void {
  metrics = new Metrics({ role: 'coordinator', name: 'main', clock: bench.clock });
  const ports = { ...bench.ports, ...instead };
  addCoordinatorMetrics(metrics, ports, new GroupReadings(ports));
}

beforeEach(() => {
  bench = new OperatorBench(database);
  measure();
});

/** The samples of a metric, by their labels. */
async function samples(name: string): Promise<Record<string, number | object>> {
  const family = (await metrics.collect()).find((one) => one.name === name);
  return Object.fromEntries(
    (family?.samples ?? []).map(({ labels, value }) => [Object.values(labels).join(' '), value]),
  );
}

const known = async (): Promise<string[]> =>
  Object.entries(await samples('antipode_metrics_known')).flatMap(([labels, value]) =>
    value === 1 ? [labels.split(' ')[2]!] : [],
  );

it('says nothing of groups, sites and tables while another coordinator leads', async () => {
  await database.rows.group();
  bench.hear('a');
  bench.leadership.epoch = undefined;
  expect(await samples('antipode_coordinator_leads')).toEqual({ main: 0 });
  const names = (await metrics.collect()).map(({ name }) => name);
  expect(names).toEqual(['antipode_metrics_known', 'antipode_coordinator_leads', 'antipode_queue_up']);
});

it('has no age of a recovery point and of a proof that there is not, and says so by the state', async () => {
  await database.rows.group();
  bench.hear('a');
  expect(await samples('antipode_group_recovery_point_age_seconds')).toEqual({});
  expect(await samples('antipode_group_restorable_age_seconds')).toEqual({});
  expect(await samples('antipode_drill_last_passed')).toEqual({});
  expect(await samples('antipode_group_protected_keys')).toEqual({});
  expect(await samples('antipode_group_protection')).toMatchObject({
    'payments unprotected': 1,
    'payments protected': 0,
  });
  expect(await samples('antipode_group_recovery_point_objective_seconds')).toEqual({ payments: SPEC.rpoMs / 1_000 });
});

it('makes the counters of a group before anything has happened, so that the first event is a rise', async () => {
  await database.rows.group();
  await metrics.collect();
  expect(await samples('antipode_failovers_total')).toEqual({
    'payments automatic done': 0,
    'payments automatic failed': 0,
    'payments operator done': 0,
    'payments operator failed': 0,
  });
});

it('counts the queue by kind, 0 included, and knows how long the oldest operation waits', async () => {
  await database.rows.group();
  await database.rows.intended({ id: 'one', kind: 'capture', site: 'a', createdMs: bench.clock.wallMs() - 5_000 });
  const open = await samples('antipode_operations_open');
  expect(open).toMatchObject({ 'capture open': 1, 'capture parked': 0, 'drill open': 0 });
  expect(await samples('antipode_operations_oldest_age_seconds')).toEqual({ 'capture open': 5 });
});

it('knows the size of every table', async () => {
  const bytes = await samples('antipode_table_bytes');
  expect(bytes['intent']).toBeGreaterThan(0);
  expect(Object.keys(bytes).length).toBeGreaterThan(20);
});

it('counts the notices that are raised, and what a receiver has not accepted, where there is one', async () => {
  expect(await samples('antipode_notices_open')).toEqual({});
  const { clock } = bench;
  const hook: Hook = { name: 'desk', call: () => Promise.reject(hookFailed('desk', 'away', 'receiver')) };
  const all = [{ hook, way: 'web', severities: SEVERITIES, groups: [], resolved: true }];
  const rest = { clock, log: silentLog, election: bench.leadership };
  const receivers = new Receivers(all, {
    ...rest,
    store: database.store,
    toWallMs: (atMs) => atMs,
    groupsAt: () => [],
    prng: seededPrng('metrics'),
    factor: 1,
  });
  const beat = async () => ({ isAccepted: true, reason: '' });
  const heartbeats = new Heartbeats([{ name: 'watch', everyMs: 1_000, beat }], { ...rest, obstacle: () => undefined });
  measure({ notifying: { receivers, heartbeats } });
  await receivers.pass('desk');
  const [sinceMs, raisedMs] = [clock.wallMs(), clock.wallMs()];
  await database.rows.write((trx) =>
    putNotice(trx, { id: 'n@1', kind: 'site-down', group: '', site: 'b', text: '', sinceMs, raisedMs }),
  );
  await clock.advance(10_000);
  await Promise.all([receivers.pass('desk'), heartbeats.pass('watch')]);
  await clock.advance(5_000);
  expect(await samples('antipode_notices_open')).toEqual({ page: 1, ticket: 0, info: 0 });
  expect(await samples('antipode_notices_undelivered')).toEqual({ desk: 1 });
  expect(await samples('antipode_notice_receiver_failing_seconds')).toEqual({ desk: 5 });
  expect(await samples('antipode_notice_heartbeat_age_seconds')).toEqual({ watch: 5 });
});

it('counts the groups that cannot be planned by code', async () => {
  const trouble = (group: string, code: 'DATABASE_UNAVAILABLE' | 'TIMED_OUT') => ({
    group,
    error: new AntipodeError(code, 'trouble'),
    sinceMs: 0,
  });
  const troubles = [trouble('one', 'TIMED_OUT'), trouble('two', 'TIMED_OUT'), trouble('', 'DATABASE_UNAVAILABLE')];
  measure({ reconciler: { ...bench.ports.reconciler, troubles } });
  expect(await samples('antipode_planning_failures')).toEqual({ TIMED_OUT: 2, DATABASE_UNAVAILABLE: 1 });
});

it('tells of a site that is heard and mute: as its state, and in which way', async () => {
  bench.hear('a');
  expect(await samples('antipode_site_mute')).toMatchObject({ 'a calls': 0, 'a turn': 0 });
  for (const _attempt of [1, 2]) {
    bench.detector.called('a', new AntipodeError('SITE_UNREACHABLE', 'no connection'));
    await bench.clock.advance(60_000);
    bench.hear('a');
  }
  expect(await samples('antipode_site_mute')).toMatchObject({ 'a calls': 1, 'a turn': 0 });
  expect(await samples('antipode_site_state')).toMatchObject({ 'a up': 0, 'a mute': 1 });
});

it('a queue that delivers nothing does not count as up', async () => {
  expect(await samples('antipode_queue_up')).toEqual({ main: 1 });
  measure({ reconciler: { ...bench.ports.reconciler, isQueueMute: true } });
  expect(await samples('antipode_queue_up')).toEqual({ main: 0 });
});

it('leaves out what needs the database while it is away, and tells of the sites all the same', async () => {
  bench.hear('a');
  const away = () => Promise.reject(new AntipodeError('DATABASE_UNAVAILABLE', 'away'));
  measure({ store: { query: away, snapshot: away, write: away } });
  expect((await known()).sort()).toEqual(['coordinator', 'sites']);
  expect(await samples('antipode_site_state')).toMatchObject({ 'a up': 1, 'a down': 0 });
  expect(await samples('antipode_group_protection')).toEqual({});
  expect(await samples('antipode_operations_open')).toEqual({});
});

it('does not read a large fleet again for each scrape, and counts ages on meanwhile', async () => {
  await database.rows.group();
  let readings = 0;
  // Every reading takes a second of the clock.
  const snapshot: RpcPorts['store']['snapshot'] = async (look) => {
    readings += 1;
    await bench.clock.advance(500);
    return database.store.snapshot(look);
  };
  const { store } = database;
  measure({ store: { snapshot, query: (look) => store.query(look), write: (...all) => store.write(...all) } });
  expect(await samples('antipode_groups_read_age_seconds')).toEqual({ main: 1 });
  const first = readings;
  await bench.clock.advance(4_000);
  expect(await samples('antipode_groups_read_age_seconds')).toEqual({ main: 5 });
  expect(readings).toBe(first);
  await bench.clock.advance(6_000);
  expect(await samples('antipode_groups_read_age_seconds')).toEqual({ main: 1 });
  expect(readings).toBe(first * 2);
});
