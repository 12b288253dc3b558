/**
 * Every metric that a process of ours exports, declared once: the code that sets it, `docs/metrics.md`, the alert rules
 * and the dashboards are held to this table by the compiler or by a test.
 *
 * A name ends with its unit. A label has few values, all of them named by operators or by us: never an object id, the
 * label of a key, an address or a message (I5). A value that nobody knows is absent, and never 0 (I13).
 */

/** The bound on the values of each label. */
export const METRIC_LABELS = {
  bound: '`low` and `high`: the ratio lies between them',
  code: 'a code of [the catalogue of errors](errors.md)',
  file: '`journal` and `generations`: the two databases of an agent',
  function: 'a function of PKCS#11, some 40: `C_Sign`',
  group: 'a group, as its operators declared it',
  kind: 'a kind of operation, or of concern: `capture`, `failover`',
  name: 'the name of the coordinator or of the site',
  outcome: 'how it ended: `done` or `failed`',
  part: 'a part of the metrics of a process that is read together: `groups`',
  partition: 'a partition, as the configuration of its site names it',
  peer: 'another site',
  reason: 'why an object is not captured, or why the active role has moved',
  receiver: 'a receiver of notices, or a heartbeat, as the configuration of the coordinator names it',
  returned: 'a CKR name of the standard; `vendor-defined` for all others',
  role: '`coordinator`, `agent` or `witness`',
  seat: 'the role of a member in its group: `active`, `standby` or another one',
  severity: '`page`, `ticket` or `info`',
  site: 'a site, as its certificate names it',
  state: 'a state of the list in the meaning of the metric',
  status: '`open`: under way; `parked`: waits for a person',
  subject: '`certificate`, or `authority`: the certificate that issued it',
  table: 'a table of the database, as [architecture](architecture.md#what-is-kept) lists them',
  version: 'the version of the program',
} as const;

export type MetricLabel = keyof typeof METRIC_LABELS;
export type ProcessRole = 'coordinator' | 'leader' | 'agent' | 'witness';

/** All states of a group, the best first. One of them is 1. */
export const PROTECTION_STATES = [
  'protected',
  'partially-protected',
  'failing',
  'lagging',
  'damaged',
  'held',
  'unprotected',
  'unserved',
  'contradicted',
  'unreadable',
] as const;

/** Reasons why an object is not captured, as HSMs know them, and one for all that a later release may add. */
export const METRIC_REASONS = [
  'unextractable',
  'wrap-with-trusted',
  'not-wrappable',
  'unsupported-type',
  'unsupported-attribute',
  'length-not-multiple-of-8',
  'length-unknown',
  'too-large',
  'settling',
  'excluded',
  'unreadable',
  'deleted',
  'value-changed',
  'does-not-work',
  'other',
] as const;

/** All states of a site. One of them is 1. */
export const SITE_STATES = ['up', 'mute', 'suspect', 'down', 'unknown'] as const;

export interface MetricDeclaration {
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly unit: string;
  readonly labels: readonly MetricLabel[];
  /** `leader`: the coordinator that leads, and no other. */
  readonly from: readonly ProcessRole[];
  /** Goes out with the metric. */
  readonly help: string;
  /** For people who read the value: when it is absent, and what it does not say. */
  readonly meaning: string;
  /** Upper bounds of a histogram. */
  readonly buckets?: readonly number[];
}

const ALL = ['coordinator', 'agent', 'witness'] as const;
const AGENTS = ['agent', 'witness'] as const;
const RECOVERY_BUCKETS = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3_600] as const;
const OPERATION_BUCKETS = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400] as const;
/** A call of a local token takes tens of microseconds; one that makes a large RSA key can take minutes. */
const CALL_BUCKETS = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120] as const;

export const METRICS = {
  antipode_build_info: {
    type: 'gauge',
    unit: '',
    labels: ['role', 'name', 'version'],
    from: ALL,
    help: 'Always 1; the labels say what runs.',
    meaning: 'Two versions at the same time are an upgrade under way.',
  },
  antipode_metrics_known: {
    type: 'gauge',
    unit: '',
    labels: ['role', 'name', 'part'],
    from: ALL,
    help: '1 if this part of the metrics could be read, 0 if its metrics are absent.',
    meaning: 'At 0 the metrics of this part are absent, or as old as `antipode_groups_read_age_seconds` says.',
  },
  antipode_event_loop_delay_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['role', 'name'],
    from: ALL,
    help: 'Longest delay of the event loop in the last one or two minutes.',
    meaning:
      'A process that is this late renews leases and answers this much later. An observer that is late doubts itself.',
  },
  antipode_resident_memory_bytes: {
    type: 'gauge',
    unit: 'bytes',
    labels: ['role', 'name'],
    from: ALL,
    help: 'Resident memory of the process.',
    meaning: 'Without its children: PostgreSQL, Redis and HSM workers are processes of their own.',
  },
  antipode_certificate_expiry_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['role', 'name', 'subject'],
    from: ALL,
    help: 'Unix time at which the certificate in use ends.',
    meaning: 'After it no other process accepts a connection. Certificates are read again while the process runs.',
  },
  antipode_certificate_problem: {
    type: 'gauge',
    unit: '',
    labels: ['role', 'name'],
    from: ALL,
    help: '1 if the certificate that is in the files now is not used.',
    meaning: 'The process goes on with the certificate that it has. Its log and `antipode doctor` say why.',
  },
  antipode_revocation_list_version: {
    type: 'gauge',
    unit: '',
    labels: ['role', 'name'],
    from: ALL,
    help: 'Version of the list of revoked certificates that the process goes by, 0 without a list.',
    meaning:
      'All processes have the same within a minute. A lower one is a process that is cut off, has no `revocation` section, or keeps the list back.',
  },
  antipode_revoked_calls_refused: {
    type: 'gauge',
    unit: '',
    labels: ['role', 'name'],
    from: ALL,
    help: 'Calls that the process has refused since it started, because the certificate of the caller is revoked.',
    meaning: 'While it rises, somebody uses a revoked certificate: its former owner, or the thief. The log says whose.',
  },
  antipode_coordinator_leads: {
    type: 'gauge',
    unit: '',
    labels: ['name'],
    from: ['coordinator'],
    help: '1 if this coordinator leads, 0 if it stands by.',
    meaning: 'The sum over all coordinators is 1, but for the seconds of a takeover.',
  },
  antipode_coordinator_term: {
    type: 'gauge',
    unit: '',
    labels: ['name'],
    from: ['leader'],
    help: 'The term in which this coordinator leads.',
    meaning: 'It grows with each takeover. Absent at a coordinator that stands by.',
  },
  antipode_queue_up: {
    type: 'gauge',
    unit: '',
    labels: ['name'],
    from: ['coordinator'],
    help: '1 if Redis is used to wake operations, 0 if they run without it.',
    meaning: 'At 0 nothing is lost. Operations begin a little later, at the next pass of the planner.',
  },
  antipode_notices_open: {
    type: 'gauge',
    unit: 'notices',
    labels: ['severity'],
    from: ['leader'],
    help: 'Notices that were raised and are not resolved.',
    meaning: 'Absent where neither a receiver nor a heartbeat is configured: then nobody looks.',
  },
  antipode_notices_undelivered: {
    type: 'gauge',
    unit: 'notices',
    labels: ['receiver'],
    from: ['leader'],
    help: 'Notices that a receiver has not accepted yet.',
    meaning: 'For some seconds after each cause it is more than 0, because what begins together is one message.',
  },
  antipode_notice_receiver_failing_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['receiver'],
    from: ['leader'],
    help: 'Since when a receiver has accepted nothing of what it was sent; 0 if it accepts.',
    meaning: 'A receiver that is never sent anything cannot be seen to fail. `antipode notify test` sends something.',
  },
  antipode_notice_heartbeat_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['receiver'],
    from: ['leader'],
    help: 'Time since a heartbeat was accepted.',
    meaning: 'Absent before the first one of this leader. The service that gets it raises the alarm, not this metric.',
  },
  antipode_groups_read_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['name'],
    from: ['leader'],
    help: 'Age of the records from which the metrics of all groups were made.',
    meaning:
      'In a large fleet the records are not read again for each scrape. Ages of groups are counted on meanwhile.',
  },
  antipode_planning_failures: {
    type: 'gauge',
    unit: 'groups',
    labels: ['code'],
    from: ['leader'],
    help: 'Groups for which nothing can be planned now, by the code of the error.',
    meaning: 'Such a group can look well, but nobody plans for it. Without any such group the metric is absent.',
  },
  antipode_site_state: {
    type: 'gauge',
    unit: '',
    labels: ['site', 'state'],
    from: ['leader'],
    help: '1 for the state of the site, 0 for every other state.',
    meaning: 'The states are `up`, `mute`, `suspect`, `down` and `unknown`, as in `antipode status`.',
  },
  antipode_site_mute: {
    type: 'gauge',
    unit: '',
    labels: ['site', 'kind'],
    from: ['leader'],
    help: '1 for a way in which the site does not do its work although its heartbeats arrive, 0 for every other way.',
    meaning:
      '`calls`: the coordinator does not reach the agent. `journal`: the agent cannot write its journal. `hsm`: the HSM does not answer a call. `turn`: work at a partition holds up all other work. `late`: the process of the agent runs late.',
  },
  antipode_site_silence_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['site'],
    from: ['leader'],
    help: 'Time since the last heartbeat of the site.',
    meaning: 'Absent for a site that was not heard since this coordinator leads.',
  },
  antipode_group_protection: {
    type: 'gauge',
    unit: '',
    labels: ['group', 'state'],
    from: ['leader'],
    help: '1 for the state of the group, 0 for every other state.',
    meaning:
      'The worst that is true of the group, as in `antipode status`. The states, the best first: `protected`, `partially-protected`, `failing`, `lagging`, `damaged`, `held`, `unprotected`, `unserved`, `contradicted`, `unreadable`.',
  },
  antipode_group_recovery_point_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['group'],
    from: ['leader'],
    help: 'Age of the recovery point of the standby that is furthest behind.',
    meaning:
      'Keys made since then can be lost with the active site. Absent while one standby has no usable generation.',
  },
  antipode_group_recovery_point_objective_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['group'],
    from: ['leader'],
    help: 'The highest age of the recovery point that the group allows.',
    meaning: 'The `rpo` of the declaration.',
  },
  antipode_member_recovery_point_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['group', 'site'],
    from: ['leader'],
    help: 'Age of the recovery point of this standby.',
    meaning: 'By the newest generation that the standby has read back. Absent while it has no usable one.',
  },
  antipode_member_replication_lag_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['group', 'site'],
    from: ['leader'],
    help: 'How much the recovery point of this standby is older than that of the newest capture.',
    meaning: 'At 0 the standby has all that was captured. It does not say when the last capture was.',
  },
  antipode_member_seat: {
    type: 'gauge',
    unit: '',
    labels: ['group', 'site', 'seat'],
    from: ['leader'],
    help: 'Always 1; the label says which role the member has.',
    meaning: 'By the database. `antipode_lease_remaining_seconds` is the word of the site itself.',
  },
  antipode_group_restorable_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['group'],
    from: ['leader'],
    help: 'Time since the last drill that passed began.',
    meaning:
      'The drill restored the newest generation of that moment and used its keys. Absent before the first one that passed.',
  },
  antipode_group_epoch: {
    type: 'gauge',
    unit: '',
    labels: ['group'],
    from: ['leader'],
    help: 'The epoch in force.',
    meaning: 'It grows with each move of the active role.',
  },
  antipode_group_protected_keys: {
    type: 'gauge',
    unit: 'keys',
    labels: ['group'],
    from: ['leader'],
    help: 'Private and secret keys in the newest generation, except for those that are counted as not protected.',
    meaning: 'A key is counted once, here or there. Absent before the first capture.',
  },
  antipode_group_unprotected_keys: {
    type: 'gauge',
    unit: 'keys',
    labels: ['group'],
    from: ['leader'],
    help: 'Private and secret keys of the active site that are not in the newest generation, or not as they are now.',
    meaning:
      'The generation can have the earlier form of such a key, or the form of another member that the token refuses. `antipode group show` says which ones and why. Absent before the first capture.',
  },
  antipode_group_uncaptured_objects: {
    type: 'gauge',
    unit: 'objects',
    labels: ['group', 'reason'],
    from: ['leader'],
    help: 'Objects at the active site that are not in the newest generation, by reason.',
    meaning: 'The reasons are those of the [glossary](glossary.md). A reason without an object is absent.',
  },
  antipode_group_concerns: {
    type: 'gauge',
    unit: 'concerns',
    labels: ['group', 'kind'],
    from: ['leader'],
    help: 'Reasons to doubt the state of the group, by kind.',
    meaning: 'Each is a line of `antipode group show`. A kind without a concern is absent.',
  },
  antipode_group_lease_bound_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['group'],
    from: ['leader'],
    help: 'How long until nobody can hold a lease of this group any more.',
    meaning: 'A bound from above: a failover without the active site waits for it. The site itself stops earlier.',
  },
  antipode_failovers_total: {
    type: 'counter',
    unit: '',
    labels: ['group', 'reason', 'outcome'],
    from: ['coordinator'],
    help: 'Moves of the active role that this process has seen end, by reason and outcome.',
    meaning:
      '`done`: the target serves. `failed`: the move ended without a promotion. Counted from the start of the process.',
  },
  antipode_failover_recovery_time_seconds: {
    type: 'histogram',
    unit: 'seconds',
    labels: ['group', 'reason'],
    from: ['coordinator'],
    help: 'How long nobody served, for each move that ended well.',
    meaning: 'From the last sign of life of the old active site, or from when the target had caught up.',
    buckets: RECOVERY_BUCKETS,
  },
  antipode_drill_last_passed: {
    type: 'gauge',
    unit: '',
    labels: ['group'],
    from: ['leader'],
    help: '1 if the last drill passed, 0 if it failed.',
    meaning: 'Absent before the first drill.',
  },
  antipode_drill_last_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['group'],
    from: ['leader'],
    help: 'Time since the last drill began, whether it passed or not.',
    meaning: 'Absent before the first drill.',
  },
  antipode_drills_total: {
    type: 'counter',
    unit: '',
    labels: ['group', 'outcome'],
    from: ['coordinator'],
    help: 'Drills that this process has seen end.',
    meaning: 'Counted from the start of the process. `antipode drill list` has all of them with their evidence.',
  },
  antipode_operations_open: {
    type: 'gauge',
    unit: 'operations',
    labels: ['kind', 'status'],
    from: ['leader'],
    help: 'Operations in the queue, by kind and status.',
    meaning: 'By the database, which is the queue. A kind without an open operation is 0.',
  },
  antipode_operations_oldest_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['kind', 'status'],
    from: ['leader'],
    help: 'Time since the oldest of these operations was ordered.',
    meaning: 'Absent where none is open.',
  },
  antipode_operation_duration_seconds: {
    type: 'histogram',
    unit: 'seconds',
    labels: ['kind', 'outcome'],
    from: ['coordinator'],
    help: 'Time from the order of an operation to its end.',
    meaning: 'Pauses between attempts count. Of each kind that has ended in this process.',
    buckets: OPERATION_BUCKETS,
  },
  antipode_order_failures_total: {
    type: 'counter',
    unit: '',
    labels: ['kind', 'site', 'code'],
    from: ['coordinator'],
    help: 'Orders that failed, by the site where they failed and the code of the error.',
    meaning: 'Most are tried again. The site is empty where the order failed at the coordinator itself.',
  },
  antipode_table_rows: {
    type: 'gauge',
    unit: 'rows',
    labels: ['table'],
    from: ['leader'],
    help: 'Rows of the table, as PostgreSQL estimates them.',
    meaning: 'Absent for a table that PostgreSQL has not counted yet.',
  },
  antipode_table_bytes: {
    type: 'gauge',
    unit: 'bytes',
    labels: ['table'],
    from: ['leader'],
    help: 'Space on disk of the table with its indexes.',
    meaning: '[Architecture](architecture.md#what-is-kept) says what bounds each table.',
  },
  antipode_coordinator_silence_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['site'],
    from: AGENTS,
    help: 'Time since a coordinator last answered a heartbeat of this site.',
    meaning: 'Absent if none has answered since the agent started.',
  },
  antipode_agent_term: {
    type: 'gauge',
    unit: '',
    labels: ['site'],
    from: AGENTS,
    help: 'The highest term of a coordinator that this site has persisted.',
    meaning: 'Orders of a lower term are refused. Absent before the first order or answer.',
  },
  antipode_clock_offset_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['site'],
    from: AGENTS,
    help: 'Wall clock of this site minus that of the coordinator that answers.',
    meaning:
      'Exact to `antipode_clock_offset_error_seconds`. Absent before the first answer, and where the coordinator is of an earlier release.',
  },
  antipode_clock_offset_error_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['site'],
    from: AGENTS,
    help: 'By how much the offset may be wrong: half of the round trip.',
    meaning: 'Absent where the offset is absent.',
  },
  antipode_clock_rate_ratio: {
    type: 'gauge',
    unit: 'ratio',
    labels: ['site', 'bound'],
    from: AGENTS,
    help: 'Milliseconds of this site in one of the coordinator, at least and at most.',
    meaning: 'Leases allow a ratio down to 1/1.25. Absent before the second answer of one coordinator.',
  },
  antipode_peer_reached: {
    type: 'gauge',
    unit: '',
    labels: ['site', 'peer'],
    from: AGENTS,
    help: '1 if this site reaches the other site, 0 if not.',
    meaning: 'By the last attempt. Absent before the first one.',
  },
  antipode_store_bytes: {
    type: 'gauge',
    unit: 'bytes',
    labels: ['site', 'file'],
    from: AGENTS,
    help: 'Size of a database file of the agent, with its write-ahead log.',
    meaning: 'Sealed generations are in `generations`. Absent if the file cannot be seen.',
  },
  antipode_lease_remaining_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['site', 'group'],
    from: ['agent'],
    help: 'Rest of the lease that this site holds as the active member of the group.',
    meaning:
      'At 0 the site captures nothing and may be followed by another one. Absent where it is not the active member.',
  },
  antipode_partition_usable: {
    type: 'gauge',
    unit: '',
    labels: ['site', 'partition'],
    from: ['agent'],
    help: '1 if the partition can be used, so far as is known.',
    meaning: 'Known from the last attempt to use it, and tried every few seconds while it is 0.',
  },
  antipode_partition_failure: {
    type: 'gauge',
    unit: '',
    labels: ['site', 'partition', 'code'],
    from: ['agent'],
    help: 'Always 1; the label says why the partition cannot be used.',
    meaning: 'Absent while the partition can be used.',
  },
  antipode_partition_orders_waiting: {
    type: 'gauge',
    unit: 'orders',
    labels: ['site', 'partition'],
    from: ['agent'],
    help: 'Orders that wait for their turn at the partition.',
    meaning: 'More than 32 are refused with HSM_UNAVAILABLE. A coordinator gives one site four operations at a time.',
  },
  antipode_partition_longest_wait_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['site', 'partition'],
    from: ['agent'],
    help: 'How long the first of the orders that wait has waited for its turn at the partition.',
    meaning: '0 where none waits. It begins again whenever an order gets its turn.',
  },
  antipode_hsm_unanswered_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: ['site', 'partition'],
    from: ['agent'],
    help: 'How long the HSM has not answered the call that is under way.',
    meaning: '0 where no call is under way.',
  },
  antipode_hsm_calls_total: {
    type: 'counter',
    unit: '',
    labels: ['site', 'partition', 'function', 'returned'],
    from: ['agent'],
    help: 'Calls of PKCS#11 that the HSM has answered, by function and return value.',
    meaning:
      'Not every value is an error: `CKR_ATTRIBUTE_TYPE_INVALID` says that an object does not have an attribute. Calls of applications do not count.',
  },
  antipode_hsm_call_duration_seconds: {
    type: 'histogram',
    unit: 'seconds',
    labels: ['site', 'partition', 'function'],
    from: ['agent'],
    help: 'How long the HSM took to answer a call, by function.',
    meaning: 'Only calls that were answered. A call under way is in `antipode_hsm_unanswered_seconds`.',
    buckets: CALL_BUCKETS,
  },
} as const satisfies Readonly<Record<`antipode_${string}`, MetricDeclaration>>;

export type MetricName = keyof typeof METRICS;
type OfType<Type extends MetricDeclaration['type']> = {
  [Name in MetricName]: (typeof METRICS)[Name]['type'] extends Type ? Name : never;
}[MetricName];
export type GaugeName = OfType<'gauge'>;
export type CounterName = OfType<'counter'>;
export type HistogramName = OfType<'histogram'>;
export type LabelsOf<Name extends MetricName> = Readonly<Record<(typeof METRICS)[Name]['labels'][number], string>>;
