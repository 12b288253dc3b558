import { CATALOGUE } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { stringsOf, tokensOf } from './support/tokens.ts';
import { type SourceFile, sources } from './support/tree.ts';

const codes = Object.keys(CATALOGUE);

/** Codes that no string of these tests names. */
function untested({ tests, codes }: { tests: readonly SourceFile[]; codes: readonly string[] }): string[] {
  const named = new Set(tests.flatMap(({ source }) => stringsOf(tokensOf(source))));
  return codes.filter((code) => !named.has(code));
}

it.each(codes)('%s says what happened and what to do', (code) => {
  const { summary, hint } = CATALOGUE[code as keyof typeof CATALOGUE];
  expect(summary.trim()).not.toBe('');
  expect(hint.trim()).not.toBe('');
});

it('every code is expected by a test', () => {
  const tests = sources({ under: ['packages/', 'services/', 'apps/', 'test/'], endings: ['.test.ts'] });
  expect(untested({ tests, codes })).toEqual([]);
});

it('a code in a comment is not expected by a test', () => {
  const tests = [{ path: 'a.test.ts', source: `// 'COMMENTED'\nexpect(code).toBe('TESTED');` }];
  expect(untested({ tests, codes: ['COMMENTED', 'TESTED'] })).toEqual(['COMMENTED']);
});
