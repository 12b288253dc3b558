import { rmSync } from 'node:fs';
import { seededPrng } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Journal } from '../storage/journal/journal.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { TermKeeper } from './terms.ts';

const journal = () => Journal.inMemory({ prng: seededPrng('terms') });
const keeper = (records = journal().terms) => new TermKeeper({ records });

describe('a site', () => {
  it('hears a coordinator in its term, and one that follows it in a higher one', () => {
    const terms = keeper();
    for (const [term, coordinator] of [
      [3n, 'main'],
      [3n, 'main'],
      [4n, 'south'],
    ] as const)
      terms.admit({ term, coordinator });
    expect(terms.highest).toEqual({ term: 4n, coordinator: 'south' });
  });

  it.each([
    [3n, 'main'],
    [4n, 'main'],
    [0n, 'main'],
    [3n, 'south'],
  ])('refuses term %s of %s once it has heard term 4 of south, and keeps what it has', (term, coordinator) => {
    const terms = keeper();
    terms.admit({ term: 4n, coordinator: 'south' });
    expect(thrown(() => terms.admit({ term, coordinator })).code).toBe('TERM_STALE');
    expect(terms.highest).toEqual({ term: 4n, coordinator: 'south' });
  });

  it('hears a coordinator of an earlier release while nobody has shown a term', () => {
    const terms = keeper();
    terms.admit({ term: 0n, coordinator: 'main' });
    expect(terms.highest).toBeUndefined();
  });

  it('does not believe a term that no election comes to', () => {
    const terms = keeper();
    terms.admit({ term: 4n, coordinator: 'south' });
    expect(thrown(() => terms.admit({ term: 2n ** 62n, coordinator: 'main' })).code).toBe('REQUEST_INVALID');
    expect(terms.highest?.term).toBe(4n);
  });

  it('has the term on disk before it acts, and after a restart', () => {
    const folder = temporaryFolder();
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const first = Journal.open(folder);
    keeper(first.terms).admit({ term: 4n, coordinator: 'south' });
    const second = Journal.open(folder);
    expect(thrown(() => keeper(second.terms).admit({ term: 3n, coordinator: 'main' })).code).toBe('TERM_STALE');
    first.close();
    second.close();
  });
});
