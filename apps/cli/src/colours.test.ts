import { describe, expect, it } from 'vitest';
import { coloured, isColoured } from './colours.ts';
import { table } from './table.ts';

describe('colours', () => {
  it.each([
    ['a terminal', { isTTY: true }, {}, true],
    ['a pipe', {}, {}, false],
    ['a pipe with FORCE_COLOR', {}, { FORCE_COLOR: '1' }, true],
    ['a terminal with FORCE_COLOR=0', { isTTY: true }, { FORCE_COLOR: '0' }, false],
    ['a terminal with NO_COLOR', { isTTY: true }, { NO_COLOR: '1' }, false],
    ['a terminal with both', { isTTY: true }, { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
    ['a terminal with an empty NO_COLOR', { isTTY: true }, { NO_COLOR: '' }, true],
    ['a terminal that knows none', { isTTY: true }, { TERM: 'dumb' }, false],
  ])('at %s are as its variables say', (_what, stream, environment, expected) => {
    expect(isColoured(stream, environment)).toBe(expected);
  });

  it('are those of states in tables, and not of words in sentences', () => {
    const text = `${table(
      ['SITE', 'STATE'],
      [
        ['a', 'up'],
        ['down', 'down'],
      ],
    )}\nSite a is down.`;
    expect(coloured(text).replaceAll('\u001b', '^').split('\n')).toEqual([
      'SITE  STATE',
      'a     ^[32mup^[39m',
      '^[31mdown^[39m  ^[31mdown^[39m',
      'Site a is down.',
    ]);
  });
});
