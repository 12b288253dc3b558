import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseIdentity } from '../certificates/identity.ts';
import { isName, isSerial, parseSeat } from './names.ts';

it.each(['a', '7', 'site-b', 'a-', 'a'.repeat(63)])('%s is a name', (text) => {
  expect(isName(text)).toBe(true);
});

it.each(['', '-a', 'A', 'a b', 'a_b', 'a.b', 'a\n', 'ä', 'a'.repeat(64)])('%j is not a name', (text) => {
  expect(isName(text)).toBe(false);
});

it('a name is what a certificate can carry', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ maxLength: 70 }), fc.stringMatching(/^[a-z0-9-]{1,70}$/)), (name) => {
      const identity = parseIdentity(`spiffe://example.org/site/${name}`);
      expect(identity?.name).toBe(isName(name) ? name : undefined);
    }),
  );
});

it.each(['0123456789abcdef', 'A 1/2', '=', '', 'a\n', 'x'.repeat(65)])('says whether %j is a serial number', (text) => {
  expect(isSerial(text)).toBe(['0123456789abcdef', 'A 1/2'].includes(text));
});

it('reads a seat, and nothing that is none', () => {
  expect(parseSeat('a=1f')).toEqual({ site: 'a', serial: '1f' });
  for (const text of ['', 'a', '=', 'a=', '=1f', 'a=1f=2', 'a:1f', 'A=1f']) expect(parseSeat(text)).toBeUndefined();
});
