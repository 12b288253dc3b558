import { describe, expect, it } from 'vitest';
import { isExcluded, matchesByRule, type ObjectFilter, seenForm } from './filter.ts';

const NO_FILTER: ObjectFilter = { excludeIds: [], excludeLabels: [], excludeClasses: [] };
const bytes = (...parts: (string | number)[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))));
const keyWith = (attributes: { label?: Uint8Array; id?: Uint8Array }) =>
  ({ objectClass: 'secret-key', attributes }) as const;
const stays = (label: Uint8Array, pattern: string, ignoreCase = false): boolean =>
  isExcluded(keyWith({ label }), { ...NO_FILTER, excludeLabels: [pattern], ignoreCase });

describe('a rule on labels', () => {
  it.each<[string, Uint8Array]>([
    ['as it is', bytes('site-key')],
    ['with a zero byte', bytes('site-key', 0)],
    ['padded with zero bytes', bytes('site-key', 0, 0, 0)],
    ['with a zero byte in front', bytes(0, 'site-key')],
    ['with a zero byte within', bytes('site', 0, '-key')],
    ['padded with blanks', bytes('site-key    ')],
    ['padded with blanks in front', bytes('  site-key')],
    ['with a line end', bytes('site-key\r\n')],
    ['padded with 0xff', bytes('site-key', 0xff, 0xff)],
    ['in UTF-16', Buffer.from('site-key', 'utf16le')],
    ['with a byte order mark', bytes('\ufeffsite-key')],
    ['with an invisible character', bytes('site\u200b-key')],
    ['with a soft hyphen', bytes('site\u00ad-key')],
    ['with a mark of direction', bytes('\u202asite-key\u202c')],
    ['in wide letters', bytes('ｓｉｔｅ－ｋｅｙ')],
  ])('keeps a key that people see under its name, %s', (_what, label) => {
    expect(stays(label, 'site-key')).toBe(true);
  });

  it.each<[string, Uint8Array, string]>([
    ['composed, rule decomposed', bytes('schl\u00fcssel'), 'schlu\u0308ssel'],
    ['decomposed, rule composed', bytes('schlu\u0308ssel'), 'schl\u00fcssel'],
    ['decomposed around an invisible character', bytes('schlu\u200b\u0308ssel'), 'schl\u00fcssel'],
    ['Latin-1', Buffer.from('schl\u00fcssel', 'latin1'), 'schl\u00fcssel'],
    ['no-break space', bytes('site\u00a0key'), 'site key'],
    ['two blanks', bytes('site  key'), 'site key'],
    ['an emoji for ?', bytes('site-\u{1f511}'), 'site-?'],
    ['a padded pattern', bytes('site-7', 0), 'site-? '],
    ['the end of a pattern with *', bytes('my-site-key', 0), '*-key'],
  ])('compares what people see: %s', (_what, label, pattern) => {
    expect(stays(label, pattern)).toBe(true);
  });

  it('lets an object with another visible name go', () => {
    for (const label of ['site-key2', 'site_key', 'Site-Key', 'sitekey', ''])
      expect([label, stays(bytes(label), 'site-key')]).toEqual([label, false]);
    expect(isExcluded(keyWith({}), { ...NO_FILTER, excludeLabels: ['site-key'] })).toBe(false);
  });

  it('compares case unless the filter ignores it', () => {
    expect([stays(bytes('SITE-KEY', 0), 'site-key'), stays(bytes('SITE-KEY', 0), 'site-key', true)]).toEqual([
      false,
      true,
    ]);
    expect(stays(bytes('STRASSE'), 'straße', true)).toBe(true);
  });

  it('matches nothing with a pattern that nobody can see', () => {
    expect(stays(bytes(''), '\u200b')).toBe(false);
    expect(seenForm('\u200b \0', { ignoreCase: false })).toBe('');
  });
});

describe('a rule on ids', () => {
  const has = (id: Uint8Array, rule: string): boolean =>
    isExcluded(keyWith({ id }), { ...NO_FILTER, excludeIds: [rule] });

  it('keeps a key with a padded id', () => {
    for (const padding of [[], [0], [0, 0, 0], [0x20, 0x20], [0xff]])
      expect([padding, has(Uint8Array.of(0x0a, 0x1f, ...padding), '0A1f')]).toEqual([padding, true]);
  });

  it('lets any other id go', () => {
    for (const id of [[0x0a], [0x0a, 0x1e], [0, 0x0a, 0x1f], [0x0a, 0x1f, 1], [0x0a, 0x1f, 0, 0x20], []])
      expect([id, has(Uint8Array.from(id), '0a1f')]).toEqual([id, false]);
  });
});

it('shows what each rule matches, even if it matches nothing', () => {
  const objects = [
    keyWith({ label: bytes('site-key', 0), id: Uint8Array.of(1) }),
    keyWith({ label: bytes('other'), id: Uint8Array.of(1, 0) }),
  ];
  const filter = { excludeIds: ['01'], excludeLabels: ['site-key', 'absent'], excludeClasses: ['secret-key'] };
  expect(matchesByRule(objects, filter).map(({ rule, objects: matched }) => [rule.value, matched.length])).toEqual([
    ['01', 2],
    ['site-key', 1],
    ['absent', 0],
    ['secret-key', 2],
  ]);
});
