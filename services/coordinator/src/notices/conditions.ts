/**
 * The causes of notices, by the same readings as `antipode status` and the metrics: protection and concerns of groups,
 * the state of sites and their partitions, and the coordinator itself. Pure.
 */
import type { CertificateState } from '@antipode/protocol';
import { PROTECTION_STATES } from '@antipode/runtime';
import type { WaitingApproval } from '../groups/approvals.ts';
import type { HookTrouble } from '../hooks/role-changes.ts';
import type { PlanningTrouble } from '../operations/reconciler.ts';
import type { MeasuredGroup } from '../rpc/groups/group-reader.ts';
import { mutenessesNow, type SiteView } from '../sites/detector.ts';
import type { Intent } from '../store/tables/intents.ts';
import type { Condition, NoticeKind } from './causes.ts';

export interface Seen {
  readonly coordinator: string;
  readonly groups: readonly MeasuredGroup[];
  readonly unreadable: readonly string[];
  readonly sites: readonly SiteView[];
  /** Sites whose name a second agent claims now. */
  readonly claimed: readonly string[];
  /** Groups whose automatic failover is due and waits. */
  readonly waiting: readonly string[];
  /** Operations that wait for a person. */
  readonly parked: readonly Pick<Intent, 'id' | 'kind' | 'group' | 'site' | 'errorCode'>[];
  /** Failovers that ended lately. */
  readonly failovers: readonly (Pick<Intent, 'id' | 'group' | 'status' | 'errorCode'> & { readonly to: string })[];
  readonly approvals: readonly WaitingApproval[];
  readonly troubles: readonly Pick<PlanningTrouble, 'group' | 'error'>[];
  readonly hooks: readonly Pick<HookTrouble, 'hook' | 'group'>[];
  /** Receivers that have not accepted the notices for them. */
  readonly receivers: readonly string[];
  readonly isQueueUp: boolean;
  readonly certificate: Pick<CertificateState, 'certificateEndsMs' | 'authorityEndsMs'> | undefined;
  /** On the wall, as certificates count. */
  readonly calendarMs: number;
}

const DAY_MS = 86_400_000;
const PROOF_DAYS = 35;
const ENDING_DAYS = 14;
const ENDS_NOW_DAYS = 2;
/** As the alert rule says. */
const SILENT_MS = 30_000;

const OF_PROTECTION: Readonly<Record<string, NoticeKind>> = {
  contradicted: 'group-contradicted',
  unserved: 'group-unserved',
  unprotected: 'group-unprotected',
  held: 'group-held',
  damaged: 'group-damaged',
  lagging: 'group-lagging',
  failing: 'group-failing',
  'partially-protected': 'group-partially-protected',
};
/** A group shows the worst word that is true of it, which hides the better ones. */
const badness = (word: string): number => (PROTECTION_STATES as readonly string[]).indexOf(word);
const wordOf = (kind: NoticeKind): string | undefined =>
  Object.keys(OF_PROTECTION).find((word) => OF_PROTECTION[word] === kind);

export function conditionsOf(seen: Seen): Condition[] {
  return [
    ...seen.groups.flatMap(ofGroup),
    ...seen.unreadable.map((group): Condition => ({ kind: 'group-unreadable', labels: { group } })),
    ...seen.waiting.map((group): Condition => ({ kind: 'failover-waits', labels: { group } })),
    ...seen.parked.map(
      ({ id, kind, group, site, errorCode }): Condition => ({
        kind: 'operation-waits',
        labels: { group, site, name: kind, code: errorCode, id: id.slice(0, 8) },
      }),
    ),
    ...ofFailovers(seen.failovers),
    ...seen.approvals.map(
      ({ digest, group, action, requestedBy, missing }): Condition => ({
        kind: 'approval-waits',
        labels: {
          group,
          name: action,
          id: digest.slice(0, 16),
          words: `${missing} more, requested by ${requestedBy}`,
        },
      }),
    ),
    ...seen.sites.flatMap((site) => ofSite(site, seen)),
    ...ofCertificate(`coordinator ${seen.coordinator}`, seen.certificate, seen),
    ...(seen.isQueueUp ? [] : [{ kind: 'queue-down', labels: { name: seen.coordinator } } satisfies Condition]),
    ...distinct(
      seen.troubles.map(({ error }): Condition => ({ kind: 'planning-fails', labels: { code: error.code } })),
    ),
    ...seen.hooks.map(({ hook, group }): Condition => ({ kind: 'hook-fails', labels: { name: hook, group } })),
    ...seen.receivers.map((name): Condition => ({ kind: 'receiver-fails', labels: { name } })),
  ];
}

/** By the last word of a site. While it is silent, nobody knows. */
const BY_SITES: ReadonlySet<NoticeKind> = new Set<NoticeKind>([
  'pin-refused',
  'partition-unusable',
  'hsm-silent',
  'site-mute',
  'certificate-ending',
  'certificate-ends-now',
]);

/** Whether the cause of a notice would be among those that were seen, if it lasted. */
export function couldSee(
  { kind, group, site }: { readonly kind: NoticeKind; readonly group: string; readonly site: string },
  { unreadable, groups, sites }: Pick<Seen, 'unreadable' | 'groups' | 'sites'>,
): boolean {
  if (unreadable.includes(group)) return kind === 'group-unreadable';
  const word = wordOf(kind);
  if (word !== undefined) return badness(groups.find(({ name }) => name === group)?.protection ?? '') <= badness(word);
  if (site === '') return true;
  const status = sites.find((one) => one.site === site)?.status;
  // A leader that doubts itself, or has heard nobody yet, does not know whether a lost site is back.
  if (kind === 'site-down') return status === undefined || status === 'up' || status === 'down';
  return !BY_SITES.has(kind) || status === 'up';
}

function ofGroup({ name: group, protection, ages, drillPassed, counts, concerns }: MeasuredGroup): Condition[] {
  const found: Condition[] = [];
  const add = (kind: NoticeKind, labels: Condition['labels'] = {}): void =>
    void found.push({ kind, labels: { group, ...labels } });
  const ofProtection = OF_PROTECTION[protection];
  if (ofProtection === 'group-failing') add(ofProtection, { words: [...new Set(concerns)].sort().join(', ') });
  else if (ofProtection !== undefined) add(ofProtection);
  if ((counts?.unprotectedKeys ?? 0) > 0) add('keys-unprotected');
  if (ages.recoveryPointMs === undefined) add('recovery-point-unknown');
  if (ages.restorableMs === undefined) add('never-proven');
  else if (ages.restorableMs > PROOF_DAYS * DAY_MS) add('proof-old');
  if (drillPassed === false) add('drill-failed');
  return found;
}

/** An automatic failover that fails is tried again and again: it is one cause until one has ended well. */
function ofFailovers(failovers: Seen['failovers']): Condition[] {
  const found = new Map<string, Condition>();
  for (const { id, group, status, errorCode: code, to } of failovers) {
    const failed = `${group} failed`;
    if (status === 'failed') found.set(failed, { kind: 'failover-failed', labels: { group, code } });
    if (status !== 'done') continue;
    found.delete(failed);
    found.set(id, { kind: 'failed-over', labels: { group, id: id.slice(0, 8), words: `to site ${to}` } });
  }
  return [...found.values()];
}

function ofSite(view: SiteView, seen: Seen): Condition[] {
  const { site, status, state } = view;
  const down: Condition[] = status === 'down' ? [{ kind: 'site-down', labels: { site } }] : [];
  const claimed: Condition[] = seen.claimed.includes(site) ? [{ kind: 'second-agent', labels: { site } }] : [];
  // The last word of a silent site is not news.
  if (status !== 'up' || state === undefined) return [...down, ...claimed];
  const partitions = state.partitions.flatMap(({ name: partition, errorCode: code, unansweredMs }): Condition[] => [
    ...(code === ''
      ? []
      : [
          {
            kind: code.startsWith('PIN_') ? 'pin-refused' : 'partition-unusable',
            labels: { site, partition, code },
          } satisfies Condition,
        ]),
    ...(unansweredMs > SILENT_MS ? [{ kind: 'hsm-silent', labels: { site, partition } } satisfies Condition] : []),
  ]);
  const { certificate } = state;
  return [
    ...down,
    ...claimed,
    ...partitions,
    // A silent HSM has a notice of its own.
    ...distinct(
      mutenessesNow(view)
        .filter(({ kind }) => kind !== 'hsm')
        .map(({ kind }): Condition => ({ kind: 'site-mute', labels: { site, words: kind } })),
    ),
    ...ofCertificate(
      `site ${site}`,
      certificate && {
        certificateEndsMs: Number(certificate.certificateEndsMs),
        authorityEndsMs: Number(certificate.authorityEndsMs),
      },
      seen,
      { site },
    ),
  ];
}

function ofCertificate(
  name: string,
  certificate: Seen['certificate'],
  { calendarMs }: Seen,
  labels: Condition['labels'] = {},
): Condition[] {
  if (certificate === undefined) return [];
  const ends = [
    ['certificate', certificate.certificateEndsMs],
    ['authority', certificate.authorityEndsMs],
  ] as const;
  return ends.flatMap(([subject, endsMs]): Condition[] => {
    const leftMs = endsMs - calendarMs;
    if (leftMs >= ENDING_DAYS * DAY_MS) return [];
    const kind = leftMs < ENDS_NOW_DAYS * DAY_MS ? 'certificate-ends-now' : 'certificate-ending';
    return [{ kind, labels: { ...labels, name, subject } }];
  });
}

const distinct = (all: readonly Condition[]): Condition[] => [
  ...new Map(all.map((one) => [JSON.stringify(one.labels), one])).values(),
];
