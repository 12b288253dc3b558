import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isNewer, newestOf } from './generation-order.ts';

const position = fc.record({ epoch: fc.bigInt({ min: 1n, max: 4n }), number: fc.bigInt({ min: 1n, max: 4n }) });
const maybe = fc.option(position, { nil: undefined, freq: 5 });

it('orders generations by epoch and then by number', () => {
  const [old, same, higher] = [
    { epoch: 2n, number: 9n },
    { epoch: 2n, number: 10n },
    { epoch: 3n, number: 1n },
  ];
  expect([isNewer(same, old), isNewer(higher, same), isNewer(old, same), isNewer(same, higher)]).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect(isNewer(old, { ...old })).toBe(false);
});

it('takes any generation as newer than none', () => {
  const one = { epoch: 1n, number: 1n };
  expect([isNewer(one, undefined), isNewer(undefined, one), isNewer(undefined, undefined)]).toEqual([
    true,
    false,
    false,
  ]);
});

it('is a strict order in which only equals are neither', () => {
  fc.assert(
    fc.property(maybe, maybe, maybe, (a, b, c) => {
      const equal = a?.epoch === b?.epoch && a?.number === b?.number;
      expect(Number(isNewer(a, b)) + Number(isNewer(b, a))).toBe(equal ? 0 : 1);
      if (isNewer(a, b) && isNewer(b, c)) expect(isNewer(a, c)).toBe(true);
    }),
  );
});

it('finds the newest, and of equals the first', () => {
  fc.assert(
    fc.property(fc.array(maybe), (all) => {
      const newest = newestOf(all);
      for (const one of all) expect(isNewer(one, newest)).toBe(false);
      expect(newest).toBe(all.find((one) => one?.epoch === newest?.epoch && one?.number === newest?.number));
    }),
  );
});
