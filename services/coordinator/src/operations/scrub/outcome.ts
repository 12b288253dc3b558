import { generationNames, type Outcome } from '../outcome.ts';
import type { ScrubState } from './machine.ts';

export function scrubOutcome(state: ScrubState): Outcome | undefined {
  if (!('outcome' in state) || state.outcome === undefined) return undefined;
  const { isReplica, proof, missing, altered, mendedBlobs } = state.outcome;
  return {
    case: 'scrub',
    value: {
      generation: generationNames(state.outcome),
      isReplica,
      proof: { ...proof, failedObjectIds: [...proof.failedObjectIds] },
      missingObjects: missing,
      alteredObjects: altered,
      mendedBlobs,
    },
  };
}
