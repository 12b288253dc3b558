import { expect, it } from 'vitest';
import { printable, printableBytes, printableLines } from './printable.ts';

it.each([
  ['an ordinary label', 'payments key 1', 'payments key 1'],
  ['letters of any script', 'Schlüssel ключ 鍵', 'Schlüssel ключ 鍵'],
  ['what a terminal obeys', '\u001b[2Jgone\u0007\r\n', '\\u001b[2Jgone\\u0007\\u000d\\u000a'],
  ['a turned direction', 'key\u202egnp', 'key\\u202egnp'],
  ['an invisible character', 'ke\u200by\u3164\u2800', 'ke\\u200by\\u3164\\u2800'],
  ['a blank that is no space', 'a\u00a0b\u2028', 'a\\u00a0b\\u2028'],
  ['a backslash, so that no label can pretend to be escaped', 'a\\u0007', 'a\\u005cu0007'],
  ['spaces at the ends', ' a b ', '\\u0020a b\\u0020'],
  ['zero bytes', 'site-key\0', 'site-key\\u0000'],
  ['marks that pile up', 'e\u0301\u0302\u0303\u0304', 'e\u0301\u0302\\u0303\\u0304'],
  ['a mark without a letter', '\u0301a', '\\u0301a'],
  ['a character beyond four digits', 'a\u{e0001}', 'a\\u{e0001}'],
  ['nothing', '', ''],
])('shows %s', (_, text, shown) => {
  expect(printable(text)).toBe(shown);
  expect(printableBytes(Buffer.from(text))).toBe(shown);
});

it('shows bytes that are not UTF-8 one by one', () => {
  expect(printableBytes(Buffer.from('c3bcff1b', 'hex'))).toBe('\\xc3\\xbc\\xff\\u001b');
  expect(printableBytes(Buffer.from('Schl\xfcssel', 'latin1'))).toBe('Schl\\xfcssel');
});

it('keeps the lines and blanks of a table, and shows what a terminal would obey', () => {
  expect(printableLines('SITE  TOKEN\na     \u001b]0;x\u0007\u009b2J\r\u202e \\ b\n')).toBe(
    'SITE  TOKEN\na     \\u001b]0;x\\u0007\\u009b2J\\u000d\\u202e \\ b\n',
  );
});
