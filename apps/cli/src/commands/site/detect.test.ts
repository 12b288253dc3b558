import { expect, it } from 'vitest';
import { shown } from './detect.ts';

it('shows a token in one line, whatever its label is', () => {
  const token = {
    slot: '1',
    label: 'pay\n/usr/lib/other.so  2  keys\u200b',
    serial: '08\u001b[2J15',
    model: 'm',
    manufacturer: 'v',
    state: 'ready' as const,
  };
  const text = shown([{ module: 'm.so', source: '--module', tokens: [token], problem: '' }], []);
  const [, row, ...rest] = text.split('\n');
  expect(row).toContain('pay\\u000a/usr/lib/other.so  2  keys\\u200b');
  expect(row).toContain('08\\u001b[2J15');
  expect(rest[0]).toBe('');
});
