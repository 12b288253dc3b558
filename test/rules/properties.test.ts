/** Properties have the seed of test/support/properties.ts: a seed of their own would hide from those who try others. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type SourceFile, sources } from './support/tree.ts';

const HOME = 'test/support/properties.ts';

const OWN_SEED = /\bconfigureGlobal\b|\bseed:/;

const hasOwnSeed = ({ source }: SourceFile): boolean => /from 'fast-check'/.test(source) && OWN_SEED.test(source);

const files = sources({
  under: ['packages/', 'services/', 'apps/', 'test/', 'scripts/'],
  endings: ['.ts'],
}).filter(({ path }) => path !== HOME && path !== 'test/rules/properties.test.ts');

describe('a seed of its own', () => {
  it('has no property', () => {
    expect(files.filter(hasOwnSeed).map(({ path }) => path)).toEqual([]);
  });

  it.each([
    ["import fc from 'fast-check';\nfc.configureGlobal({ seed: 7 });", true],
    ["import fc from 'fast-check';\nfc.assert(one, { seed: 20_260_101, numRuns: 50 });", true],
    ["import fc from 'fast-check';\nfc.assert(one, { numRuns: 50 });", false],
    ["const system = await SimulatedSystem.start({ seed: 'one' });", false],
  ])('is seen in %j', (source, isSeen) => {
    expect(hasOwnSeed({ path: 'a.test.ts', source })).toBe(isSeen);
  });
});

it('every process of the tests has the one seed', () => {
  expect(fc.readConfigureGlobal()?.seed).toBe(Number(process.env['ANTIPODE_PROPERTY_SEED'] ?? 2026));
});
