/** The example of docs/howto/operation.md: its entry for the table of kinds. */
import type { Kind } from '../../operations/kind.ts';
import { rollCall } from './effects.ts';
import { decideRollCall, type RollCallEffect, type RollCallEvent, type RollCallState } from './machine.ts';

export const ROLL_CALL = {
  'roll-call': {
    decide: decideRollCall,
    perform: rollCall,
    phases: { due: 'open', asking: 'open', recording: 'open', recorded: 'done', failed: 'failed' },
    attemptsMax: 6,
  } satisfies Kind<RollCallState, RollCallEvent, RollCallEffect>,
};
