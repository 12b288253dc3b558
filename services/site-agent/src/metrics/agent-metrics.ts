/**
 * The metrics of an agent, beside those of every process: its leases, partitions, peers, clock and files, by its own
 * knowledge. Names, labels and meanings are in the catalogue (runtime, metrics/catalogue.ts).
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { CallCount } from '@antipode/hsm-core';
import type { Metrics, SetGauge } from '@antipode/runtime';
import type { Site } from '../site.ts';
import type { Heartbeat } from '../tenure/heartbeat.ts';

export interface AgentMetricsPorts {
  readonly site: Site;
  readonly heartbeat: Pick<Heartbeat, 'lastSuccessMs' | 'clockOffset'>;
  readonly dataFolder: string;
}

export function addAgentMetrics(metrics: Metrics, ports: AgentMetricsPorts): void {
  const { site } = ports;
  metrics.part('agent', (set) => setAgent(set, ports));
  metrics.part('store', (set) => {
    for (const file of ['journal', 'generations'])
      set('antipode_store_bytes', { site: site.name, file }, bytesOf(join(ports.dataFolder, `${file}.db`)));
  });
  if (metrics.role === 'witness') return;
  metrics.part('leases', (set) => setLeases(set, site));
  metrics.part('partitions', (set) => setPartitions(set, site));
}

/** Adds calls of a worker to the metrics of its partition. */
export const countCalls =
  (metrics: Metrics, site: string) =>
  (partition: string, calls: readonly CallCount[]): void => {
    for (const { function: name, returned, counts, sum } of calls) {
      metrics.add('antipode_hsm_call_duration_seconds', { site, partition, function: name }, { counts, sum });
      for (const [value, number] of returned)
        metrics.count('antipode_hsm_calls_total', { site, partition, function: name, returned: value }, number);
    }
  };

function setAgent(set: SetGauge, { site: { name: site, ...parts }, heartbeat }: AgentMetricsPorts): void {
  const { clock, clockRates, terms, observations } = parts;
  const { lastSuccessMs, clockOffset } = heartbeat;
  const silenceMs = lastSuccessMs === undefined ? undefined : clock.monotonicMs() - lastSuccessMs;
  set('antipode_coordinator_silence_seconds', { site }, secondsOf(silenceMs));
  set('antipode_agent_term', { site }, terms.highest?.term);
  set('antipode_clock_offset_seconds', { site }, secondsOf(clockOffset?.ms));
  set('antipode_clock_offset_error_seconds', { site }, secondsOf(clockOffset?.errorMs));
  set('antipode_clock_rate_ratio', { site, bound: 'low' }, clockRates.bounds?.low);
  set('antipode_clock_rate_ratio', { site, bound: 'high' }, clockRates.bounds?.high);
  for (const { site: peer = '', reached } of observations.all) set('antipode_peer_reached', { site, peer }, reached);
}

function setLeases(set: SetGauge, { name: site, journal, leases }: Site): void {
  const epochs = new Map(journal.tenure.epochs().map(({ group, epoch }) => [group, epoch]));
  for (const { group, role } of journal.tenure.seats()) {
    const epoch = epochs.get(group);
    if (role !== 'active' || epoch === undefined) continue;
    set('antipode_lease_remaining_seconds', { site, group }, leases.remainingMs(group, epoch) / 1_000);
  }
}

function setPartitions(set: SetGauge, { name: site, partitions }: Site): void {
  for (const { settings, serial, failure, ordersWaiting, longestWaitMs, unansweredMs } of partitions.all) {
    const partition = settings.name;
    const code = failure?.code ?? (serial === undefined ? 'IDENTITY_MISSING' : undefined);
    set('antipode_partition_usable', { site, partition }, code === undefined);
    if (code !== undefined) set('antipode_partition_failure', { site, partition, code }, 1);
    set('antipode_partition_orders_waiting', { site, partition }, ordersWaiting);
    set('antipode_partition_longest_wait_seconds', { site, partition }, longestWaitMs / 1_000);
    set('antipode_hsm_unanswered_seconds', { site, partition }, unansweredMs / 1_000);
  }
}

/** Undefined if the file cannot be seen. Its write-ahead log is absent while nobody has the database open. */
function bytesOf(file: string): number | undefined {
  const size = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.size;
  const bytes = size(file);
  return bytes === undefined ? undefined : bytes + (size(`${file}-wal`) ?? 0);
}

const secondsOf = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1_000);
