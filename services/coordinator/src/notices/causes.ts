/**
 * The notices for operators: one row for each kind, with its severity, its text, the wait before it is sent, and
 * where to read what to do. Where an alert rule for Prometheus has the same cause, `alert` names it, and a test compares
 * severity, wait and runbook with it (test/rules/notices.test.ts).
 */

export const SEVERITIES = ['page', 'ticket', 'info'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** The names in a notice: never that of an object or a key. */
export type NoticeLabel = 'group' | 'site' | 'partition' | 'code' | 'name' | 'subject' | 'id' | 'words';

export interface NoticeDeclaration {
  readonly severity: Severity;
  /** The cause must last so long. Shorter ones heal by themselves. */
  readonly waitMs: number;
  /** `{site}` is the label of that name. */
  readonly text: string;
  /** A path in the documents. */
  readonly runbook: string;
  /** The alert rule with the same cause, if there is one. */
  readonly alert?: string;
  /** It happened, and does not end: nobody hears that it is resolved. */
  readonly isEvent?: true;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const MONITORING = 'docs/howto/monitoring.md';

export const NOTICES = {
  'group-unserved': {
    severity: 'page',
    waitMs: MINUTE_MS,
    text: 'Group {group} is not served.',
    runbook: 'docs/runbooks/site-lost.md',
    alert: 'AntipodeGroupUnserved',
  },
  'group-unprotected': {
    severity: 'page',
    waitMs: 15 * MINUTE_MS,
    text: 'Group {group} is unprotected.',
    runbook: `${MONITORING}#unprotected`,
    alert: 'AntipodeGroupUnprotected',
  },
  'group-held': {
    severity: 'page',
    waitMs: 5 * MINUTE_MS,
    text: 'Captures of group {group} are held.',
    runbook: 'docs/runbooks/key-damaged.md',
    alert: 'AntipodeGroupHeld',
  },
  'group-damaged': {
    severity: 'page',
    waitMs: MINUTE_MS,
    text: 'A key of group {group} is damaged at the active site.',
    runbook: 'docs/runbooks/key-damaged.md',
    alert: 'AntipodeGroupDamaged',
  },
  'group-contradicted': {
    severity: 'page',
    waitMs: MINUTE_MS,
    text: 'Database and journals of group {group} contradict each other.',
    runbook: 'docs/runbooks/journals-disagree.md',
    alert: 'AntipodeGroupContradicted',
  },
  'group-unreadable': {
    severity: 'page',
    waitMs: 5 * MINUTE_MS,
    text: 'The records of group {group} cannot be read.',
    runbook: 'docs/runbooks/database-lost.md',
    alert: 'AntipodeGroupUnreadable',
  },
  'group-lagging': {
    severity: 'page',
    waitMs: 5 * MINUTE_MS,
    text: 'A standby of group {group} is behind the objective.',
    runbook: `${MONITORING}#lagging`,
    alert: 'AntipodeGroupLagging',
  },
  'group-failing': {
    severity: 'ticket',
    waitMs: 30 * MINUTE_MS,
    text: 'Group {group} has reasons for doubt: {words}.',
    runbook: `${MONITORING}#failing`,
    alert: 'AntipodeGroupFailing',
  },
  'group-partially-protected': {
    severity: 'ticket',
    waitMs: DAY_MS,
    text: 'Some objects of group {group} are not protected.',
    runbook: `${MONITORING}#unprotected`,
    alert: 'AntipodeGroupPartiallyProtected',
  },
  'keys-unprotected': {
    severity: 'ticket',
    waitMs: HOUR_MS,
    text: 'Keys of group {group} are in no generation.',
    runbook: `${MONITORING}#unprotected`,
    alert: 'AntipodeKeysUnprotected',
  },
  'recovery-point-unknown': {
    severity: 'page',
    waitMs: 30 * MINUTE_MS,
    text: 'The recovery point of group {group} is not known.',
    runbook: `${MONITORING}#lagging`,
    alert: 'AntipodeRecoveryPointUnknown',
  },
  'never-proven': {
    severity: 'ticket',
    waitMs: 7 * DAY_MS,
    text: 'No drill of group {group} has ever passed.',
    runbook: `${MONITORING}#drills`,
    alert: 'AntipodeNeverProven',
  },
  'proof-old': {
    severity: 'ticket',
    waitMs: HOUR_MS,
    text: 'The last drill of group {group} that passed is more than 35 days old.',
    runbook: `${MONITORING}#drills`,
    alert: 'AntipodeProofOld',
  },
  'drill-failed': {
    severity: 'ticket',
    waitMs: 5 * MINUTE_MS,
    text: 'The last drill of group {group} failed.',
    runbook: `${MONITORING}#drills`,
    alert: 'AntipodeDrillFailed',
  },
  'failed-over': {
    severity: 'info',
    waitMs: 0,
    text: 'The active role of group {group} has moved ({words}).',
    runbook: 'docs/runbooks/failback.md',
    alert: 'AntipodeFailedOver',
    isEvent: true,
  },
  'failover-failed': {
    severity: 'page',
    waitMs: 0,
    text: 'A failover of group {group} has ended without a promotion ({code}).',
    runbook: 'docs/runbooks/site-lost.md',
    alert: 'AntipodeFailoverFailed',
  },
  'failover-waits': {
    severity: 'page',
    waitMs: 0,
    text: 'A failover of group {group} waits: it would lose what was acknowledged.',
    runbook: 'docs/runbooks/site-lost.md',
  },
  'approval-waits': {
    severity: 'ticket',
    waitMs: 0,
    text: 'An approval for {name} in group {group} waits for signatures: {words}.',
    runbook: 'docs/howto/approvals.md',
  },
  'operation-waits': {
    severity: 'ticket',
    waitMs: 15 * MINUTE_MS,
    text: 'An operation of group {group} waits for a person: {name}, {code}.',
    runbook: `${MONITORING}#operations`,
    alert: 'AntipodeOperationWaits',
  },
  'site-down': {
    severity: 'page',
    waitMs: 2 * MINUTE_MS,
    text: 'Site {site} is down.',
    runbook: 'docs/runbooks/site-lost.md',
    alert: 'AntipodeSiteDown',
  },
  'second-agent': {
    severity: 'page',
    waitMs: MINUTE_MS,
    text: 'A second agent claims to be site {site}, and is refused.',
    runbook: 'docs/runbooks/site-returns.md',
  },
  'pin-refused': {
    severity: 'page',
    waitMs: 0,
    text: 'The PIN of partition {partition} at site {site} does not work ({code}).',
    runbook: 'docs/runbooks/pin-changed.md',
    alert: 'AntipodePinRefused',
  },
  'partition-unusable': {
    severity: 'page',
    waitMs: 5 * MINUTE_MS,
    text: 'Partition {partition} at site {site} cannot be used ({code}).',
    runbook: 'docs/runbooks/hsm-lost.md',
    alert: 'AntipodePartitionUnusable',
  },
  'hsm-silent': {
    severity: 'page',
    waitMs: MINUTE_MS / 4,
    text: 'The HSM of partition {partition} at site {site} does not answer.',
    runbook: 'docs/runbooks/hsm-lost.md',
    alert: 'AntipodeHsmSilent',
  },
  'site-mute': {
    severity: 'page',
    waitMs: 2 * MINUTE_MS,
    text: 'Site {site} is heard and does not do its work ({words}).',
    runbook: `${MONITORING}#mute`,
    alert: 'AntipodeSiteMute',
  },
  'queue-down': {
    severity: 'ticket',
    waitMs: 10 * MINUTE_MS,
    text: 'Coordinator {name} runs without Redis.',
    runbook: `${MONITORING}#queue`,
    alert: 'AntipodeQueueDown',
  },
  'planning-fails': {
    severity: 'page',
    waitMs: 5 * MINUTE_MS,
    text: 'Groups cannot be planned ({code}).',
    runbook: 'docs/runbooks/database-lost.md',
    alert: 'AntipodePlanningFails',
  },
  'certificate-ending': {
    severity: 'ticket',
    waitMs: HOUR_MS,
    text: 'The {subject} of {name} ends within 14 days.',
    runbook: `${MONITORING}#certificates`,
    alert: 'AntipodeCertificateEnding',
  },
  'certificate-ends-now': {
    severity: 'page',
    waitMs: 5 * MINUTE_MS,
    text: 'The {subject} of {name} ends within two days.',
    runbook: `${MONITORING}#certificates`,
    alert: 'AntipodeCertificateEndsNow',
  },
  'hook-fails': {
    severity: 'ticket',
    waitMs: 5 * MINUTE_MS,
    text: 'Hook {name} has not accepted where group {group} is served.',
    runbook: 'docs/hooks.md',
  },
  'receiver-fails': {
    severity: 'ticket',
    waitMs: 15 * MINUTE_MS,
    text: 'Receiver {name} does not accept notices.',
    runbook: 'docs/howto/notifications.md#a-receiver-that-fails',
    alert: 'AntipodeNoticesUndelivered',
  },
} as const satisfies Readonly<Record<string, NoticeDeclaration>>;

export type NoticeKind = keyof typeof NOTICES;

export const declarationOf = (kind: NoticeKind): NoticeDeclaration => NOTICES[kind];

/** A cause that lasts now, or an event. */
export interface Condition {
  readonly kind: NoticeKind;
  readonly labels: Readonly<Partial<Record<NoticeLabel, string>>>;
}

/** The same while the cause lasts. Words can change meanwhile. */
export const keyOf = ({ kind, labels: { words: _words, ...rest } }: Condition): string =>
  [kind, ...Object.entries(rest).map(([name, value]) => `${name}=${value}`)].join('/');

export const textOf = ({ kind, labels }: Condition): string =>
  NOTICES[kind].text.replaceAll(/\{(\w+)\}/g, (_all, name: NoticeLabel) => labels[name] ?? '');
