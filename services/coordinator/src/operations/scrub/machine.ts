/**
 * Looks for silent damage in the partition of one member.
 *
 *   due -> scrubbing -> recording -> passed | failed(code)
 *
 * At a standby whatever is not as in the generation is damage; at the active member applications may have deleted and
 * changed objects since the capture, and only a key that does not work is.
 */
import type { Failure, Proof, Resume, Step } from '../../model.ts';

export interface ScrubOutcome {
  readonly startedMs: number;
  readonly isReplica: boolean;
  /** The generation that the partition was compared with. */
  readonly epoch: bigint;
  readonly number: bigint;
  readonly proof: Proof;
  readonly missing: number;
  readonly altered: number;
  readonly mendedBlobs: number;
}

export type ScrubState =
  | { readonly phase: 'due' }
  | { readonly phase: 'scrubbing' }
  | { readonly phase: 'recording'; readonly code: string; readonly outcome: ScrubOutcome | undefined }
  | { readonly phase: 'passed'; readonly outcome: ScrubOutcome }
  | { readonly phase: 'failed'; readonly code: string; readonly outcome: ScrubOutcome | undefined };

export type ScrubEffect =
  | { readonly type: 'scrub' }
  | { readonly type: 'record-scrub'; readonly code: string; readonly outcome: ScrubOutcome | undefined };

export type ScrubEvent =
  | Resume
  | Failure
  | { readonly type: 'scrubbed'; readonly outcome: ScrubOutcome }
  | { readonly type: 'recorded' };

export function decideScrub(state: ScrubState, event: ScrubEvent): Step<ScrubState, ScrubEffect> {
  const record = (code: string, outcome: ScrubOutcome | undefined): Step<ScrubState, ScrubEffect> => ({
    state: { phase: 'recording', code, outcome },
    effect: { type: 'record-scrub', code, outcome },
  });
  switch (state.phase) {
    case 'due':
    case 'scrubbing':
      if (event.type === 'failed') return record(event.code, undefined);
      if (event.type === 'scrubbed') return record(codeOf(event.outcome), event.outcome);
      return { state: { phase: 'scrubbing' }, effect: { type: 'scrub' } };
    case 'recording': {
      const { code, outcome } = state;
      if (event.type === 'failed') return { state: { phase: 'failed', code: event.code, outcome } };
      if (event.type !== 'recorded') return record(code, outcome);
      return {
        state: code !== '' || outcome === undefined ? { phase: 'failed', code, outcome } : { phase: 'passed', outcome },
      };
    }
    case 'passed':
    case 'failed':
      return { state };
  }
}

/** The codes of a scrub that found damage. With any other code the scrub could not look. */
export const DAMAGE_CODES: ReadonlySet<string> = new Set([
  'OBJECT_UNPROVEN',
  'DIGEST_MISMATCH',
  'BLOB_INVALID',
  'MANIFEST_INVALID',
]);

function codeOf({ proof, isReplica, missing, altered }: ScrubOutcome): string {
  if (proof.failed > 0) return 'OBJECT_UNPROVEN';
  return isReplica && missing + altered > 0 ? 'DIGEST_MISMATCH' : '';
}
