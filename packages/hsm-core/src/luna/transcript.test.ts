import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { scrubbed, TranscriptFolder } from './transcript.ts';

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

it('keeps the newest files where their number has a limit', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'antipode-transcripts-'));
  const clock = new FakeClock();
  const transcripts = new TranscriptFolder({ folder, clock, filesMax: 3 });
  for (const text of ['1', '2', '3', '4', '5']) {
    transcripts.keep('clone', text);
    await clock.advance(1_000);
  }
  const kept = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
  expect(kept.sort()).toEqual(['3', '4', '5']);
  rmSync(folder, { recursive: true });
});
