import { expect, it } from 'vitest';
import { Movement } from '../gen/antipode/v1/site_agent_pb.ts';
import { MOVEMENTS, movementField, movementName, movementNumber } from './movements.ts';

it('names every movement of the wire but the unspecified one, and gives its number back', () => {
  const numbers = Object.values(Movement).filter((one) => typeof one === 'number') as Movement[];
  const named = numbers.filter((one) => movementName(one) !== undefined);
  expect(named).toEqual(numbers.filter((one) => one !== Movement.UNSPECIFIED));
  expect(MOVEMENTS.map((name) => movementName(movementNumber(name)))).toEqual(MOVEMENTS);
});

it('takes an unset movement for sealed, and takes none for a movement that it does not know', () => {
  expect(movementName(undefined)).toBe('sealed');
  for (const number of [Movement.UNSPECIFIED, 99 as Movement]) expect(movementName(number)).toBeUndefined();
});

it('leaves the field of a sealed group unset', () => {
  expect(MOVEMENTS.map((name) => movementField(name))).toEqual([
    {},
    { movement: Movement.NATIVE },
    { movement: Movement.PREFER_NATIVE },
  ]);
  expect(movementField(undefined)).toEqual({});
});
