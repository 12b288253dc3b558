import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { columnsOf, table } from './table.ts';

describe('a table at a terminal', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '-', '.', '\n'), maxLength: 60 });
  const grid = fc
    .integer({ min: 1, max: 10 })
    .chain((width) => fc.array(fc.array(cell, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 5 }));

  it('fits 80 columns, whatever it holds, and loses no letter', () => {
    fc.assert(
      fc.property(grid, (rows) => {
        const head = rows[0]!.map((_, at) => `A HEADING OF COLUMN ${at}`);
        const text = table(head, rows, { columns: 80 });
        for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
        const letters = (all: string): string => [...all.replaceAll(/\s/g, '')].sort().join('');
        expect(letters(text)).toBe(letters([head, ...rows].flat().join('')));
      }),
      { numRuns: 200 },
    );
  });

  it('breaks a cell between its words, and the widest one first', () => {
    expect(table(['SITE', 'REASON'], [['a', 'no heartbeat for six seconds']], { columns: 24 }).split('\n')).toEqual([
      'SITE  REASON',
      'a     no heartbeat for',
      '      six seconds',
    ]);
  });

  it('is as wide as it is in a pipe, where nobody says how wide the page is', () => {
    const long = 'x'.repeat(200);
    expect(table(['A'], [[long]], { columns: undefined })).toContain(long);
    expect(columnsOf({ isTTY: true, columns: 132 })).toBe(132);
    expect(columnsOf({})).toBe(undefined);
  });
});
