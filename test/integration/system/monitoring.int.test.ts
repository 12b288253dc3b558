/**
 * A running system as its operators watch it: its metrics, as a scraper and a collector of OpenTelemetry get them; the
 * alerts and dashboards, as a real Prometheus has them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FailoverPolicy } from '@antipode/protocol';
import { METRICS, type MetricDeclaration, type MetricName } from '@antipode/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dashboards, queriesOf } from '../../support/alert-rules.ts';
import { LiveAlerts } from '../../support/live-alerts.ts';
import { type ServedMetric, servedMetrics } from '../../support/metrics-page.ts';
import type { Prometheus } from '../../support/prometheus.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

/** Metrics whose cause is not in the story, and the test that has it. */
const ELSEWHERE: readonly MetricName[] = [
  // services/coordinator/src/metrics/coordinator-metrics.test.ts
  'antipode_planning_failures',
  'antipode_notices_open',
  'antipode_notices_undelivered',
  'antipode_notice_receiver_failing_seconds',
  'antipode_notice_heartbeat_age_seconds',
];

let system: TestSystem;
let collector: Collector;
let alerts: LiveAlerts;
let prometheus: Prometheus;
/** Served by the coordinator while site a, which has a key that cannot be captured, was active. */
let beforeMove: Map<string, ServedMetric>;
/** Everything that was served in the course of the story, by the role of the process. */
const seen = new Map<string, Map<string, ServedMetric>>();

beforeAll(async () => {
  collector = await Collector.open();
  // Site b is a process of its own: its environment says where metrics go.
  system = await TestSystem.start({
    createGroup: false,
    spare: true,
    health: true,
    processes: ['b'],
    environment: () => ({
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'http/json',
      OTEL_METRIC_EXPORT_INTERVAL: '500',
    }),
  });
  await becomeWitness('d');
  alerts = await LiveAlerts.watch(system);
  prometheus = alerts.prometheus;
  await createGroup();
}, 90_000);

afterAll(async () => {
  await alerts?.close();
  await system?.close();
  await collector?.close();
});

describe('the metrics of a running system', () => {
  it('are those of the catalogue, with their types and labels, and no others', async () => {
    await system.makeKey('a', '01');
    await system
      .site('a')
      .token.toolAsync('--keygen', '--key-type', 'aes:32', '--sensitive', '--id', '02', '--label', 'key 02');
    await system.replicate();
    await system.until('the age of the recovery point shows everywhere', async () => {
      await lookEverywhere();
      const isScraped = (await prometheus.everSeen('antipode_group_recovery_point_age_seconds')).length > 0;
      return isScraped && seen.get('coordinator')?.has('antipode_group_recovery_point_age_seconds');
    });
    const { operationId } = await system.operator.runDrill({ group: GROUP, site: '' });
    await system.ended(operationId);
    beforeMove = await servedWith('antipode_group_protected_keys');
    await alerts.raised(() => system.moveTo('b'), 'AntipodeFailedOver');
    await lookEverywhere();
    await alerts.raised(() => breakPinOf('c'), 'AntipodePinRefused');
    // The standby may have caught up before its PIN was wrong: then no order would come to it for long.
    await system.operator.runScrub({ group: GROUP, site: 'c' });
    await system.until('the trouble of site c shows everywhere', async () => {
      await lookEverywhere();
      const atCoordinator = ['antipode_order_failures_total', 'antipode_group_concerns'];
      const isShown = atCoordinator.every((name) => seen.get('coordinator')?.has(name));
      return isShown && seen.get('agent')?.has('antipode_partition_failure');
    });
    for (const [role, served] of seen) {
      const declared = Object.entries(METRICS).filter(([, { from }]) => isFrom(from, role));
      expect([role, [...served.keys()].sort()]).toEqual([
        role,
        declared
          .map(([name]) => name)
          .filter((name) => !ELSEWHERE.includes(name as MetricName))
          .sort(),
      ]);
      for (const [name, { type, help, samples }] of served) {
        const declaration: MetricDeclaration = METRICS[name as MetricName];
        expect([name, type, help]).toEqual([name, declaration.type, declaration.help]);
        for (const { labels } of samples) {
          const { le: _ofBuckets, ...own } = labels;
          expect([name, Object.keys(own).sort()]).toEqual([name, [...declaration.labels].sort()]);
        }
      }
    }
    expect([...seen.keys()].sort()).toEqual(['agent', 'coordinator', 'witness']);
  }, 60_000);

  it('say what is so', async () => {
    const served = await servedWith('antipode_member_seat');
    const value = (name: MetricName, labels: Record<string, string>, of = served): number | undefined =>
      of.get(name)?.samples.find((one) => Object.entries(labels).every(([label, text]) => one.labels[label] === text))
        ?.value;
    expect(value('antipode_member_seat', { group: GROUP, site: 'b', seat: 'active' })).toBe(1);
    expect(value('antipode_group_protected_keys', { group: GROUP }, beforeMove)).toBe(1);
    expect(value('antipode_group_unprotected_keys', { group: GROUP }, beforeMove)).toBe(1);
    expect(value('antipode_group_uncaptured_objects', { group: GROUP, reason: 'unextractable' }, beforeMove)).toBe(1);
    expect(value('antipode_drill_last_passed', { group: GROUP })).toBe(1);
    expect(value('antipode_failovers_total', { group: GROUP, reason: 'operator', outcome: 'done' })).toBe(1);
    expect(value('antipode_failovers_total', { group: GROUP, reason: 'automatic', outcome: 'done' })).toBe(0);
    const { group } = await system.operator.getGroup({ group: GROUP });
    const age = value('antipode_group_restorable_age_seconds', { group: GROUP })!;
    expect(age).toBeGreaterThan(0);
    expect(age).toBeLessThanOrEqual((Date.now() - Number(group!.lastProvenMs)) / 1_000 + 1);
  });

  it('leave a process over OTLP under the same names, with the same types', async () => {
    const exported = await system.until('a collector has got the metrics of site b', async () => {
      const found = collector.metrics;
      return found.has('antipode_hsm_call_duration_seconds') && found;
    });
    const served = await servedMetrics(system.health.get('b')!);
    expect([...exported.keys()].sort()).toEqual([...served.keys()].sort());
    for (const [name, kind] of exported)
      expect([name, kind]).toEqual([
        name,
        { gauge: 'gauge', counter: 'sum', histogram: 'histogram' }[served.get(name)!.type],
      ]);
  }, 60_000);

  it('name no key, PIN or object', async () => {
    const pages = await Promise.all(
      [...system.health.values()].map(async (address) =>
        (await fetch(`http://${address}/metrics`, { headers: { connection: 'close' } })).text(),
      ),
    );
    const text = pages.join('\n');
    for (const secret of ['key 01', 'key 02', 'payments-a', system.site('a').serial])
      expect(text).not.toContain(secret);
  });
});

describe('a Prometheus that scrapes the system', () => {
  it('has the alerts of a lost site, of a group that nobody can serve, and of a system without a coordinator', async () => {
    // The recovery point may be unknown before: alerts-of-groups.int makes that cause alone.
    await alerts.raised(() => system.stopAgent('b'), 'AntipodeSiteDown', 'AntipodeProcessDown');
    await system.untilActive('a');
    // Nobody is left to whom the role could move.
    await alerts.raised(() => breakPinOf('a'), 'AntipodeGroupUnserved');
    // Site b is lost, so nobody else can keep the lease of site a alive.
    await alerts.raised(
      () => system.coordinator.close(),
      'AntipodeNoLeader',
      'AntipodeCoordinatorSilent',
      'AntipodeLeaseOver',
    );
    const quiet = ['AntipodeTwoLeaders', 'AntipodeGroupContradicted', 'AntipodeCertificateEnding', 'AntipodeHsmErrors'];
    const fired = await prometheus.fired();
    expect(quiet.filter((alert) => fired.has(alert))).toEqual([]);
  }, 90_000);

  it('has data for every query of every dashboard', async () => {
    const empty: string[] = [];
    for (const { from, expr } of dashboards().flatMap(queriesOf)) {
      const found = await Promise.all(['a', 'b', 'c', 'd'].map((site) => prometheus.everSeen(filled(expr, site))));
      if (found.flat().length === 0) empty.push(`${from}: ${expr}`);
    }
    expect(empty).toEqual([]);
  });
});

/** The query of a dashboard with its variables, as Grafana fills them in. */
const filled = (expr: string, site: string): string =>
  expr
    .replaceAll('$__rate_interval', '10s')
    .replaceAll('$group', GROUP)
    .replaceAll('$site', site)
    .replaceAll('$partition', 'main');

/** Served by the coordinator when it leads and has read the groups: on a busy machine it can lose the lead for a moment. */
function servedWith(name: MetricName): Promise<Map<string, ServedMetric>> {
  return system.until(`the coordinator serves ${name}`, async () => {
    const served = await servedMetrics(system.health.get('coordinator')!);
    return served.has(name) && served;
  });
}

/** Adds what every process serves now. */
async function lookEverywhere(): Promise<void> {
  for (const address of system.health.values()) {
    const served = await servedMetrics(address);
    const [build] = served.get('antipode_build_info')!.samples;
    const ofRole = seen.get(build!.labels['role']!) ?? new Map<string, ServedMetric>();
    seen.set(build!.labels['role']!, ofRole);
    for (const [name, metric] of served) {
      const samples = [...(ofRole.get(name)?.samples ?? []), ...metric.samples];
      ofRole.set(name, { ...metric, samples });
    }
  }
}

/** The only coordinator leads. */
const isFrom = (from: readonly string[], role: string): boolean =>
  from.includes(role) || (role === 'coordinator' && from.includes('leader'));

async function becomeWitness(name: string): Promise<void> {
  await system.stopAgent(name);
  const { configFile } = system.site(name);
  const config = readFileSync(configFile, 'utf8');
  const fields = config.slice(0, config.indexOf('partitions:'));
  writeFileSync(configFile, `${fields}witness: true\nhttp: ${system.health.get(name)}\n`);
  await system.startAgent(name);
}

async function createGroup(): Promise<void> {
  const spec = {
    name: GROUP,
    members: ['a', 'b', 'c'].map((site) => ({ site, serial: system.site(site).serial })),
    scratch: [{ site: 'c', serial: system.site('c').scratchSerial }],
    witnessSites: ['d'],
    failoverPolicy: FailoverPolicy.AUTOMATIC,
    rpoSeconds: 5,
  };
  await system.insistent('the group has its domain key', async () => {
    const { operationId } = await system.operator.createGroup({ spec });
    if (operationId !== '') await system.ended(operationId);
  });
}

/** The agent starts again with a PIN that its token refuses. */
async function breakPinOf(name: string): Promise<void> {
  await system.stopAgent(name);
  writeFileSync(system.site(name).token.config.pinFile, 'wrong-pin\n', { mode: 0o600 });
  await system.startAgent(name);
}

/** A collector of OpenTelemetry that keeps the names and kinds of what it gets. */
class Collector {
  readonly metrics = new Map<string, string>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        this.#take(Buffer.concat(parts).toString());
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end('{}');
      });
    });
  }

  static async open(): Promise<Collector> {
    const made = new Collector();
    await new Promise<void>((resolve) => made.#server.listen(0, '127.0.0.1', resolve));
    return made;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1/metrics`;
  }

  #take(body: string): void {
    interface Sent {
      readonly resourceMetrics: readonly {
        readonly scopeMetrics: readonly { readonly metrics: readonly { name: string }[] }[];
      }[];
    }
    const { resourceMetrics } = JSON.parse(body) as Sent;
    for (const { name, ...data } of resourceMetrics.flatMap((one) => one.scopeMetrics).flatMap((one) => one.metrics)) {
      const kind = ['gauge', 'sum', 'histogram'].find((one) => one in data);
      this.metrics.set(name, kind ?? '');
    }
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}
