/**
 * One piece of work with a vault of a group: a backup, a drill, a restore or a deletion.
 *
 *   due -> working -> recording -> finished | away | failed(code)
 *
 * A scheduled backup that finds no vault has not failed: a vault is offline for weeks by design. It becomes late.
 */
import type { ArchiveWorkName } from '@antipode/protocol';
import type { Failure, Proof, Resume, Step } from '../../model.ts';

export interface ArchiveTarget {
  readonly work: ArchiveWorkName;
  /** Of the vault. */
  readonly serial: string;
  /** Empty for the newest complete one, and for a backup. */
  readonly backup: string;
  /** Nobody waits for it. */
  readonly isScheduled: boolean;
}

export interface WorkOutcome {
  readonly verdict: string;
  readonly why: string;
  readonly backup: string;
  readonly epoch: bigint;
  readonly number: bigint;
  readonly objects: number;
  readonly deleted: readonly string[];
  readonly safetyBackup: string;
  readonly proof: Proof;
  readonly isClean: boolean;
  readonly startedMs: number;
  readonly recoveryTimeMs: number;
  /** Canonical JSON, with its signature and signer in base64. */
  readonly evidence: string;
  readonly signature: string;
  readonly signer: string;
}

/** The part that operators see. The evidence is in the record. */
type Shown = Pick<
  WorkOutcome,
  'verdict' | 'why' | 'backup' | 'epoch' | 'number' | 'objects' | 'deleted' | 'safetyBackup'
>;

export type ArchiveState =
  | { readonly phase: 'due'; readonly target: ArchiveTarget }
  | { readonly phase: 'working'; readonly target: ArchiveTarget }
  | {
      readonly phase: 'recording';
      readonly target: ArchiveTarget;
      readonly code: string;
      readonly outcome: WorkOutcome | undefined;
    }
  | { readonly phase: 'finished'; readonly target: ArchiveTarget; readonly shown: Shown }
  | { readonly phase: 'away'; readonly target: ArchiveTarget; readonly code: string }
  | {
      readonly phase: 'failed';
      readonly target: ArchiveTarget;
      readonly code: string;
      readonly message: string;
      readonly shown?: Shown;
    };

export type ArchiveEffect =
  | { readonly type: 'work'; readonly target: ArchiveTarget }
  | {
      readonly type: 'record-work';
      readonly target: ArchiveTarget;
      readonly code: string;
      readonly outcome: WorkOutcome | undefined;
    };

export type ArchiveEvent =
  | Resume
  | Failure
  | { readonly type: 'worked'; readonly outcome: WorkOutcome }
  /** Only of scheduled work. */
  | { readonly type: 'away'; readonly code: string }
  | { readonly type: 'recorded' };

/** The vault, or a link on the way to it, is not there. */
export const AWAY_CODES = ['PARTITION_NOT_FOUND', 'LUNA_UNREACHED'] as const;
const isAway = (code: string): boolean => AWAY_CODES.some((one) => one === code);

export function decideArchive(state: ArchiveState, event: ArchiveEvent): Step<ArchiveState, ArchiveEffect> {
  const { target } = state;
  const record = (code: string, outcome: WorkOutcome | undefined): Step<ArchiveState, ArchiveEffect> => ({
    state: { phase: 'recording', target, code, outcome },
    effect: { type: 'record-work', target, code, outcome },
  });
  switch (state.phase) {
    case 'due':
    case 'working':
      if (event.type === 'failed' || event.type === 'away') return record(event.code, undefined);
      if (event.type === 'worked') return record(codeOf(target.work, event.outcome), event.outcome);
      return { state: { phase: 'working', target }, effect: { type: 'work', target } };
    case 'recording': {
      const { code, outcome } = state;
      if (event.type === 'failed') return { state: { phase: 'failed', target, code: event.code, message: '' } };
      if (event.type !== 'recorded') return record(code, outcome);
      if (outcome !== undefined && code === '')
        return { state: { phase: 'finished', target, shown: shownOf(outcome) } };
      if (outcome === undefined && target.isScheduled && isAway(code))
        return { state: { phase: 'away', target, code } };
      return {
        state: {
          phase: 'failed',
          target,
          code,
          message: outcome === undefined ? '' : messageOf(target, outcome),
          ...(outcome === undefined ? {} : { shown: shownOf(outcome) }),
        },
      };
    }
    case 'finished':
    case 'away':
    case 'failed':
      return { state };
  }
}

const GOOD: Readonly<Record<ArchiveWorkName, string>> = {
  backup: 'complete',
  drill: 'proved',
  restore: 'complete',
  delete: 'gone',
};

/** Empty where the work is done. */
function codeOf(work: ArchiveWorkName, { verdict, why, isClean, proof }: WorkOutcome): string {
  if (verdict === 'unknown') return 'LUNA_OUTCOME_UNKNOWN';
  if (why === 'domainMismatch') return 'CLONING_DOMAIN_OTHER';
  if (verdict === 'not proved') return /^[A-Z_]+$/.test(why) ? why : 'OBJECT_UNPROVEN';
  if (verdict !== GOOD[work]) return 'ARCHIVE_INCOMPLETE';
  if (proof.failed > 0) return 'OBJECT_UNPROVEN';
  return work === 'drill' && !isClean ? 'DRILL_UNCLEAN' : '';
}

function messageOf({ work, serial }: ArchiveTarget, { verdict, why, objects, isClean }: WorkOutcome): string {
  const reason = why === '' ? '' : ` (${why})`;
  if (verdict === GOOD[work])
    return work === 'drill' && !isClean
      ? `the drill from vault ${serial} proved its keys, and the scratch partition could not be cleared`
      : `the ${work} with vault ${serial} is ${verdict}, and some of its keys do not work`;
  return `the ${work} with vault ${serial} is ${verdict}${reason}; ${objects} objects arrived`;
}

const shownOf = ({
  verdict,
  why,
  backup,
  epoch,
  number,
  objects,
  deleted,
  safetyBackup,
  proof,
}: WorkOutcome): Shown => ({
  verdict,
  why,
  backup,
  epoch,
  number,
  // A drill restores the own keys of the partition too. It proves the objects of the generation.
  objects: verdict === GOOD.drill ? proof.proved : objects,
  deleted,
  safetyBackup,
});
