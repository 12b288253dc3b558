/**
 * Reseats a group by the journals of its agents. There is one effect, and it reads the journals again each time. If it
 * is repeated, it goes on under the epoch that it has issued. If a journal contradicts the database even then, it issues a
 * further epoch, and the one before was never in force.
 *
 *   due -> reseating -> reseated | abandoned(code)
 */
import type { Failure, Resume, Step } from '../../model.ts';

interface Wanted {
  /** The site that is to be active. Empty for the site that the journals name. */
  readonly active: string;
}

export interface ReseatOutcome {
  readonly epoch: bigint;
  /** Empty where nobody is active: a failover settles that. */
  readonly activeSite: string;
  readonly seated: readonly string[];
  readonly leftAside: readonly { readonly site: string; readonly code: string }[];
}

export type ReseatState =
  | ({ readonly phase: 'due' } & Wanted)
  | ({ readonly phase: 'reseating' } & Wanted)
  | ({ readonly phase: 'reseated' } & Wanted & ReseatOutcome)
  | ({ readonly phase: 'abandoned'; readonly code: string } & Wanted);
export type ReseatEffect = { readonly type: 'reseat' } & Wanted;
export type ReseatEvent = Resume | Failure | ({ readonly type: 'reseated' } & ReseatOutcome);

export function decideReseat(state: ReseatState, event: ReseatEvent): Step<ReseatState, ReseatEffect> {
  const { active } = state;
  if (state.phase === 'reseated' || state.phase === 'abandoned') return { state };
  if (event.type === 'failed') return { state: { phase: 'abandoned', code: event.code, active } };
  if (event.type === 'reseated') {
    const { type: _, ...outcome } = event;
    return { state: { phase: 'reseated', active, ...outcome } };
  }
  return { state: { phase: 'reseating', active }, effect: { type: 'reseat', active } };
}
