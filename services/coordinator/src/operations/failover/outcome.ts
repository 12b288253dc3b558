import { generationNames, type Outcome, siteErrors } from '../outcome.ts';
import type { FailoverState } from './machine.ts';

/** Failovers are kept for ever: the state may be one of an older version, which lacks what was added since. */
export function failoverOutcome(state: FailoverState): Outcome {
  const { from, reason, excluded = [], overtaken = 0 } = state;
  return {
    case: 'failover',
    value: {
      fromSite: from,
      ...('to' in state ? { toSite: state.to, epoch: state.epoch, lost: (state.lost ?? []).map(generationNames) } : {}),
      ...('proved' in state ? { provedObjects: state.proved } : {}),
      ...(state.phase === 'complete' ? { recoveryTimeMs: BigInt(Math.round(state.recoveryTimeMs)) } : {}),
      passedOver: siteErrors(excluded),
      overtaken,
      reason,
    },
  };
}
