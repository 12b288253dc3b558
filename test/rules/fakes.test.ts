/**
 * A fake has the type of its port. A cast by way of `unknown` lets a fake lie, and so does a mock of one of our modules:
 * such a test passes although the real part would not. The list below says how many are left. Its numbers only fall.
 */
import { describe, expect, it } from 'vitest';
import { type SourceFile, sources } from './support/tree.ts';

/** `koffi` has no types for what it calls. */
const FREE = 'packages/cryptoki/';

/** By package, service, or folder of tests: files move within it. Lower a number when you have removed some. */
const LEFT: Readonly<Record<string, number>> = {
  'apps/cli': 2,
  'packages/hsm-core': 5,
  'packages/protocol': 4,
  'services/site-agent': 17,
  'test/attacks': 2,
  'test/bench': 1,
  'test/chaos': 4,
  'test/integration': 4,
};

const PATTERN = /\bas unknown as\b|\bvi\.mock\((?:import\()?['"](?:\.|@antipode\/)/g;

const countIn = ({ source }: SourceFile): number => source.match(PATTERN)?.length ?? 0;

const files = sources({
  under: ['packages/', 'services/', 'apps/', 'test/', 'scripts/'],
  endings: ['.ts'],
}).filter(({ path }) => !path.startsWith(FREE) && path !== 'test/rules/fakes.test.ts');

const placeOf = ({ path }: SourceFile): string => path.split('/').slice(0, 2).join('/');

describe('casts by way of unknown, and mocks of our modules', () => {
  it('are no more than those that are left', () => {
    const places = [...Map.groupBy(files, placeOf)].map(([place, own]) => ({
      place,
      count: own.reduce((sum, file) => sum + countIn(file), 0),
    }));
    expect(places.filter(({ place, count }) => count > (LEFT[place] ?? 0))).toEqual([]);
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
