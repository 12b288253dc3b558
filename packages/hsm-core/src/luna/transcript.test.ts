import { Secret } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { scrubbed } from './transcript.ts';

const secret = new Secret(Buffer.from('Tr0ub4dor&3'));

it.each([
  'role login -name co -password "Tr0ub4dor&3"',
  'x Tr0ub4dor&3 y',
  // A line that was cut, and one that was damaged in the middle.
  'role login -name co -password "Tr0u',
  'Tr0ub4#or&3 Tr0ub4',
  // Only a line feed ends a line of the tool.
  'role login -name co -password "x\u2028ub4d y',
  'a Password: ub4dor&3',
])('takes a password out of "%s"', (text) => {
  const clean = scrubbed(text, [secret]);
  expect(clean).not.toMatch(/Tr0ub4|ub4d|dor&3|Tr0u/);
});

it('leaves everything else as it is', () => {
  expect(scrubbed('slot set -slot 1\npartition contents\n', [secret])).toBe('slot set -slot 1\npartition contents\n');
});
