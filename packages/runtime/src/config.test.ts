import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { loadConfig, parseConfig } from './config.ts';
import { thrown } from './testing/index.ts';

const schema = z.strictObject({
  site: z.string(),
  tls: z.strictObject({ ca: z.string(), port: z.number() }),
  partitions: z.array(z.strictObject({ name: z.string() })),
});

const GOOD = `site: a
tls:
  ca: ca.pem
  port: 1
partitions:
  - name: one
`;

/** `line:column` of every fault, in the order of the message. */
function placesOf(text: string): string[] {
  const error = thrown(() => parseConfig(text, { path: 'site.yaml', schema }));
  expect(error.code).toBe('CONFIG_INVALID');
  const places = [...error.message.matchAll(/site\.yaml:(\d+:\d+): /g)].map(([, place]) => place!);
  const { path, line, column, ...others } = error.details;
  expect([path, `${line}:${column}`, others]).toEqual(['site.yaml', places[0], {}]);
  return places;
}

it('returns what the schema makes of a good text', () => {
  expect(parseConfig(GOOD, { path: 'site.yaml', schema })).toEqual({
    site: 'a',
    tls: { ca: 'ca.pem', port: 1 },
    partitions: [{ name: 'one' }],
  });
});

it.each([
  ['a wrong value, at the value', GOOD.replace('port: 1', 'port: one'), ['4:9']],
  ['a wrong value in a list, at the value', GOOD.replace('name: one', 'name: 7'), ['6:11']],
  ['an unknown key, at the key', GOOD.replace('  port: 1', '  port: 1\n  prot: 2'), ['5:3']],
  ['an unknown key at the top, at the key', `${GOOD}sit: b\n`, ['7:1']],
  ['a missing key, at its parent', GOOD.replace('  port: 1\n', ''), ['3:3']],
  ['a key that repeats', `${GOOD}site: b\n`, ['7:1']],
  ['an empty file', '', ['1:1']],
  ['a file that is no mapping', 'just words\n', ['1:1']],
])('names the place of %s', (_what, text, places) => {
  expect(placesOf(text)).toEqual(places);
});

it('names every fault of a file at once', () => {
  expect(placesOf(GOOD.replace('site: a', 'site: 1').replace('port: 1', 'port: x'))).toEqual(['1:7', '4:9']);
});

it('stops at a fault of syntax and names its place', () => {
  expect(placesOf('site: "a\ntls: [1, 2\n').length).toBeGreaterThan(0);
});

it('refuses a file that is not there, and reads one that is', () => {
  const folder = mkdtempSync(join(tmpdir(), 'antipode-config-'));
  try {
    const path = join(folder, 'site.yaml');
    const error = thrown(() => loadConfig(path, schema));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.details).toEqual({ path });
    writeFileSync(path, GOOD);
    expect(loadConfig(path, schema).site).toBe('a');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('refuses an alias to nothing, and one that unfolds without end', () => {
  const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\n${'bcdefghij'
    .split('')
    .map((name, at) => `${name}: &${name} [${Array(9).fill(`*${'abcdefghij'[at]}`).join(', ')}]`)
    .join('\n')}`;
  for (const text of ['site: *nobody\n', bomb])
    expect(thrown(() => parseConfig(text, { path: 'a.yaml', schema })).code).toBe('CONFIG_INVALID');
});
