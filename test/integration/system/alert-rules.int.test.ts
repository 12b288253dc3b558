/** Every alert rule, as `promtool test rules` finds it: it fires on its cause, and is quiet right beside it. */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { ALERTS_FILE, type AlertRule, alertRules, millisecondsOf, rulesWithWaits } from '../../support/alert-rules.ts';
import { temporaryFolder } from '../../support/tokens.ts';

type Labels = Readonly<Record<string, string>>;

interface Case {
  /** Samples in the notation of promtool, and what they are when all is well. */
  readonly cause: readonly (readonly [series: string, samples: string])[];
  readonly well: readonly (readonly [series: string, samples: string])[];
  /** The labels of the alert, beside its severity. */
  readonly labels?: Labels;
}

const steady = (value: number): string => `${value}+0x${SAMPLES}`;
/** As many as the longest wait needs: a week, a sample every five minutes. */
const SAMPLES = 2_200;

/** A series with one value as the cause, and with another one when all is well. */
const gauge = (series: string, bad: number, good: number, labels: Labels = {}): Case => ({
  cause: [[series, steady(bad)]],
  well: [[series, steady(good)]],
  labels,
});

const group = { group: 'payments' };
const stateOfGroup = (state: string): Case =>
  gauge(`antipode_group_protection{group="payments",state="${state}"}`, 1, 0, group);
const seat = { site: 'a', partition: 'main' };
const at = 'site="a",partition="main"';
const EPOCH = ['antipode_group_epoch{group="payments"}', steady(1)] as const;
/** While `age` is not known the alert has its cause. */
const unknown = (age: string): Case => ({
  cause: [EPOCH],
  well: [EPOCH, [`${age}{group="payments"}`, steady(1)]],
  labels: group,
});
const DAY_S = 86_400;
/** promtool begins at 1970. */
const ending = (days: number, good: number, subject: string): Case =>
  gauge(
    `antipode_certificate_expiry_timestamp_seconds{role="agent",name="a",subject="${subject}"}`,
    days * DAY_S,
    good * DAY_S,
    { role: 'agent', name: 'a', subject },
  );
const move = (outcome: string): Case => {
  const series = `antipode_failovers_total{group="payments",reason="automatic",outcome="${outcome}"}`;
  return { cause: [[series, '0 1+0x100']], well: [[series, steady(1)]], labels: { ...group, reason: 'automatic' } };
};

const CASES: Readonly<Record<string, Case>> = {
  AntipodeGroupUnserved: stateOfGroup('unserved'),
  AntipodeGroupUnprotected: stateOfGroup('unprotected'),
  AntipodeGroupHeld: stateOfGroup('held'),
  AntipodeGroupDamaged: stateOfGroup('damaged'),
  AntipodeGroupContradicted: stateOfGroup('contradicted'),
  AntipodeGroupUnreadable: stateOfGroup('unreadable'),
  AntipodeGroupLagging: stateOfGroup('lagging'),
  AntipodeGroupFailing: stateOfGroup('failing'),
  AntipodeGroupPartiallyProtected: stateOfGroup('partially-protected'),
  AntipodeKeysUnprotected: gauge('antipode_group_unprotected_keys{group="payments"}', 2, 0, group),
  AntipodeRecoveryPointUnknown: unknown('antipode_group_recovery_point_age_seconds'),
  AntipodeNeverProven: unknown('antipode_group_restorable_age_seconds'),
  AntipodeProofOld: gauge('antipode_group_restorable_age_seconds{group="payments"}', 36 * DAY_S, 34 * DAY_S, group),
  AntipodeDrillFailed: gauge('antipode_drill_last_passed{group="payments"}', 0, 1, group),
  AntipodeFailedOver: move('done'),
  AntipodeFailoverFailed: move('failed'),
  AntipodeSiteDown: gauge('antipode_site_state{site="b",state="down"}', 1, 0, { site: 'b' }),
  AntipodeSiteMute: gauge('antipode_site_mute{site="b",kind="turn"}', 1, 0, { site: 'b', kind: 'turn' }),
  AntipodePinRefused: {
    cause: [[`antipode_partition_failure{${at},code="PIN_REFUSED"}`, steady(1)]],
    well: [[`antipode_partition_failure{${at},code="HSM_FULL"}`, steady(1)]],
    labels: { ...seat, code: 'PIN_REFUSED' },
  },
  AntipodePartitionUnusable: {
    cause: [[`antipode_partition_failure{${at},code="HSM_UNAVAILABLE"}`, steady(1)]],
    well: [[`antipode_partition_failure{${at},code="PIN_REFUSED"}`, steady(1)]],
    labels: { ...seat, code: 'HSM_UNAVAILABLE' },
  },
  AntipodeHsmSilent: gauge(`antipode_hsm_unanswered_seconds{${at}}`, 31, 29, seat),
  AntipodeHsmErrors: {
    cause: [[`antipode_hsm_calls_total{${at},function="C_Sign",returned="CKR_DEVICE_ERROR"}`, '0+1x100']],
    well: [[`antipode_hsm_calls_total{${at},function="C_Sign",returned="CKR_ATTRIBUTE_TYPE_INVALID"}`, '0+1x100']],
    labels: { ...seat, returned: 'CKR_DEVICE_ERROR' },
  },
  AntipodeHsmSlow: {
    cause: ['1', '5', '+Inf'].map((le, index) => [
      `antipode_hsm_call_duration_seconds_bucket{${at},function="C_Sign",le="${le}"}`,
      `0+${index === 0 ? 90 : 100}x100`,
    ]),
    well: ['0.5', '1', '+Inf'].map((le) => [
      `antipode_hsm_call_duration_seconds_bucket{${at},function="C_Sign",le="${le}"}`,
      '0+100x100',
    ]),
    labels: seat,
  },
  AntipodeOrdersWait: gauge(`antipode_partition_longest_wait_seconds{${at}}`, 31, 29, seat),
  AntipodeLeaseOver: gauge('antipode_lease_remaining_seconds{site="a",group="payments"}', 0, 3, {
    site: 'a',
    ...group,
  }),
  AntipodeCoordinatorSilent: gauge('antipode_coordinator_silence_seconds{site="a"}', 6, 4, { site: 'a' }),
  AntipodePeerUnreached: gauge('antipode_peer_reached{site="a",peer="b"}', 0, 1, { site: 'a', peer: 'b' }),
  AntipodeClockOff: {
    cause: [
      ['antipode_clock_offset_seconds{site="a"}', steady(-6)],
      ['antipode_clock_offset_error_seconds{site="a"}', steady(0.1)],
    ],
    // So far apart, and known so badly, that the clocks may be equal.
    well: [
      ['antipode_clock_offset_seconds{site="a"}', steady(-6)],
      ['antipode_clock_offset_error_seconds{site="a"}', steady(6)],
    ],
    labels: { site: 'a' },
  },
  AntipodeNoLeader: gauge('antipode_coordinator_leads{name="main"}', 0, 1),
  AntipodeTwoLeaders: {
    cause: ['main', 'south'].map((name) => [`antipode_coordinator_leads{name="${name}"}`, steady(1)]),
    well: [
      ['antipode_coordinator_leads{name="main"}', steady(1)],
      ['antipode_coordinator_leads{name="south"}', steady(0)],
    ],
  },
  AntipodeQueueDown: gauge('antipode_queue_up{name="main"}', 0, 1, { name: 'main' }),
  AntipodeNoticesUndelivered: gauge('antipode_notice_receiver_failing_seconds{receiver="desk"}', 61, 59, {
    receiver: 'desk',
  }),
  AntipodeOperationWaits: gauge('antipode_operations_open{kind="domain-key",status="parked"}', 1, 0, {
    kind: 'domain-key',
  }),
  AntipodeOperationsStuck: gauge('antipode_operations_oldest_age_seconds{kind="drill",status="open"}', 3_601, 3_599, {
    kind: 'drill',
  }),
  AntipodePlanningFails: {
    cause: [['antipode_planning_failures{code="DATABASE_UNAVAILABLE"}', steady(1)]],
    well: [],
    labels: { code: 'DATABASE_UNAVAILABLE' },
  },
  AntipodeProcessDown: gauge('up{job="antipode",instance="127.0.0.1:7480"}', 0, 1, {
    job: 'antipode',
    instance: '127.0.0.1:7480',
  }),
  AntipodeMetricsUnknown: gauge('antipode_metrics_known{role="coordinator",name="main",part="groups"}', 0, 1, {
    role: 'coordinator',
    name: 'main',
    part: 'groups',
  }),
  AntipodeRevocationListsDiffer: {
    cause: ['7', '6'].map((version, at) => [
      `antipode_revocation_list_version{role="agent",name="${at}"}`,
      steady(Number(version)),
    ]),
    well: ['a', 'b'].map((name) => [`antipode_revocation_list_version{role="agent",name="${name}"}`, steady(7)]),
  },
  AntipodeRevokedCertificateUsed: {
    cause: [['antipode_revoked_calls_refused{role="agent",name="a"}', '0+1x100']],
    well: [['antipode_revoked_calls_refused{role="agent",name="a"}', steady(12)]],
    labels: { role: 'agent', name: 'a' },
  },
  AntipodeCertificateEnding: ending(13, 15, 'certificate'),
  AntipodeCertificateEndsNow: ending(1, 3, 'authority'),
  AntipodeCertificateRefused: gauge('antipode_certificate_problem{role="agent",name="a"}', 1, 0, {
    role: 'agent',
    name: 'a',
  }),
  AntipodeEventLoopLate: gauge('antipode_event_loop_delay_seconds{role="agent",name="a"}', 1.1, 0.9, {
    role: 'agent',
    name: 'a',
  }),
  AntipodeVersionsDiffer: {
    cause: ['0.1.0', '0.2.0'].map((version, index) => [
      `antipode_build_info{role="agent",name="${index}",version="${version}"}`,
      steady(1),
    ]),
    well: ['a', 'b'].map((name) => [`antipode_build_info{role="agent",name="${name}",version="0.1.0"}`, steady(1)]),
  },
};

const rules = alertRules();
const LONG_MS = 12 * 3_600_000;

describe('the alert rules', () => {
  it('each have a case', () => {
    expect(Object.keys(CASES).sort()).toEqual(rules.map(({ alert }) => alert).sort());
  });

  it.each([
    ['of less than half a day', '1m', rules.filter((rule) => !isLong(rule))],
    ['of days', '5m', rules.filter(isLong)],
  ] as const)('with waits %s fire on their cause, and are quiet beside it', (_which, interval, some) => {
    expect(some.length).toBeGreaterThan(2);
    const tests = some.flatMap((rule) => [
      test(rule, { interval, isFiring: true }),
      test(rule, { interval, isFiring: false }),
    ]);
    expect(promtool({ tests, interval })).toContain('SUCCESS');
  });

  it('of groups with waits of days go on waiting while the leader changes', () => {
    const some = rules.filter((rule) => isLong(rule) && rule.expr.includes('antipode_group_'));
    expect(some.map(({ alert }) => alert)).toEqual(['AntipodeGroupPartiallyProtected', 'AntipodeNeverProven']);
    const tests = some.map((rule) => {
      const { input_series, ...rest } = test(rule, { interval: '5m', isFiring: true });
      // Half a day after the beginning nobody tells of groups for ten minutes.
      const broken = ({ series, values }: { series: string; values: string }) => ({
        series,
        values: values.replace(/^(\d+)\+0x\d+$/, `$1+0x143 stale stale $1+0x${SAMPLES}`),
      });
      return { ...rest, input_series: input_series.map(broken) };
    });
    expect(promtool({ tests, interval: '5m' })).toContain('SUCCESS');
  });

  it('that never fire make promtool fail', () => {
    const [rule] = rules.filter(({ alert }) => alert === 'AntipodeSiteDown');
    const quiet = test(rule!, { interval: '1m', isFiring: false });
    const wrong = { ...quiet, alert_rule_test: test(rule!, { interval: '1m', isFiring: true }).alert_rule_test };
    expect(() => promtool({ tests: [wrong], interval: '1m' })).toThrow(/FAILED/);
  });

  it('keep everything but their waits where those are short', () => {
    const { groups } = parse(rulesWithWaits({ ms: 1_500 })) as { groups: { rules: AlertRule[] }[] };
    const short = rules.map((rule) => (rule.for === undefined ? rule : { ...rule, for: '1500ms' }));
    expect(groups.flatMap((one) => one.rules)).toEqual(short);
  });
});

function isLong(rule: AlertRule): boolean {
  return waitOf(rule) > LONG_MS;
}

function waitOf(rule: AlertRule): number {
  return rule.for === undefined ? 0 : millisecondsOf(rule.for);
}

/** A test of promtool: at its end the alert fires with exactly these labels and texts, or not at all. */
function test(rule: AlertRule, { interval, isFiring }: { interval: string; isFiring: boolean }) {
  const { cause, well, labels = {} } = CASES[rule.alert]!;
  const minutes = Math.ceil(waitOf(rule) / 60_000) + (interval === '1m' ? 3 : 120);
  const filled = (text: string): string =>
    text.replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, name: string) => labels[name] ?? '');
  const { summary, description, runbook_url } = rule.annotations;
  return {
    name: `${rule.alert}, ${isFiring ? 'its cause' : 'all well'}`,
    interval,
    input_series: (isFiring ? cause : well).map(([series, values]) => ({
      series,
      values: interval === '1m' ? values.replace(`x${SAMPLES}`, 'x120') : values,
    })),
    alert_rule_test: [
      {
        eval_time: `${minutes}m`,
        alertname: rule.alert,
        exp_alerts: isFiring
          ? [
              {
                exp_labels: { ...labels, severity: rule.labels['severity'] },
                exp_annotations: { summary: filled(summary), description: filled(description), runbook_url },
              },
            ]
          : [],
      },
    ],
  };
}

/** @throws with what promtool says where a test fails */
function promtool({ tests, interval }: { tests: readonly object[]; interval: string }): string {
  const folder = temporaryFolder('alerts');
  try {
    const file = join(folder, 'tests.yaml');
    writeFileSync(
      file,
      stringify({ rule_files: [ALERTS_FILE], evaluation_interval: interval === '1m' ? '1m' : '1h', tests }),
    );
    return execFileSync('promtool', ['test', 'rules', file], { encoding: 'utf8', stdio: 'pipe' });
  } catch (thrown) {
    const { stdout = '', stderr = '' } = thrown as { stdout?: string; stderr?: string };
    throw new Error(`${stdout}\n${stderr}`, { cause: thrown });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
