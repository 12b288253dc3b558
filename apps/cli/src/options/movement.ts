/** The option of a group for how its keys move. */
import { MOVEMENTS, type Movement, type MovementName, movementNumber } from '@antipode/protocol';

export { MOVEMENTS };

export const MOVEMENT_HELP =
  'how keys move. sealed: to any device. native: keys that no token wraps move by the cloning of their device. prefer-native: all others have both forms as well, so that a clone keeps their history';

/** One of the choices of the option. */
export const movementOf = (movement: string): Movement => movementNumber(movement as MovementName);
