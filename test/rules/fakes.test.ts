/**
 * A fake has the type of its port. A cast by way of `unknown` lets a fake lie, and so does a mock of one of our modules:
 * such a test passes although the real part would not. There is none outside of the PKCS#11 binding.
 */
import { describe, expect, it } from 'vitest';
import { type SourceFile, sources } from './support/tree.ts';

/** `koffi` has no types for what it calls. */
const FREE = 'packages/cryptoki/';

const PATTERN = /\bas unknown as\b|\bvi\.mock\((?:import\()?['"](?:\.|@antipode\/)/g;

const countIn = ({ source }: SourceFile): number => source.match(PATTERN)?.length ?? 0;

const files = sources({
  under: ['packages/', 'services/', 'apps/', 'test/', 'scripts/'],
  endings: ['.ts'],
}).filter(({ path }) => !path.startsWith(FREE) && path !== 'test/rules/fakes.test.ts');

describe('casts by way of unknown, and mocks of our modules', () => {
  it('are nowhere', () => {
    expect(files.filter((file) => countIn(file) > 0).map(({ path }) => path)).toEqual([]);
  });

  it.each([
    ['const store = {} as unknown as Store;', 1],
    ["vi.mock(import('../store/tables/groups.ts'), () => ({}));", 1],
    ["vi.mock('@antipode/runtime');", 1],
    ["vi.mock(import('pg'));", 0],
    ['const store = {} as Store;', 0],
  ])('are seen in %s', (source, count) => {
    expect(countIn({ path: 'a.ts', source })).toBe(count);
  });
});
