import { generationNames, type Outcome } from '../outcome.ts';
import type { CaptureState } from './machine.ts';

export function captureOutcome(state: CaptureState): Outcome | undefined {
  if (state.phase !== 'captured') return undefined;
  const { isNew, sealedObjects } = state;
  return { case: 'capture', value: { generation: generationNames(state), isNew, sealedObjects } };
}
