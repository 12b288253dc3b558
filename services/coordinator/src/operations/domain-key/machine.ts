/**
 * Brings a domain key version to every member of a group. Gives new members their seat first.
 *
 *   due -> seating -> distributing -> taking-up -> complete
 *                          |              |-> awaiting-officers (parked: security officers must trust the version first)
 *                          |-> incomplete (parked: a person must pin an identity or bring a site back)
 *
 * A version is never ordered twice: a member that missed one receives the next one. A version that only some members
 * received is never used. A version is not used either before it can carry every key that the version in use carries.
 * Keys that only a trusted key may wrap stay under the version in use until then.
 */
import type { Failure, Resume, Step } from '../../model.ts';

export type DomainKeyState =
  | { readonly phase: 'due' }
  | { readonly phase: 'seating' }
  | { readonly phase: 'distributing'; readonly version: number }
  | ({ readonly phase: 'taking-up' } & Delivered)
  | ({ readonly phase: 'awaiting-officers'; readonly failures: readonly DomainKeyFailure[] } & Delivered)
  /** `sites`: where the version went; the others were away. */
  | { readonly phase: 'complete'; readonly version: number; readonly sites: readonly string[] }
  | { readonly phase: 'incomplete'; readonly failures: readonly DomainKeyFailure[] };

export interface DomainKeyFailure {
  readonly serial: string;
  readonly code: string;
  readonly message: string;
}

interface Delivered {
  readonly version: number;
  readonly sites: readonly string[];
}

export type DomainKeyEffect =
  | { readonly type: 'seat-members' }
  | { readonly type: 'order-version' }
  | { readonly type: 'distribute'; readonly version: number }
  | { readonly type: 'use-version'; readonly version: number; readonly sites: readonly string[] };

export type DomainKeyEvent =
  | Resume
  | Failure
  | { readonly type: 'seated' }
  | { readonly type: 'version-ordered'; readonly version: number }
  | {
      readonly type: 'distributed';
      readonly sites: readonly string[];
      readonly failures: readonly DomainKeyFailure[];
    }
  | { readonly type: 'version-used' }
  /** Partitions whose officers have trusted the version in use, and not this one. */
  | { readonly type: 'officers-awaited'; readonly failures: readonly DomainKeyFailure[] };

export function decideDomainKey(state: DomainKeyState, event: DomainKeyEvent): Step<DomainKeyState, DomainKeyEffect> {
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
      return takeUp({ version: state.version, sites: event.sites });
    case 'awaiting-officers':
      return takeUp(state);
    case 'taking-up': {
      const { version, sites } = state;
      if (event.type === 'version-used') return { state: { phase: 'complete', version, sites } };
      if (event.type !== 'officers-awaited') return takeUp(state);
      return { state: { phase: 'awaiting-officers', version, sites, failures: event.failures } };
    }
  }
}

const takeUp = ({ version, sites }: Delivered): Step<DomainKeyState, DomainKeyEffect> => ({
  state: { phase: 'taking-up', version, sites },
  effect: { type: 'use-version', version, sites },
});
