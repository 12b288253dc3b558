import { expect, it } from 'vitest';
import { AntipodeError } from '../errors.ts';
import { Log } from '../log.ts';
import { FakeClock } from '../testing/index.ts';
import { exposed, expositionFor } from './exposition.ts';
import { bucketOf, Metrics } from './metrics.ts';

const LABELS = { role: 'agent', name: 'a' };

function agent(): { metrics: Metrics; clock: FakeClock; lines: string[] } {
  const clock = new FakeClock();
  const lines: string[] = [];
  const log = new Log({ level: 'info', format: 'text', clock, write: (line) => lines.push(line) });
  return { metrics: new Metrics({ role: 'agent', name: 'a', clock, log }), clock, lines };
}

const shown = async (metrics: Metrics, form: 'prometheus' | 'openmetrics' = 'prometheus'): Promise<string> =>
  exposed(await metrics.collect(), form);

it('leaves out what is not known, and never shows it as 0', async () => {
  const { metrics } = agent();
  metrics.part('agent', (set) => {
    set('antipode_coordinator_silence_seconds', { site: 'a' }, undefined);
    set('antipode_agent_term', { site: 'a' }, 7n);
    set('antipode_clock_offset_seconds', { site: 'a' }, Number.NaN);
    set('antipode_peer_reached', { site: 'a', peer: 'b' }, false);
  });
  const text = await shown(metrics);
  expect(text).toContain('antipode_agent_term{site="a"} 7\n');
  expect(text).toContain('antipode_peer_reached{site="a",peer="b"} 0\n');
  expect(text).not.toMatch(/silence|offset/);
});

it('leaves out all of a part that fails half way, says so, and logs its beginning and its end once', async () => {
  const { metrics, lines } = agent();
  let isAway = true;
  metrics.part('leases', (set) => {
    set('antipode_lease_remaining_seconds', { site: 'a', group: 'one' }, 3);
    if (isAway) throw new AntipodeError('DATABASE_UNAVAILABLE', 'away');
  });
  for (const _scrape of [1, 2]) {
    const text = await shown(metrics);
    expect(text).toContain('antipode_metrics_known{role="agent",name="a",part="leases"} 0\n');
    expect(text).not.toContain('antipode_lease_remaining_seconds');
  }
  isAway = false;
  expect(await shown(metrics)).toContain('antipode_lease_remaining_seconds{site="a",group="one"} 3\n');
  expect(lines.map((line) => line.slice(13, 18).trim())).toEqual(['warn', 'info']);
});

it('does not wait for a part that takes too long', async () => {
  const { metrics, clock } = agent();
  metrics.part('leases', () => new Promise(() => {}));
  metrics.part('agent', (set) => set('antipode_agent_term', { site: 'a' }, 7));
  const text = shown(metrics);
  await clock.advance(5_000);
  expect(await text).toContain('antipode_metrics_known{role="agent",name="a",part="leases"} 0\n');
  expect(await text).toContain('antipode_agent_term{site="a"} 7\n');
});

it('reads once for all who ask at the same time', async () => {
  const { metrics } = agent();
  let readings = 0;
  metrics.part('agent', () => {
    readings += 1;
  });
  await Promise.all([metrics.collect(), metrics.collect()]);
  expect(readings).toBe(1);
  await metrics.collect();
  expect(readings).toBe(2);
});

it('counts one series under one set of labels, whatever their order, and makes it by counting 0', async () => {
  const { metrics } = agent();
  metrics.count('antipode_drills_total', { group: 'one', outcome: 'failed' }, 0);
  metrics.count('antipode_drills_total', { outcome: 'done', group: 'one' });
  metrics.count('antipode_drills_total', { group: 'one', outcome: 'done' }, 2);
  expect((await shown(metrics)).split('\n').filter((line) => line.startsWith('antipode_drills'))).toEqual([
    'antipode_drills_total{group="one",outcome="failed"} 0',
    'antipode_drills_total{outcome="done",group="one"} 3',
  ]);
});

it('sorts observations into buckets whose bounds belong to them, and adds those of elsewhere', async () => {
  expect([0.5, 0.500_1, 3_600, 3_601].map((value) => bucketOf([0.5, 3_600], value))).toEqual([0, 1, 1, 2]);
  const { metrics } = agent();
  const labels = { site: 'a', partition: 'main', function: 'C_Sign' };
  metrics.observe('antipode_hsm_call_duration_seconds', labels, 0.003);
  const counts = Array.from({ length: 13 }, (_, at) => (at === 12 ? 2 : 0));
  metrics.add('antipode_hsm_call_duration_seconds', labels, { counts, sum: 400 });
  const text = await shown(metrics);
  expect(text).toContain(
    'antipode_hsm_call_duration_seconds_bucket{site="a",partition="main",function="C_Sign",le="0.001"} 0\n',
  );
  expect(text).toContain('function="C_Sign",le="0.005"} 1\n');
  expect(text).toContain('function="C_Sign",le="120"} 1\n');
  expect(text).toContain('function="C_Sign",le="+Inf"} 3\n');
  expect(text).toContain(
    'antipode_hsm_call_duration_seconds_sum{site="a",partition="main",function="C_Sign"} 400.003\n',
  );
  expect(text).toContain('antipode_hsm_call_duration_seconds_count{site="a",partition="main",function="C_Sign"} 3\n');
});

it('has exemplars, units and an end in OpenMetrics only, for a scraper that asks for it', async () => {
  expect(expositionFor('application/openmetrics-text; version=1.0.0,text/plain;q=0.5')).toBe('openmetrics');
  expect(expositionFor('text/plain;version=0.0.4')).toBe('prometheus');
  const { metrics, clock } = agent();
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  metrics.observe('antipode_failover_recovery_time_seconds', { group: 'one', reason: 'operator' }, 1.5, { traceId });
  metrics.count('antipode_drills_total', { group: 'one', outcome: 'done' });
  const text = await shown(metrics, 'openmetrics');
  const at = (clock.wallMs() / 1_000).toFixed(3);
  expect(text).toContain(`reason="operator",le="2"} 1 # {trace_id="${traceId}"} 1.5 ${at}\n`);
  expect(text).toContain('# UNIT antipode_failover_recovery_time_seconds seconds\n');
  expect(text).toContain('# TYPE antipode_drills counter\n');
  expect(text).toMatch(/# EOF\n$/);
  const plain = await shown(metrics);
  expect(plain).toContain('# TYPE antipode_drills_total counter\n');
  expect(plain).not.toMatch(/trace_id|# UNIT|# EOF/);
});

it('escapes what a label value may hold', async () => {
  const { metrics } = agent();
  metrics.part('process', (set) => set('antipode_build_info', { ...LABELS, version: 'a"b\\c\nd' }, 1));
  expect(await shown(metrics)).toContain('version="a\\"b\\\\c\\nd"} 1\n');
});
