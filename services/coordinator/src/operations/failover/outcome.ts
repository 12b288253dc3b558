import { generationNames, type Outcome, siteErrors } from '../outcome.ts';
import type { FailoverState } from './machine.ts';

/** An epoch was issued. Before, the state says what is planned: a move that ends there has promoted and lost nothing. */
type Issued = Extract<FailoverState, { phase: 'handing-over' | 'fencing' | 'promoting' | 'publishing' | 'complete' }>;
const ISSUED: ReadonlySet<string> = new Set<Issued['phase']>([
  'handing-over',
  'fencing',
  'promoting',
  'publishing',
  'complete',
]);
const isIssued = (state: FailoverState): state is Issued => ISSUED.has(state.phase);

/** Failovers are kept for ever: the state may be one of an older version, which lacks what was added since. */
export function failoverOutcome(state: FailoverState): Outcome {
  const { from, reason, accepted = [], excluded = [], overtaken = 0 } = state;
  const unfetched = 'unfetched' in state ? state.unfetched : undefined;
  return {
    case: 'failover',
    value: {
      fromSite: from,
      ...(isIssued(state)
        ? {
            toSite: state.to,
            epoch: state.epoch,
            lost: (state.lost ?? []).map(generationNames),
            chosenFor: state.chosenFor ?? '',
          }
        : {}),
      ...('proved' in state ? { provedObjects: state.proved } : {}),
      ...(state.phase === 'complete' ? { recoveryTimeMs: BigInt(Math.round(state.recoveryTimeMs)) } : {}),
      passedOver: siteErrors(excluded),
      overtaken,
      reason,
      accepted: accepted.map(generationNames),
      ...(unfetched === undefined
        ? {}
        : { unfetched: generationNames(unfetched.newest), unfetchedFrom: [...unfetched.holders] }),
    },
  };
}
