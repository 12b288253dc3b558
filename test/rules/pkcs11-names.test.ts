/** Only packages/cryptoki writes numbers of PKCS#11 (attributes, mechanisms, return values). All others use the names. */
import { expect, it } from 'vitest';
import { tokensOf } from './support/tokens.ts';
import { type SourceFile, sources } from './support/tree.ts';

/** Attributes, mechanisms, flags and return values have three digits or more; a byte has two. */
const NUMBER_OF_THE_STANDARD = /^0x[0-9a-f_]{3,}$/i;

const numbersIn = ({ path, source }: SourceFile): string[] =>
  tokensOf(source)
    .filter(({ text }) => NUMBER_OF_THE_STANDARD.test(text))
    .map(({ text, line }) => `${path}:${line} ${text}`);

it('the provider and the model name what they ask a token for', () => {
  const files = sources({
    under: ['packages/hsm-core/src/pkcs11/', 'packages/hsm-core/src/provider/', 'packages/hsm-core/src/testing/'],
    endings: ['.ts'],
  })
    .concat(sources({ under: ['packages/hsm-core/src/model/'], endings: ['attributes.ts', 'not-carried.ts'] }))
    .filter(({ path }) => !path.endsWith('.test.ts'));
  expect(files.length).toBeGreaterThan(20);
  expect(files.flatMap(numbersIn)).toEqual([]);
});

it('finds a number that has a name', () => {
  expect(numbersIn({ path: 'a.ts', source: `const template = [[0x103, true]]; // 0x162\n` })).toEqual(['a.ts:1 0x103']);
});
