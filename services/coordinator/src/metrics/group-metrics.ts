/**
 * The state of every group as metrics: the same readings as those of `antipode status`. In a fleet of a thousand groups a
 * reading takes seconds. So it is not repeated before ten times that long, and ages are counted on meanwhile.
 */
import { METRIC_REASONS, type Metrics, PROTECTION_STATES, type SetGauge } from '@antipode/runtime';
import type { MeasuredGroup } from '../rpc/groups/group-reader.ts';
import type { GroupReadings } from '../rpc/groups/group-readings.ts';
import type { RpcPorts } from '../rpc/ports.ts';

/** A scrape waits so long for a reading, and then takes the earlier one. */
const WAIT_MS_MAX = 3_000;

export class GroupMetrics {
  readonly #ports: RpcPorts;
  readonly #readings: Pick<GroupReadings, 'current' | 'forget'>;

  constructor(ports: RpcPorts, readings: Pick<GroupReadings, 'current' | 'forget'>) {
    this.#ports = ports;
    this.#readings = readings;
  }

  async read(set: SetGauge, metrics: Pick<Metrics, 'count'>): Promise<void> {
    const { epoch } = this.#ports.election;
    if (epoch === undefined) {
      this.#readings.forget();
      return;
    }
    const { groups, unreadable, atMs } = await this.#readings.current(epoch, { waitMs: WAIT_MS_MAX });
    const sinceMs = this.#ports.clock.monotonicMs() - atMs;
    set('antipode_groups_read_age_seconds', { name: this.#ports.id }, sinceMs / 1_000);
    for (const group of groups) {
      setGroup(set, group, { sinceMs });
      this.#setLease(set, group.name);
      // So that the first move and the first drill of this process show as a rise.
      for (const outcome of ['done', 'failed'] as const) {
        metrics.count('antipode_drills_total', { group: group.name, outcome }, 0);
        for (const reason of ['automatic', 'operator'])
          metrics.count('antipode_failovers_total', { group: group.name, reason, outcome }, 0);
      }
    }
    for (const group of unreadable) setProtection(set, { group, protection: 'unreadable' });
  }

  /** From memory, and of this moment. */
  #setLease(set: SetGauge, group: string): void {
    set('antipode_group_lease_bound_seconds', { group }, this.#ports.leases.remainingMs(group) / 1_000);
  }
}

function setProtection(set: SetGauge, { group, protection }: { group: string; protection: string }): void {
  for (const state of PROTECTION_STATES) set('antipode_group_protection', { group, state }, state === protection);
}

function setGroup(set: SetGauge, measured: MeasuredGroup, { sinceMs }: { sinceMs: number }): void {
  const { name: group, ages, counts } = measured;
  const aged = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : (ms + sinceMs) / 1_000);
  setProtection(set, { group, protection: measured.protection });
  set('antipode_group_recovery_point_age_seconds', { group }, aged(ages.recoveryPointMs));
  set('antipode_group_recovery_point_objective_seconds', { group }, measured.rpoMs / 1_000);
  set('antipode_group_restorable_age_seconds', { group }, aged(ages.restorableMs));
  set('antipode_drill_last_age_seconds', { group }, aged(ages.drillMs));
  set('antipode_drill_last_passed', { group }, measured.drillPassed);
  set('antipode_group_epoch', { group }, measured.epoch);
  set('antipode_group_protected_keys', { group }, counts?.protectedKeys);
  set('antipode_group_unprotected_keys', { group }, counts?.unprotectedKeys);
  for (const { site, role: seat, recoveryPointMs, lagMs } of measured.members) {
    set('antipode_member_seat', { group, site, seat }, 1);
    set('antipode_member_recovery_point_age_seconds', { group, site }, aged(recoveryPointMs));
    set('antipode_member_replication_lag_seconds', { group, site }, lagMs === undefined ? undefined : lagMs / 1_000);
  }
  for (const [reason, objects] of countedBy(counts?.uncaptured ?? [], reasonOf))
    set('antipode_group_uncaptured_objects', { group, reason }, objects);
  for (const [kind, concerns] of countedBy(measured.concerns, (one) => one))
    set('antipode_group_concerns', { group, kind }, concerns);
}

/** An agent could name anything. All unknown reasons are one label value. */
const reasonOf = (reason: string): string =>
  (METRIC_REASONS as readonly string[]).includes(reason) ? reason : 'other';

const countedBy = (all: readonly string[], of: (one: string) => string): [string, number][] =>
  [...Map.groupBy(all, of)].map(([value, same]) => [value, same.length]);
