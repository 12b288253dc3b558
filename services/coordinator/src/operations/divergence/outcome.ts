import { generationNames, type Outcome } from '../outcome.ts';
import type { DivergenceState } from './machine.ts';

export function divergenceOutcome(state: DivergenceState): Outcome | undefined {
  if (!('divergent' in state)) return undefined;
  const { action, divergent } = state;
  const settled = 'settled' in state ? state.settled : [];
  return {
    case: 'divergence',
    value: {
      action,
      divergent: divergent.map((one) => ({ ...one })),
      objects: settled.map(({ objectId, kind, verdict, code }) => ({ objectId, kind, verdict, errorCode: code })),
      ...('generation' in state && state.generation !== undefined
        ? { generation: generationNames(state.generation) }
        : {}),
    },
  };
}
