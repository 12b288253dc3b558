/** docs/invariants.md names for each invariant its code, checkers, faults and mutants, and each of them is there. */
import { describe, expect, it } from 'vitest';
import { paths, read, sources } from './support/tree.ts';

const page = read('docs/invariants.md').source;
const all = paths();

interface Row {
  readonly invariant: string;
  readonly code: readonly string[];
  readonly checkers: readonly string[];
  readonly faults: readonly string[];
  readonly mutants: readonly string[];
}

const named = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);

const rows = [...page.matchAll(/^\| (I\d+) +\|(.*)\|$/gm)].map(([, invariant = '', cells = '']): Row => {
  const [code, checkers, faults, mutants] = cells.split('|').map(named);
  return { invariant, code: code ?? [], checkers: checkers ?? [], faults: faults ?? [], mutants: mutants ?? [] };
});

const chaos = (folder: string): string =>
  sources({ under: [`test/chaos/${folder}`], endings: ['.ts'] })
    .map(({ source }) => source)
    .join('\n');

const missing = (names: readonly string[], isThere: (name: string) => boolean): string[] =>
  names.filter((name) => !isThere(name));

describe('the page of the invariants', () => {
  it('has a row for each section', () => {
    const sections = [...page.matchAll(/^## (I\d+): /gm)].map(([, invariant]) => invariant);
    expect(rows.map(({ invariant }) => invariant)).toEqual(sections);
    expect(rows.filter(({ code }) => code.length === 0)).toEqual([]);
  });

  it('names code that is there', () => {
    const files = rows.flatMap(({ code }) => code);
    expect(missing(files, (name) => all.some((path) => `/${path}`.endsWith(`/${name}`)))).toEqual([]);
  });

  it('names checkers that are there', () => {
    const names = rows.flatMap(({ checkers }) => checkers);
    expect(missing(names, (name) => all.includes(`test/chaos/checkers/${name}.ts`))).toEqual([]);
  });

  it('names faults that the simulator makes', () => {
    const made = chaos('scenarios/faults/');
    const isMade = (name: string): boolean => new RegExp(`^  '?${name}'?: \\(`, 'm').test(made);
    expect(
      missing(
        rows.flatMap(({ faults }) => faults),
        isMade,
      ),
    ).toEqual([]);
    expect(isMade('no-such-fault')).toBe(false);
  });

  it('names mutants that must be caught', () => {
    const mutants = chaos('mutants/');
    const isThere = (name: string): boolean => mutants.includes(`name: '${name}',`);
    expect(
      missing(
        rows.flatMap((row) => row.mutants),
        isThere,
      ),
    ).toEqual([]);
  });

  it('tries an invariant by a checker, a fault and a mutant, or by none of them', () => {
    const half = rows.filter(({ checkers, faults, mutants }) => {
      const kinds = [checkers, faults, mutants].filter((names) => names.length > 0).length;
      return kinds !== 0 && kinds !== 3;
    });
    expect(half).toEqual([]);
  });
});
