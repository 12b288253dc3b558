import { readFileSync } from 'node:fs';
import { UNCAPTURED_REASONS } from '@antipode/hsm-core';
import { expect, it } from 'vitest';
import { WAYS_OUT } from './ways-out.ts';

it('every reason has its way out, and the glossary has the same', () => {
  expect(Object.keys(WAYS_OUT)).toEqual([...UNCAPTURED_REASONS]);
  const glossary = readFileSync(new URL('../../../docs/glossary.md', import.meta.url), 'utf8');
  const [, section = ''] = glossary.split('Reasons for _uncaptured_');
  const items = section.replaceAll(/\n {4}(?=\S)/g, ' ');
  const rows = [...items.matchAll(/^- `([a-z0-9-]+)`\n {2}- meaning: .*\n {2}- the way out: (.*)$/gm)];
  expect(Object.fromEntries(rows.map(([, reason, what]) => [reason, what]))).toEqual(WAYS_OUT);
});
