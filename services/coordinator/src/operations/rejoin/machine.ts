/**
 * Admits a member that was fenced, as a standby under the current epoch. It catches up by ordinary replication.
 *
 *   due -> rejoining -> rejoined | abandoned(code)
 */
import type { Failure, Resume, Step } from '../../model.ts';

export type RejoinState =
  | { readonly phase: 'due' }
  | { readonly phase: 'rejoining' }
  | { readonly phase: 'rejoined' }
  | { readonly phase: 'abandoned'; readonly code: string };
export type RejoinEffect = { readonly type: 'rejoin' };
export type RejoinEvent = Resume | Failure | { readonly type: 'rejoined' };

export function decideRejoin(state: RejoinState, event: RejoinEvent): Step<RejoinState, RejoinEffect> {
  if (state.phase === 'rejoined' || state.phase === 'abandoned') return { state };
  if (event.type === 'failed') return { state: { phase: 'abandoned', code: event.code } };
  if (event.type === 'rejoined') return { state: { phase: 'rejoined' } };
  return { state: { phase: 'rejoining' }, effect: { type: 'rejoin' } };
}
