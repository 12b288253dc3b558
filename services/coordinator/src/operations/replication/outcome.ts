import { generationNames, type Outcome } from '../outcome.ts';
import type { ReplicationState } from './machine.ts';

export function replicationOutcome(state: ReplicationState): Outcome {
  return {
    case: 'replication',
    value: {
      generation: generationNames(state),
      ...('appliedObjects' in state ? { appliedObjects: state.appliedObjects, pulledBlobs: state.pulledBlobs } : {}),
      ...('proved' in state ? { provedObjects: state.proved } : {}),
    },
  };
}
