import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AntipodeError } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collected, type Source } from './bundle.ts';
import { viewOf } from './config-view.ts';
import { secretsOf } from './known-secrets.ts';
import { Scrubber } from './scrubber.ts';
import { tarOf } from './tar.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-support-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a scrubber', () => {
  const clean = (text: string, ...secrets: string[]): string => new Scrubber(secrets).scrub(text).text;

  it.each([
    ['a "quoted" päss word', 'the hook says a "quoted" päss word, twice: a "quoted" päss word'],
    ['a "quoted" päss word', JSON.stringify({ said: 'a "quoted" päss word' })],
    ['correct/horse+battery', `postgres://me@db/?x=${encodeURIComponent('correct/horse+battery')}`],
    ['correct horse', Buffer.from('correct horse').toString('hex')],
    ['correct horse', Buffer.from('correct horse').toString('base64')],
    ['7390', 'PIN of the token is 7390.'],
    ['.*', '.* and more'],
  ])('finds %j however it is spelt: %s', (secret, text) => {
    const left = clean(text, secret);
    if (secret.length < 3) expect(left).toBe(text);
    else expect([left.includes('(redacted)'), left.includes(secret)]).toEqual([true, false]);
  });

  it('does not find a short PIN in the middle of a number, where its gap would tell it', () => {
    expect(clean('at 1764739012345', '7390')).toBe('at 1764739012345');
  });

  it.each([
    ['DATABASE_URL=postgres://antipode:hunter2@db:5432/x', 'DATABASE_URL=postgres://(redacted)@db:5432/x'],
    ['password=hunter2 user=me', 'password=(redacted) user=me'],
    ['{"pin":"12\\"34","ok":true}', '{"pin":(redacted),"ok":true}'],
    ['Authorization: Bearer abcdefgh.ijkl', 'Authorization: (redacted)'],
    ['ORACLE_API_KEY: xyz', 'ORACLE_API_KEY: (redacted)'],
    ['antipode-site-1.abc.def', '(redacted)'],
    ['-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nmore', '(redacted)\nmore'],
    ['-----BEGIN EC PRIVATE KEY-----\nMIIE and the end is lost', '(redacted)'],
  ])('knows secrets by their form: %s', (text, expected) => {
    expect(clean(text)).toBe(expected);
  });

  it('leaves no known secret in any text', () => {
    const secret = fc.string({ minLength: 8, maxLength: 30 }).filter((one) => one.trim().length >= 8);
    fc.assert(
      fc.property(fc.array(secret, { minLength: 1, maxLength: 4 }), fc.string(), (secrets, rest) => {
        const text = secrets.join(rest);
        const left = clean(text, ...secrets);
        for (const one of secrets) if (!'(redacted)'.includes(one.trim())) expect(left).not.toContain(one.trim());
      }),
      { numRuns: 300 },
    );
  });

  it('takes a long text in a time that grows with its length', () => {
    const text = `${'password '.repeat(50_000)}${'x://'.repeat(50_000)}${'a'.repeat(200_000)}`;
    expect(new Scrubber(['correct horse']).scrub(text).text.length).toBeGreaterThan(100_000);
  });
});

describe('the view of a configuration', () => {
  const view = (text: string) => viewOf(text, { kind: 'coordinator', file: join(folder, 'coordinator.yaml') });

  it('has known settings, if they look as they should, and nothing else', () => {
    writeFileSync(join(folder, 'ca.pem'), '');
    const { view: shown, leftOut } = view(`
id: main
listen: localhost:7000
tls: { ca: ca.pem, certificate: hunter2, key: -----BEGIN PRIVATE KEY----- }
databaseUrl: postgres://me:hunter2@db:5432/antipode?password=hunter2
adminPassword: hunter2
hunter2:
http: hunter2
hooks:
  roleChange: [{ name: dns, command: [hunter2, --token, hunter2] }, { name: web, url: 'https://h/hunter2', secretFile: hunter2 }]
notifications: hunter2
`);
    expect(JSON.stringify(shown)).not.toMatch(/hunter2|PRIVATE/);
    expect(shown).toMatchObject({ id: 'main', listen: 'localhost:7000', tls: { ca: 'ca.pem' } });
    expect(shown).toMatchObject({ databaseUrl: 'postgres://db:5432/(left out)', 'and 2 more': '(left out)' });
    expect(leftOut).toBeGreaterThan(6);
  });

  it('quotes nothing of a file that is not YAML', () => {
    expect(() => view('databaseUrl: "hunter2\nx: [')).toThrow(/^the file is not YAML: [A-Z_]+$/);
  });

  it('is empty for an empty file, and for a text', () => {
    expect(view('').view).toBeNull();
    expect(JSON.stringify(view('hunter2').view)).toBe('"(left out)"');
  });
});

it('the secrets of a configuration are those in it, in its files, and in the environment', () => {
  writeFileSync(join(folder, 'a.pin'), 'pin-in-a-file\n');
  const file = join(folder, 'agent.yaml');
  writeFileSync(
    file,
    `partitions:
  - { pinFile: a.pin, environment: { VENDOR_PIN: in-environment }, exclude: { labels: [label-of-a-key] } }
  - { pinFile: '98765432' }
databaseUrl: postgres://me:in%20url@db/x?sslpassword=in-query
`,
  );
  const found = secretsOf([file, '/nowhere'], { REDIS_URL: 'rediss://:in-variable@r:6379' });
  for (const secret of [
    ...['pin-in-a-file', 'in-environment', 'label-of-a-key', '98765432'],
    ...['in url', 'in%20url', 'in-query', 'in-variable'],
  ])
    expect(found).toContain(secret);
});

it('an archive is one that tar reads', () => {
  const files = [
    { name: 'one/empty', contents: Buffer.alloc(0) },
    { name: 'one/block', contents: Buffer.alloc(512, 'x') },
    { name: 'one/more', contents: Buffer.from('ä\n') },
  ];
  const tar = tarOf(files, { atMs: Date.UTC(2026, 10, 29) });
  expect(String(execFileSync('tar', ['-tvf', '-'], { input: tar }))).toMatch(/^-rw------- 0\/0 +0 2026-11-/);
  for (const { name, contents } of files)
    expect(execFileSync('tar', ['-xOf', '-', name], { input: tar })).toEqual(contents);
});

describe('a bundle', () => {
  const clock = new FakeClock();
  const make = (sources: Source[], secrets: string[] = []) =>
    collected(sources, { clock, scrubber: new Scrubber(secrets), folder: 'f' });

  it('names each source that fails, and has all others', async () => {
    const sources: Source[] = [
      { name: 'a', collect: () => ({ text: 'whole' }) },
      {
        name: 'b',
        collect: () => {
          throw new AntipodeError('NOT_FOUND', 'hunter2-hunter2 is not here');
        },
      },
      { name: 'c', collect: () => Promise.reject(Object.assign(new Error('no'), { code: 'EACCES' })) },
      { name: 'd', collect: () => Promise.reject(new Error('odd')) },
      { name: 'e', collect: () => ({ text: 'hunter2-hunter2', leftOut: 3 }) },
    ];
    const { files, missing, archive } = await make(sources, ['hunter2-hunter2']);
    expect(files).toMatchObject([
      { file: 'a', redacted: 0 },
      { file: 'e', redacted: 1, leftOut: 3 },
    ]);
    expect(missing).toEqual([
      { file: 'b', code: 'NOT_FOUND', message: '(redacted) is not here' },
      { file: 'c', code: 'EACCES', message: 'no' },
      { file: 'd', code: 'UNKNOWN', message: 'odd' },
    ]);
    const list = execFileSync('tar', ['-xzOf', '-', 'f/MANIFEST.json'], { input: archive() });
    expect(JSON.parse(String(list))).toMatchObject({ files: JSON.parse(JSON.stringify(files)), missing });
  });

  it('does not wait for a source that hangs', async () => {
    const made = make([
      { name: 'hangs', collect: () => new Promise(() => {}) },
      { name: 'a', collect: () => ({ text: 'x' }) },
    ]);
    await clock.advance(60_000);
    const { files, missing } = await made;
    expect([files.length, missing.map(({ code }) => code)]).toEqual([1, ['TIMED_OUT']]);
  });

  it('keeps the end of a file that is too large, and says so', async () => {
    const { files } = await make([{ name: 'a', collect: () => ({ text: `${'x'.repeat(9 * 1024 * 1024)}end` }) }]);
    expect(files).toMatchObject([{ bytes: 8 * 1024 * 1024, isCut: true }]);
  });
});
