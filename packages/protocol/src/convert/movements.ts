/** How the keys of a group move, by the names that declarations, journals and people use, and as the wire numbers them. */
import { Movement } from '../gen/antipode/v1/site_agent_pb.ts';

const NUMBERS = {
  sealed: Movement.SEALED,
  native: Movement.NATIVE,
  'prefer-native': Movement.PREFER_NATIVE,
} as const satisfies Record<string, Movement>;

export type MovementName = keyof typeof NUMBERS;

export const MOVEMENTS = Object.keys(NUMBERS) as readonly MovementName[];

export const movementNumber = (movement: MovementName): Movement => NUMBERS[movement];

/** Sealed if it is unset. Undefined for `_UNSPECIFIED` and for a movement that only a newer peer knows. */
export function movementName(movement: Movement = Movement.SEALED): MovementName | undefined {
  return MOVEMENTS.find((name) => NUMBERS[name] === movement);
}

/** The field of a message. It stays unset for sealed keys, as in every message of an earlier release. */
export const movementField = (movement: MovementName = 'sealed'): { movement?: Movement } =>
  movement === 'sealed' ? {} : { movement: NUMBERS[movement] };
