import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hex } from './bytes.ts';
import { type Prng, seededPrng, systemPrng, uuidFrom } from './prng.ts';

it('gives the same stream for the same seed, however it is cut', () => {
  fc.assert(
    fc.property(fc.string(), fc.array(fc.nat({ max: 100 }), { maxLength: 8 }), (seed, lengths) => {
      const whole = seededPrng(seed).bytes(lengths.reduce((sum, length) => sum + length, 0));
      const prng = seededPrng(seed);
      expect(lengths.map((length) => hex(prng.bytes(length))).join('')).toBe(hex(whole));
    }),
  );
});

it('gives another stream for another seed', () => {
  expect(hex(seededPrng('a').bytes(16))).not.toBe(hex(seededPrng('b').bytes(16)));
});

it('stays the same on every machine: recorded runs can be repeated', () => {
  expect(hex(seededPrng('seed').bytes(8))).toBe('58f9082db66a15d6');
});

it.each<[string, Prng]>([
  ['seeded', seededPrng('x')],
  ['system', systemPrng],
])('draws fractions in [0, 1), on both sides of the middle (%s)', (_name, prng) => {
  const drawn = Array.from({ length: 256 }, () => prng.fraction());
  for (const fraction of drawn) expect(fraction >= 0 && fraction < 1).toBe(true);
  expect(drawn.some((fraction) => fraction < 0.5) && drawn.some((fraction) => fraction >= 0.5)).toBe(true);
});

it('makes identifiers in the form of a UUID, the same for the same seed', () => {
  const [first, second] = [seededPrng('a'), seededPrng('a')].map(uuidFrom);
  expect(first).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(second).toBe(first);
  expect(uuidFrom(systemPrng)).not.toBe(uuidFrom(systemPrng));
});
