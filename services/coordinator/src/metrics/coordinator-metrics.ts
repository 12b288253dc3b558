/**
 * The metrics of a coordinator, beside those of every process. Only the leader tells of groups and sites: the others do
 * not know. Names, labels and meanings are in the catalogue (runtime, metrics/catalogue.ts).
 */
import { type Metrics, type SetGauge, SITE_STATES } from '@antipode/runtime';
import { declarationOf, SEVERITIES } from '../notices/causes.ts';
import { INTENT_KINDS } from '../operations/kinds.ts';
import type { GroupReadings } from '../rpc/groups/group-readings.ts';
import { toldTo } from '../rpc/notices.ts';
import type { RpcPorts } from '../rpc/ports.ts';
import { mutenessesNow, stateWordOf } from '../sites/detector.ts';
import { MUTE_KINDS } from '../sites/mute.ts';
import { readQueue } from '../store/tables/intents.ts';
import { readNotices } from '../store/tables/notices.ts';
import { readTableSizes } from '../store/tables/sizes.ts';
import { GroupMetrics } from './group-metrics.ts';

const STATUSES = ['open', 'parked'] as const;

export function addCoordinatorMetrics(
  metrics: Metrics,
  ports: RpcPorts,
  readings: Pick<GroupReadings, 'current' | 'forget'>,
): void {
  const { id: name, election, wakeUps, store } = ports;
  metrics.part('coordinator', (set) => {
    const { epoch } = election;
    set('antipode_coordinator_leads', { name }, epoch !== undefined);
    set('antipode_coordinator_term', { name }, epoch);
    set('antipode_queue_up', { name }, wakeUps.isUp() && !ports.reconciler.isQueueMute);
  });
  const whileLeading = (part: string, read: (set: SetGauge) => void | Promise<void>): void =>
    metrics.part(part, async (set) => {
      if (election.epoch !== undefined) await read(set);
    });
  whileLeading('sites', (set) => setSites(set, ports));
  whileLeading('queue', async (set) => {
    const queue = await store.query(readQueue);
    for (const kind of INTENT_KINDS)
      for (const status of STATUSES) {
        const found = queue.find((one) => one.kind === kind && one.status === status);
        set('antipode_operations_open', { kind, status }, found?.count ?? 0);
        const ageMs = found === undefined ? undefined : Math.max(0, ports.clock.wallMs() - found.oldestMs);
        set('antipode_operations_oldest_age_seconds', { kind, status }, secondsOf(ageMs));
      }
  });
  const { receivers, heartbeats } = ports.notifying ?? {};
  if ((receivers?.all.length ?? 0) + (heartbeats?.all.length ?? 0) > 0)
    whileLeading('notices', (set) => setNotices(set, ports));
  whileLeading('tables', async (set) => {
    for (const { table, rows, bytes } of await store.query(readTableSizes)) {
      set('antipode_table_rows', { table }, rows);
      set('antipode_table_bytes', { table }, bytes);
    }
  });
  const groups = new GroupMetrics(ports, readings);
  metrics.part('groups', (set) => groups.read(set, metrics));
}

async function setNotices(set: SetGauge, ports: RpcPorts): Promise<void> {
  const { receivers, heartbeats } = await toldTo(ports);
  const notices = await ports.store.query(readNotices);
  const open = notices.filter(({ raisedMs, resolvedMs }) => raisedMs !== undefined && resolvedMs === undefined);
  for (const severity of SEVERITIES)
    set(
      'antipode_notices_open',
      { severity },
      open.filter(({ kind }) => declarationOf(kind).severity === severity).length,
    );
  for (const { name: receiver = '', undelivered, troubleAgeMs = 0n } of receivers) {
    set('antipode_notices_undelivered', { receiver }, undelivered);
    set('antipode_notice_receiver_failing_seconds', { receiver }, Number(troubleAgeMs) / 1_000);
  }
  for (const { name: receiver = '', acceptedAgeMs } of heartbeats)
    set(
      'antipode_notice_heartbeat_age_seconds',
      { receiver },
      secondsOf(acceptedAgeMs === undefined ? undefined : Number(acceptedAgeMs)),
    );
}

function setSites(set: SetGauge, { detector, reconciler, clock }: RpcPorts): void {
  const nowMs = clock.monotonicMs();
  for (const view of detector.sites) {
    const { site, lastWallMs, lastMs } = view;
    const word = stateWordOf(view);
    for (const state of SITE_STATES) set('antipode_site_state', { site, state }, state === word);
    const mute = new Set(mutenessesNow(view).map(({ kind }) => kind));
    for (const kind of MUTE_KINDS) set('antipode_site_mute', { site, kind }, mute.has(kind));
    const silenceMs = lastWallMs === undefined ? undefined : Math.max(0, nowMs - lastMs);
    set('antipode_site_silence_seconds', { site }, secondsOf(silenceMs));
  }
  const byCode = Map.groupBy(reconciler.troubles, ({ error }) => error.code);
  for (const [code, troubles] of byCode) set('antipode_planning_failures', { code }, troubles.length);
}

const secondsOf = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1_000);
