/**
 * Waits until a site that was added to a group has caught up, and gives it its vote.
 *
 *   due -> joining -> joined | abandoned(code)
 */
import type { Failure, Resume, Step } from '../../model.ts';

export type MemberJoinState =
  | { readonly phase: 'due' }
  | { readonly phase: 'joining' }
  | { readonly phase: 'joined' }
  | { readonly phase: 'abandoned'; readonly code: string };
export type MemberJoinEffect = { readonly type: 'join' };
export type MemberJoinEvent = Resume | Failure | { readonly type: 'joined' };

export function decideMemberJoin(
  state: MemberJoinState,
  event: MemberJoinEvent,
): Step<MemberJoinState, MemberJoinEffect> {
  if (state.phase === 'joined' || state.phase === 'abandoned') return { state };
  if (event.type === 'failed') return { state: { phase: 'abandoned', code: event.code } };
  if (event.type === 'joined') return { state: { phase: 'joined' } };
  return { state: { phase: 'joining' }, effect: { type: 'join' } };
}
