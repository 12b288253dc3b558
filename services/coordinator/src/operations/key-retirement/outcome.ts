import type { Outcome } from '../outcome.ts';
import type { KeyRetirementState } from './machine.ts';

export function keyRetirementOutcome(state: KeyRetirementState): Outcome | undefined {
  if (!('destroyed' in state)) return undefined;
  const destroyed = state.destroyed.map(({ serial, versions }) => ({ serial, versions: [...versions] }));
  return { case: 'keyRetirement', value: { destroyed } };
}
