/**
 * Brings a domain key version to every member of a group, and seats them first where they are new.
 *
 *   due -> seating -> distributing -> complete
 *                          |-> incomplete (parked: a person must pin an identity or bring a site back)
 *
 * A version is never ordered twice: who missed one gets the next. One that only some received is never used.
 */
import type { Failure, Resume, Step } from '../model.ts';

export type EnrolmentState =
  | { readonly phase: 'due' }
  | { readonly phase: 'seating' }
  | { readonly phase: 'distributing'; readonly version: number }
  /** `sites`: where the version went; the others were away. */
  | { readonly phase: 'complete'; readonly version: number; readonly sites: readonly string[] }
  | {
      readonly phase: 'incomplete';
      readonly failures: readonly { readonly serial: string; readonly code: string; readonly message: string }[];
    };

export type EnrolmentEffect =
  | { readonly type: 'seat-members' }
  | { readonly type: 'order-version' }
  | { readonly type: 'distribute'; readonly version: number };

export type EnrolmentEvent =
  | Resume
  | Failure
  | { readonly type: 'seated' }
  | { readonly type: 'version-ordered'; readonly version: number }
  | {
      readonly type: 'distributed';
      readonly sites: readonly string[];
      readonly failures: readonly { readonly serial: string; readonly code: string; readonly message: string }[];
    };

export function decideEnrolment(state: EnrolmentState, event: EnrolmentEvent): Step<EnrolmentState, EnrolmentEffect> {
  if (state.phase === 'complete') return { state };
  if (event.type === 'failed')
    return { state: { phase: 'incomplete', failures: [{ serial: '', code: event.code, message: event.message }] } };
  switch (state.phase) {
    case 'due':
    case 'incomplete':
      return { state: { phase: 'seating' }, effect: { type: 'seat-members' } };
    case 'seating':
      if (event.type === 'version-ordered')
        return {
          state: { phase: 'distributing', version: event.version },
          effect: { type: 'distribute', version: event.version },
        };
      return { state, effect: event.type === 'seated' ? { type: 'order-version' } : { type: 'seat-members' } };
    case 'distributing':
      if (event.type !== 'distributed') return { state, effect: { type: 'distribute', version: state.version } };
      if (event.failures.length > 0) return { state: { phase: 'incomplete', failures: event.failures } };
      return { state: { phase: 'complete', version: state.version, sites: event.sites } };
  }
}
