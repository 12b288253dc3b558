import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Pins } from './pins.ts';
import { temporaryFolder } from './testing/temporary-folder.ts';

const [ONE, TWO] = ['11'.repeat(32), '22'.repeat(32)];
let folder: string;
let file: string;
let pins: Pins;

beforeEach(() => {
  folder = temporaryFolder();
  file = join(folder, 'pins.yaml');
  pins = new Pins(file);
});

afterEach(() => rmSync(folder, { recursive: true }));

it('trusts nobody before it is told to, and then only in that group', () => {
  expect([pins.read(), pins.isPinned('payments', ONE)]).toEqual([{}, false]);
  pins.add('payments', [ONE]);
  expect([pins.isPinned('payments', ONE), pins.isPinned('other', ONE), pins.isPinned('payments', TWO)]).toEqual([
    true,
    false,
    false,
  ]);
});

it('tells how many are new, and writes nothing when none is', () => {
  expect(pins.add('payments', [ONE, TWO, ONE])).toBe(2);
  const { mtimeNs, ino } = statSync(file, { bigint: true });
  expect(pins.add('payments', [TWO])).toBe(0);
  expect(statSync(file, { bigint: true })).toMatchObject({ mtimeNs, ino });
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

it('counts a pin that was added or taken away by hand at once', () => {
  writeFileSync(file, `payments:\n  - identity: '${ONE}'\n    comment: by telephone\n`);
  expect(pins.isPinned('payments', ONE)).toBe(true);
  writeFileSync(file, '');
  expect(pins.isPinned('payments', ONE)).toBe(false);
});

it('keeps what operators wrote: the comment above, comments of pins, other groups', () => {
  const head = '# Compared by Anna and Bo.\n# Second line.\n';
  writeFileSync(file, `${head}payments:\n  - identity: '${ONE}'\n    comment: by telephone\nother: []\n`);
  pins.add('payments', [TWO]);
  expect(readFileSync(file, 'utf8').startsWith(head)).toBe(true);
  expect(pins.read()).toEqual({ payments: [{ identity: ONE, comment: 'by telephone' }, { identity: TWO }], other: [] });
});

describe('a file that is wrong is refused, and trusts nobody:', () => {
  it.each([
    ['a fingerprint that is short', `payments:\n  - identity: '${ONE.slice(2)}'\n`],
    ['a fingerprint in capitals', `payments:\n  - identity: '${'AB'.repeat(32)}'\n`],
    ['a field that we do not know', `payments:\n  - identity: '${ONE}'\n    sight: x\n`],
    ['a group that is no list', `payments: '${ONE}'\n`],
    ['broken syntax', 'payments: [\n'],
  ])('%s', (_what, text) => {
    writeFileSync(file, text);
    for (const ask of [() => pins.isPinned('payments', ONE), () => pins.add('payments', [TWO])])
      expect(thrown(ask)).toMatchObject({ code: 'CONFIG_INVALID', details: { path: file } });
    expect(readFileSync(file, 'utf8')).toBe(text);
  });
});

it.each(['', 'AB'.repeat(32), '11'.repeat(31), `${ONE}\n`])('does not add %j', (identity) => {
  expect(thrown(() => pins.add('payments', [ONE, identity])).code).toBe('REQUEST_INVALID');
  expect(pins.read()).toEqual({});
});

it('takes a group for nothing else than its name', () => {
  for (const group of ['constructor', '__proto__', 'hasOwnProperty']) expect(pins.isPinned(group, ONE)).toBe(false);
  expect(pins.add('constructor', [ONE])).toBe(1);
  expect([pins.isPinned('constructor', ONE), pins.isPinned('constructor', TWO)]).toEqual([true, false]);
});
