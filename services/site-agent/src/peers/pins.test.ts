import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { type Pin, Pins, peerFrom, peerText } from './pins.ts';

const [ONE, TWO] = ['11'.repeat(32), '22'.repeat(32)];
const pin = (identity: string, rest: Partial<Pin> = {}): Pin => ({
  identity,
  site: 'b',
  serial: '9aa08ea09924bb93',
  role: 'member',
  ...rest,
});
const text = (identity: string, more = ''): string =>
  `  - identity: '${identity}'\n    site: b\n    serial: 9aa08ea09924bb93\n${more}`;
let folder: string;
let file: string;
let pins: Pins;

beforeEach(() => {
  folder = temporaryFolder();
  file = join(folder, 'pins.yaml');
  pins = new Pins(file);
});

afterEach(() => rmSync(folder, { recursive: true }));

const identities = (group: string): string[] => pins.of(group).map(({ identity }) => identity);

it('trusts nobody without a pin, and then only in that group', () => {
  expect([pins.read(), pins.of('payments')]).toEqual([{}, []]);
  pins.add('payments', [pin(ONE)]);
  expect([pins.of('payments'), pins.of('other')]).toEqual([[pin(ONE)], []]);
});

it('tells how many are new, and writes nothing when none is', () => {
  expect(pins.add('payments', [pin(ONE), pin(TWO, { role: 'scratch' }), pin(ONE)])).toBe(2);
  const { mtimeNs, ino } = statSync(file, { bigint: true });
  expect(pins.add('payments', [pin(TWO, { role: 'scratch' })])).toBe(0);
  expect(statSync(file, { bigint: true })).toMatchObject({ mtimeNs, ino });
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

it.each([{ site: 'c' }, { serial: 'another' }, { role: 'scratch' as const }])(
  'does not take the identity of one partition for that of another: %o',
  (change) => {
    pins.add('payments', [pin(ONE)]);
    expect(thrown(() => pins.add('payments', [pin(TWO), pin(ONE, change)])).code).toBe('ALREADY_EXISTS');
    expect(pins.of('payments')).toEqual([pin(ONE)]);
  },
);

it('counts a pin that was added or taken away by hand at once', () => {
  writeFileSync(file, `payments:\n${text(ONE, '    comment: by telephone\n')}`);
  expect(identities('payments')).toEqual([ONE]);
  writeFileSync(file, '');
  expect(identities('payments')).toEqual([]);
});

it('keeps what operators wrote: the comment above, comments of pins, other groups', () => {
  const head = '# Compared by Anna and Bo.\n# Second line.\n';
  writeFileSync(file, `${head}payments:\n${text(ONE, '    comment: by telephone\n')}other: []\n`);
  pins.add('payments', [pin(TWO)]);
  expect(readFileSync(file, 'utf8').startsWith(head)).toBe(true);
  expect(pins.read()).toEqual({ payments: [pin(ONE, { comment: 'by telephone' }), pin(TWO)], other: [] });
});

describe('a file that is wrong is refused, and trusts nobody:', () => {
  it.each([
    ['a fingerprint that is short', `payments:\n${text(ONE.slice(2))}`],
    ['a fingerprint in capitals', `payments:\n${text('AB'.repeat(32))}`],
    ['an identity of nowhere', `payments:\n  - identity: '${ONE}'\n    serial: '1'\n`],
    ['an identity of no partition', `payments:\n  - identity: '${ONE}'\n    site: b\n`],
    ['a role that there is not', `payments:\n${text(ONE, '    role: witness\n')}`],
    ['a field that we do not know', `payments:\n${text(ONE, '    sight: x\n')}`],
    ['a group that is no list', `payments: '${ONE}'\n`],
    ['broken syntax', 'payments: [\n'],
  ])('%s', (_what, wrong) => {
    writeFileSync(file, wrong);
    for (const ask of [() => pins.of('payments'), () => pins.add('payments', [pin(TWO)])])
      expect(thrown(ask)).toMatchObject({ code: 'CONFIG_INVALID', details: { path: file } });
    expect(readFileSync(file, 'utf8')).toBe(wrong);
  });
});

it.each([
  { identity: '' },
  { identity: 'AB'.repeat(32) },
  { identity: '11'.repeat(31) },
  { identity: `${ONE}\n` },
  { site: '' },
  { site: 'B' },
  { serial: '' },
  { serial: 'a=b' },
])('does not add %o', (change) => {
  expect(thrown(() => pins.add('payments', [pin(TWO), pin(ONE, change)])).code).toBe('REQUEST_INVALID');
  expect(pins.read()).toEqual({});
});

it('takes a group for nothing else than its name', () => {
  for (const group of ['constructor', '__proto__', 'hasOwnProperty']) expect(identities(group)).toEqual([]);
  expect(pins.add('constructor', [pin(ONE)])).toBe(1);
  expect(identities('constructor')).toEqual([ONE]);
});

describe('what operators tell each other', () => {
  it('is read as it is printed', () => {
    for (const role of ['member', 'scratch'] as const)
      expect(peerFrom(peerText(pin(ONE)), role)).toEqual(pin(ONE, { role }));
  });

  it.each(['', ONE, `b=${ONE}`, `b=1=${ONE}=scratch`, `=1=${ONE}`, `b==${ONE}`, `b=1=${ONE.slice(1)}`])(
    'is refused as %j',
    (words) => {
      expect(thrown(() => peerFrom(words, 'member'))).toMatchObject({
        code: 'REQUEST_INVALID',
        details: { field: 'peer' },
      });
    },
  );
});
