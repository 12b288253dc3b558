/**
 * Rehearses the restore of one generation in one scratch partition.
 *
 *   planned -> restoring -> recording -> passed | failed(code)
 *
 * A drill that did not run, or could not clean up, has failed.
 */
import type { Failure, Proof, Resume, Step } from '../../model.ts';

interface Target {
  readonly epoch: bigint;
  readonly number: bigint;
  readonly serial: string;
}

export interface DrillOutcome {
  readonly proof: Proof;
  readonly isClean: boolean;
  readonly startedMs: number;
  readonly recoveryTimeMs: number;
  /** Canonical JSON, with its signature and signer in base64. */
  readonly evidence: string;
  readonly signature: string;
  readonly signer: string;
}

export type DrillState =
  | ({ readonly phase: 'planned' } & Target)
  | ({ readonly phase: 'restoring' } & Target)
  | ({ readonly phase: 'recording'; readonly code: string; readonly outcome: DrillOutcome | undefined } & Target)
  | ({ readonly phase: 'passed'; readonly proved: number; readonly recoveryTimeMs: number } & Target)
  | ({ readonly phase: 'failed'; readonly code: string } & Target);

export type DrillEffect =
  | ({ readonly type: 'drill' } & Target)
  | ({ readonly type: 'record-drill'; readonly code: string; readonly outcome: DrillOutcome | undefined } & Target);

export type DrillEvent =
  | Resume
  | Failure
  | { readonly type: 'rehearsed'; readonly outcome: DrillOutcome }
  | { readonly type: 'recorded' };

export function decideDrill(state: DrillState, event: DrillEvent): Step<DrillState, DrillEffect> {
  const { epoch, number, serial } = state;
  const target: Target = { epoch, number, serial };
  const record = (code: string, outcome: DrillOutcome | undefined): Step<DrillState, DrillEffect> => ({
    state: { phase: 'recording', code, outcome, ...target },
    effect: { type: 'record-drill', code, outcome, ...target },
  });
  switch (state.phase) {
    case 'planned':
    case 'restoring':
      if (event.type === 'failed') return record(event.code, undefined);
      if (event.type === 'rehearsed') return record(codeOf(event.outcome), event.outcome);
      return { state: { phase: 'restoring', ...target }, effect: { type: 'drill', ...target } };
    case 'recording':
      if (event.type === 'failed') return { state: { phase: 'failed', code: event.code, ...target } };
      if (event.type !== 'recorded') return record(state.code, state.outcome);
      if (state.code !== '' || state.outcome === undefined)
        return { state: { phase: 'failed', code: state.code, ...target } };
      return {
        state: {
          phase: 'passed',
          proved: state.outcome.proof.proved,
          recoveryTimeMs: state.outcome.recoveryTimeMs,
          ...target,
        },
      };
    case 'passed':
    case 'failed':
      return { state };
  }
}

function codeOf({ proof, isClean }: DrillOutcome): string {
  if (proof.failed > 0) return 'OBJECT_UNPROVEN';
  return isClean ? '' : 'DRILL_UNCLEAN';
}
