import { generationNames, type Outcome } from '../outcome.ts';
import type { DrillState } from './machine.ts';

export function drillOutcome(state: DrillState): Outcome {
  const { serial } = state;
  return {
    case: 'drill',
    value: {
      generation: generationNames(state),
      serial,
      ...(state.phase === 'passed'
        ? { provedObjects: state.proved, recoveryTimeMs: BigInt(state.recoveryTimeMs) }
        : {}),
    },
  };
}
