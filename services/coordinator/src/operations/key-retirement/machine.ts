/**
 * Destroys the domain key versions that nobody needs, in the partitions of one site.
 *
 *   due -> retiring -> recording -> retired | failed(code)
 *
 * A version that could not be destroyed is due again when the site reports once more that nothing there needs it.
 */
import type { Failure, Resume, Step } from '../../model.ts';

/** The versions destroyed in one partition. */
export interface Retired {
  readonly serial: string;
  readonly versions: readonly number[];
}

export type KeyRetirementState =
  | { readonly phase: 'due' }
  | { readonly phase: 'retiring' }
  | { readonly phase: 'recording'; readonly destroyed: readonly Retired[] }
  | { readonly phase: 'retired'; readonly destroyed: readonly Retired[] }
  | { readonly phase: 'failed'; readonly code: string; readonly message: string };

export type KeyRetirementEffect =
  | { readonly type: 'retire' }
  | { readonly type: 'record'; readonly destroyed: readonly Retired[] };

export type KeyRetirementEvent =
  | Resume
  | Failure
  | { readonly type: 'destroyed'; readonly destroyed: readonly Retired[] }
  | { readonly type: 'recorded' };

export function decideKeyRetirement(
  state: KeyRetirementState,
  event: KeyRetirementEvent,
): Step<KeyRetirementState, KeyRetirementEffect> {
  switch (state.phase) {
    case 'due':
    case 'retiring': {
      if (event.type === 'failed') return { state: { phase: 'failed', code: event.code, message: event.message } };
      if (event.type !== 'destroyed') return { state: { phase: 'retiring' }, effect: { type: 'retire' } };
      const { destroyed } = event;
      return { state: { phase: 'recording', destroyed }, effect: { type: 'record', destroyed } };
    }
    case 'recording': {
      const { destroyed } = state;
      if (event.type === 'failed') return { state: { phase: 'failed', code: event.code, message: event.message } };
      if (event.type === 'recorded') return { state: { phase: 'retired', destroyed } };
      return { state, effect: { type: 'record', destroyed } };
    }
    case 'retired':
    case 'failed':
      return { state };
  }
}
