/** The option of a group for how its keys move. */
import { Movement } from '@antipode/protocol';

export const MOVEMENTS = ['sealed', 'native'] as const;

export const MOVEMENT_HELP =
  'how keys move: sealed to any device, or native: keys that no token wraps move by the cloning of their device as well';

export const movementOf = (movement: string): Movement => (movement === 'native' ? Movement.NATIVE : Movement.SEALED);
