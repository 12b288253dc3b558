/**
 * Captures the active member of a group. The planner decides later what the standbys need.
 *
 *   due -> capturing -> captured | abandoned(code)
 */
import type { Failure, Generation, Resume, Step } from '../../model.ts';

export type CaptureState =
  | { readonly phase: 'due' }
  | { readonly phase: 'capturing' }
  | {
      readonly phase: 'captured';
      readonly epoch: bigint;
      readonly number: bigint;
      readonly manifestDigest: string;
      readonly isNew: boolean;
      readonly sealedObjects: number;
    }
  | { readonly phase: 'abandoned'; readonly code: string };

export type CaptureEffect = { readonly type: 'capture' };

export type CaptureEvent =
  | Resume
  | Failure
  | {
      readonly type: 'captured';
      readonly generation: Pick<Generation, 'epoch' | 'number' | 'manifestDigest'>;
      readonly isNew: boolean;
      readonly sealedObjects: number;
    };

export function decideCapture(state: CaptureState, event: CaptureEvent): Step<CaptureState, CaptureEffect> {
  if (state.phase === 'captured' || state.phase === 'abandoned') return { state };
  switch (event.type) {
    case 'failed':
      return { state: { phase: 'abandoned', code: event.code } };
    case 'captured': {
      const { generation, isNew, sealedObjects } = event;
      const { epoch, number, manifestDigest } = generation;
      return { state: { phase: 'captured', epoch, number, manifestDigest, isNew, sealedObjects } };
    }
    case 'resume':
      return { state: { phase: 'capturing' }, effect: { type: 'capture' } };
  }
}
