/**
 * Asks one site how many partitions it has, and records the answer.
 *
 *   due -> asking -> recording -> recorded | failed(code)
 */
import type { Failure, Resume, Step } from '../../model.ts';

export type RollCallState =
  | { readonly phase: 'due' }
  | { readonly phase: 'asking' }
  | { readonly phase: 'recording'; readonly partitions: number }
  | { readonly phase: 'recorded'; readonly partitions: number }
  | { readonly phase: 'failed'; readonly code: string };

export type RollCallEffect = { readonly type: 'ask' } | { readonly type: 'record-answer'; readonly partitions: number };

export type RollCallEvent =
  | Resume
  | Failure
  | { readonly type: 'answered'; readonly partitions: number }
  | { readonly type: 'written' };

export function decideRollCall(state: RollCallState, event: RollCallEvent): Step<RollCallState, RollCallEffect> {
  switch (state.phase) {
    case 'due':
    case 'asking': {
      if (event.type === 'failed') return { state: { phase: 'failed', code: event.code } };
      if (event.type !== 'answered') return { state: { phase: 'asking' }, effect: { type: 'ask' } };
      const { partitions } = event;
      return { state: { phase: 'recording', partitions }, effect: { type: 'record-answer', partitions } };
    }
    case 'recording': {
      const { partitions } = state;
      if (event.type === 'failed') return { state: { phase: 'failed', code: event.code } };
      if (event.type === 'written') return { state: { phase: 'recorded', partitions } };
      return { state, effect: { type: 'record-answer', partitions } };
    }
    case 'recorded':
    case 'failed':
      return { state };
  }
}
