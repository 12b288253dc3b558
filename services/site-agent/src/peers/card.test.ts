import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { type Card, cardText, checkCode, codeOf, loadCard } from './card.ts';

const folder = mkdtempSync(join(tmpdir(), 'antipode-card-'));
afterAll(() => rmSync(folder, { recursive: true }));

const pin = (serial: string, role: 'member' | 'scratch' = 'member', digit = '4f') =>
  ({ site: 'b', serial, identity: digit.repeat(32), role }) as const;
const CARD: Card = { site: 'b', pins: [pin('s1'), pin('s2', 'scratch', '5a')] };
const read = (text: string): Card => {
  const file = join(folder, 'card.yaml');
  writeFileSync(file, text);
  return loadCard(file);
};

it('a card is read as it was written', () => {
  expect(read(cardText(CARD))).toEqual(CARD);
});

it.each([
  ['of a later version', cardText(CARD).replace('card: 1', 'card: 2')],
  ['without a partition', 'card: 1\nsite: b\npartitions: []\n'],
  ['with a short identity', cardText(CARD).replace('4f'.repeat(32), '4f')],
  ['with something more', `${cardText(CARD)}more: 1\n`],
  ['with another name of a site', cardText(CARD).replace('site: b', 'site: "B B"')],
])('a card %s is refused', (_what, text) => {
  expect(thrown(() => read(text)).code).toBe('CONFIG_INVALID');
});

describe('the code of a card', () => {
  it('has 80 bits in four groups, and stays the same for ever', () => {
    expect(codeOf(CARD)).toBe('WVEN-TWHP-85BK-QX9C');
    expect(codeOf({ ...CARD, pins: [...CARD.pins].reverse() })).toBe(codeOf(CARD));
  });

  it('is another one when anything that is trusted is another', () => {
    const others: Card[] = [
      { ...CARD, site: 'c' },
      { ...CARD, pins: [pin('s1')] },
      { ...CARD, pins: [pin('s1', 'scratch'), pin('s2', 'scratch', '5a')] },
      { ...CARD, pins: [pin('s1', 'member', '4e'), pin('s2', 'scratch', '5a')] },
      { ...CARD, pins: [pin('s3'), pin('s2', 'scratch', '5a')] },
    ];
    const codes = new Set([CARD, ...others].map(codeOf));
    expect(codes.size).toBe(6);
  });

  it('is taken as people type it, and a wrong one is refused', () => {
    const code = codeOf(CARD);
    for (const text of [
      code,
      code.toLowerCase(),
      code.replaceAll('-', ' '),
      code.replace(/0/g, 'o').replace(/1/g, 'l'),
    ])
      checkCode(CARD, text);
    const wrong = `${code.slice(0, -1)}${code.endsWith('7') ? '8' : '7'}`;
    for (const text of [wrong, '', code.slice(0, -1)])
      expect(thrown(() => checkCode(CARD, text)).code).toBe('PEER_NOT_PINNED');
  });
});
