/**
 * Carries out an operator's order about the objects that a returned site has beside the group's line. The site offers
 * them: each gets an id and is sealed there. A merge then brings those that the operator named to the active member, and
 * captures it. Every step may be repeated.
 *
 *   due -> offering -> shown
 *                 |--> recording -> settled                             keep
 *                 `--> merging -> capturing -> recording -> settled     merge
 *                         ^          |
 *                         `----------'  another tenure has begun meanwhile
 *   any of them -> abandoned(code)
 *
 * The token that took the objects may be lost before its capture. Then the capture of the next tenure does not have them,
 * so they are merged again, at the member that is active by then.
 */
import type { Failure, Resume, Step } from '../../model.ts';

export const DIVERGENCE_ACTIONS = ['show', 'merge', 'keep'] as const;
export type DivergenceAction = (typeof DIVERGENCE_ACTIONS)[number];

/** An object as its site tells of it: without names. */
export interface Divergent {
  readonly objectId: string;
  readonly kind: string;
  readonly state: string;
  readonly reason: string;
}

/** The result for an object that the operator named. */
export interface Settled {
  readonly objectId: string;
  readonly kind: string;
  readonly verdict: string;
  readonly code: string;
}

interface Order {
  readonly action: DivergenceAction;
  readonly objectIds: readonly string[];
  readonly operator: string;
}

interface Captured {
  readonly epoch: bigint;
  readonly number: bigint;
  readonly manifestDigest: string;
}

interface Offered extends Order {
  readonly divergent: readonly Divergent[];
}

interface Merging extends Offered {
  readonly digests: readonly string[];
  /** How often another tenure had begun by the time of the capture. */
  readonly overtaken: number;
}

interface Merged extends Offered {
  readonly settled: readonly Settled[];
}

export type DivergenceState =
  | (Order & { readonly phase: 'due' | 'offering' })
  | (Offered & { readonly phase: 'shown' })
  | (Merging & { readonly phase: 'merging' })
  /** `epoch`: the tenure whose active member took the objects. */
  | (Merging & Merged & { readonly phase: 'capturing'; readonly epoch: bigint })
  | (Merged & { readonly phase: 'recording' | 'settled'; readonly generation: Captured | undefined })
  | (Order & { readonly phase: 'abandoned'; readonly code: string });

export type DivergenceEffect =
  | { readonly type: 'offer'; readonly kept: readonly string[] }
  | { readonly type: 'merge'; readonly digests: readonly string[]; readonly objectIds: readonly string[] }
  | { readonly type: 'capture' }
  | {
      readonly type: 'record';
      readonly action: DivergenceAction;
      readonly operator: string;
      readonly settled: readonly Settled[];
    };

export type DivergenceEvent =
  | Resume
  | Failure
  | { readonly type: 'offered'; readonly divergent: readonly Divergent[]; readonly digests: readonly string[] }
  | { readonly type: 'merged'; readonly epoch: bigint; readonly settled: readonly Settled[] }
  | { readonly type: 'captured'; readonly generation: Captured }
  | { readonly type: 'recorded' };

type DivergenceStep = Step<DivergenceState, DivergenceEffect>;

/** More moves of the active role than anybody makes during one merge. */
const OVERTAKEN_MAX = 3;

export function decideDivergence(state: DivergenceState, event: DivergenceEvent): DivergenceStep {
  if (state.phase === 'shown' || state.phase === 'settled' || state.phase === 'abandoned') return { state };
  const { action, objectIds, operator } = state;
  if (event.type === 'failed') return { state: { phase: 'abandoned', action, objectIds, operator, code: event.code } };
  switch (state.phase) {
    case 'due':
    case 'offering':
      return event.type === 'offered'
        ? afterOffer(state, event)
        : {
            state: { ...state, phase: 'offering' },
            effect: { type: 'offer', kept: action === 'keep' ? objectIds : [] },
          };
    case 'merging':
      return event.type === 'merged'
        ? {
            state: {
              ...state,
              phase: 'capturing',
              epoch: event.epoch,
              settled: withAbsent(objectIds, event.settled),
            },
            effect: { type: 'capture' },
          }
        : merging(state);
    case 'capturing': {
      if (event.type !== 'captured') return { state, effect: { type: 'capture' } };
      const { epoch, digests, overtaken, settled, ...offered } = state;
      if (event.generation.epoch === epoch)
        return recording({ ...offered, settled, phase: 'recording', generation: event.generation });
      if (overtaken >= OVERTAKEN_MAX)
        return { state: { phase: 'abandoned', action, objectIds, operator, code: 'GROUP_BUSY' } };
      return merging({ ...offered, digests, overtaken: overtaken + 1, phase: 'merging' });
    }
    case 'recording':
      return event.type === 'recorded' ? { state: { ...state, phase: 'settled' } } : recording(state);
  }
}

function afterOffer(
  { action, objectIds, operator }: Order,
  { divergent, digests }: Extract<DivergenceEvent, { type: 'offered' }>,
): DivergenceStep {
  const offered = { action, objectIds, operator, divergent };
  if (action === 'show') return { state: { ...offered, phase: 'shown' } };
  if (action === 'merge') return merging({ ...offered, phase: 'merging', digests, overtaken: 0 });
  const kept = divergent
    .filter(({ objectId }) => objectIds.includes(objectId))
    .map(({ objectId, kind }) => ({ objectId, kind, verdict: 'kept', code: '' }));
  return recording({
    ...offered,
    phase: 'recording',
    settled: withAbsent(objectIds, kept),
    generation: undefined,
  });
}

const merging = (state: Extract<DivergenceState, { phase: 'merging' }>): DivergenceStep => ({
  state,
  effect: { type: 'merge', digests: state.digests, objectIds: state.objectIds },
});

const recording = (state: Extract<DivergenceState, { phase: 'recording' | 'settled' }>): DivergenceStep => ({
  state,
  effect: { type: 'record', action: state.action, operator: state.operator, settled: state.settled },
});

/** Adds the objects that the operator named and the site does not have any more. */
function withAbsent(objectIds: readonly string[], settled: readonly Settled[]): Settled[] {
  const known = new Set(settled.map(({ objectId }) => objectId));
  return [
    ...settled,
    ...objectIds
      .filter((objectId) => !known.has(objectId))
      .map((objectId) => ({ objectId, kind: '', verdict: 'absent', code: '' })),
  ];
}
