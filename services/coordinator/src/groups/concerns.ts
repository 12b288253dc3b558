/**
 * Reasons to doubt a status that is still correct by its numbers. "Protected" says that everything acknowledged is
 * within the objective. It does not say that the next key will be. So an operation whose last attempt failed, and a
 * site that is silent, are shown at once and not only when the objective has passed (I13). A retry that succeeds is not
 * shown. Pure.
 */

import { isFastClock, isSlowClock } from '@antipode/protocol';
import type { AntipodeError } from '@antipode/runtime';
import { agoMs } from '../calendar/timeline.ts';
import type { HookTrouble } from '../hooks/role-changes.ts';
import type { Group } from '../model.ts';
import { isHung } from '../operations/hung-hsm.ts';
import { DAMAGE_CODES } from '../operations/scrub/machine.ts';
import { partitionIn } from '../sites/accounts.ts';
import { mutenessesNow, type SiteView } from '../sites/detector.ts';
import type { ScrubRecord } from '../store/tables/evidence/scrubs.ts';
import type { Intent } from '../store/tables/intents.ts';
import type { FailingIntent } from '../store/tables/streaks.ts';
import { namesConcerns } from './names-concern.ts';

export interface Concern {
  readonly kind:
    | 'capture'
    | 'replication'
    | 'domain-key'
    | 'rejoin'
    | 'drill'
    | 'scrub'
    | 'site'
    | 'partition'
    | 'planning'
    | 'hook'
    | 'clock'
    | 'leader'
    | 'names';
  /** Empty if the concern is not about one site. */
  readonly site: string;
  /** Empty where nothing failed. */
  readonly errorCode: string;
  readonly message: string;
  readonly ageMs: number;
  /** A hint, if the place that raised the error knows better than the catalogue. */
  readonly hint?: string | undefined;
}

export interface Recent {
  /** What failed, by kind and site, and has not ended well since. */
  readonly failing: readonly FailingIntent[];
  readonly open: readonly Intent[];
  readonly scrubs: readonly ScrubRecord[];
  /** The last drill. */
  readonly drill:
    | { readonly site: string; readonly passed: boolean; readonly errorCode: string; readonly startedMs: number }
    | undefined;
}

/** Of this coordinator. */
export interface Own {
  readonly isLeader: boolean;
  readonly troubles: readonly { readonly group: string; readonly error: AntipodeError; readonly sinceMs: number }[];
  /** Hooks that have not accepted where a group is served. */
  readonly hooks: readonly HookTrouble[];
  readonly monotonicMs: number;
}

/** A failure of this many attempts in a row is one that lasts. */
const ATTEMPTS_SHOWN = 2;
const WATCHED: ReadonlySet<string> = new Set(['capture', 'replication', 'domain-key', 'rejoin']);
/** They say that something else came first, or goes on elsewhere. */
export const NO_FAILURE: readonly string[] = [
  'EPOCH_STALE',
  'ROLE_REFUSED',
  'GENERATION_NOT_NEWER',
  'LEADERSHIP_LOST',
  'GROUP_BUSY',
];

/**
 * Whether a rotation waits for security officers or for a distributor that is away. All keys stay protected under the
 * version in use meanwhile, so this is not a concern.
 */
function isPatientRotation(
  { domainKeyVersion, spec: { distributor } }: Group,
  { kind, state }: Intent,
  view: (site: string) => SiteView | undefined,
): boolean {
  if (kind !== 'domain-key' || domainKeyVersion === 0) return false;
  const isAway = distributor !== undefined && view(distributor.site)?.status !== 'up';
  return state.phase === 'awaiting-officers' || isAway;
}

export function concernsOf({
  group,
  recent: { failing, open, scrubs, drill },
  own,
  view,
  nowMs,
  hangMs,
}: {
  group: Group;
  recent: Recent;
  own: Own;
  view: (site: string) => SiteView | undefined;
  nowMs: number;
  hangMs: number;
}): Concern[] {
  // A stamp that lies ahead says nothing of its age.
  const ago = (stampMs: number): number => (stampMs > nowMs ? 0 : agoMs({ nowMs, stampMs }));
  const found: Concern[] = [];
  for (const { intent, sinceMs } of failing) found.push(concernOf(intent, ago(sinceMs)));
  for (const intent of open) {
    const { kind, site, status, attempts, errorCode, createdMs } = intent;
    const isFailing = attempts >= ATTEMPTS_SHOWN && errorCode !== '' && !NO_FAILURE.includes(errorCode);
    const isKnown = found.some((one) => one.kind === kind && one.site === site);
    if (isPatientRotation(group, intent, view)) continue;
    const isStuck = status === 'parked' && errorCode === 'OPERATION_STUCK';
    if (isStuck || (WATCHED.has(kind) && !isKnown && (status === 'parked' || isFailing)))
      found.push(concernOf(intent, ago(createdMs)));
  }
  if (drill !== undefined && !drill.passed)
    found.push({
      kind: 'drill',
      site: drill.site,
      errorCode: drill.errorCode,
      message: 'the last drill failed',
      ageMs: ago(drill.startedMs),
    });
  for (const { site, errorCode, startedMs } of scrubs) {
    // Damage that a scrub has found is reported elsewhere: by the headline, or by what the standby has acknowledged. A
    // scrub that a move has overtaken is tried again, and found nothing wrong.
    if (errorCode === '' || DAMAGE_CODES.has(errorCode) || NO_FAILURE.includes(errorCode)) continue;
    if (!group.members.some((member) => member.site === site)) continue;
    found.push({
      kind: 'scrub',
      site,
      errorCode,
      message: 'the last scrub could not read the partition',
      ageMs: ago(startedMs),
    });
  }
  for (const { site, serial } of group.members) {
    const heard = view(site);
    if (heard?.clockRate !== undefined && (isSlowClock(heard.clockRate) || isFastClock(heard.clockRate)))
      found.push({
        kind: 'clock',
        site,
        errorCode: 'CLOCK_RATE_DIFFERS',
        message: `the clock of site ${site} runs at ${heard.clockRate.low.toFixed(2)} to ${heard.clockRate.high.toFixed(2)} of the speed of this coordinator's${isSlowClock(heard.clockRate) ? ', so it gets no lease' : ''}`,
        ageMs: 0,
      });
    if (heard?.status === 'up') {
      // Orders that wait for this partition have not failed yet, and it can take hours until they do.
      const partition = partitionIn(heard.state, serial);
      if (partition !== undefined && isHung(partition, hangMs))
        found.push({
          kind: 'partition',
          site,
          errorCode: 'HSM_WORKER_LOST',
          message: `the HSM at site ${site} does not answer, although its agent does and work is waiting`,
          ageMs: partition.unansweredMs,
          hint: 'Check the HSM and the link to it. The agent continues by itself when the HSM answers again.',
        });
      // A silent HSM is among the concerns already.
      for (const { kind, serial: of, errorCode, message, sinceMs, hint } of mutenessesNow(heard))
        if (kind !== 'hsm' && (of === '' || of === serial))
          found.push({
            kind: of === '' ? 'site' : 'partition',
            site,
            errorCode,
            message,
            ageMs: Math.max(0, own.monotonicMs - sinceMs),
            hint,
          });
      continue;
    }
    const message = `site ${site} is ${heard?.status ?? 'unknown'}: ${heard?.reason ?? 'it has not been heard yet'}`;
    const silentMs = heard?.lastMs === undefined ? 0 : own.monotonicMs - heard.lastMs;
    found.push({ kind: 'site', site, errorCode: '', message, ageMs: Math.max(0, silentMs) });
  }
  found.push(...namesConcerns({ group, view }));
  for (const { group: name, error, sinceMs } of own.troubles)
    if (name === '' || name === group.spec.name)
      found.push({
        kind: 'planning',
        site: '',
        errorCode: error.code,
        message: plain(error.message, error.code),
        ageMs: own.monotonicMs - sinceMs,
        hint: error.ownHint,
      });
  for (const { group: name, message, sinceMs } of own.hooks)
    if (name === group.spec.name)
      found.push({
        kind: 'hook',
        site: '',
        errorCode: 'HOOK_FAILED',
        message: plain(message, 'HOOK_FAILED'),
        ageMs: own.monotonicMs - sinceMs,
      });
  if (!own.isLeader)
    found.push({
      kind: 'leader',
      site: '',
      errorCode: '',
      message: 'this coordinator does not lead, so no site reports to it',
      ageMs: 0,
    });
  return found;
}

function concernOf({ kind, site, errorCode, errorMessage, failure }: Intent, ageMs: number): Concern {
  return {
    kind: kind as Concern['kind'],
    site,
    errorCode,
    message: plain(errorMessage || failure?.message || '', errorCode),
    ageMs,
    hint: failure?.code === errorCode ? failure.hint : undefined,
  };
}

const plain = (message: string, code: string): string => message.replace(`[${code}] `, '');
