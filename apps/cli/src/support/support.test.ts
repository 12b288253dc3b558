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

const R = '(redacted)';
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
    ['{"pin":"12\\"34","ok":true}', '{"pin":"(redacted)","ok":true}'],
    ["pin: 'two words' # of the token", "pin: '(redacted)' # of the token"],
    ['agent: {"pin": 1234, "ok": true}', 'agent: {"pin": "(redacted)", "ok": true}'],
    ['agent: body={\\"pin\\":\\"12 34\\",\\"ok\\":1}', 'agent: body={\\"pin\\":\\"(redacted)\\",\\"ok\\":1}'],
    ['agent: {"pin":"a line that was cut', 'agent: {"pin":"(redacted)"'],
    ['Authorization: Bearer abcdefgh.ijkl', 'Authorization: (redacted)'],
    ['ORACLE_API_KEY: xyz', 'ORACLE_API_KEY: (redacted)'],
    ['antipode-site-1.abc.def', '(redacted)'],
    ['-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nmore', '(redacted)\nmore'],
    ['-----BEGIN EC PRIVATE KEY-----\nMIIE and the end is lost', '(redacted)'],
  ])('knows secrets by their form: %s', (text, expected) => {
    expect(clean(text)).toBe(expected);
  });

  it.each([
    ['a number', '{"pin":1234,"big":12345678901234567890,"at":1.50}', { pin: R, at: 1.5 }],
    ['a list', '{"authorization":["Bearer abcdefgh.ijkl"],"ok":true}', { authorization: R, ok: true }],
    ['an object', '{"credentials":{"user":"me","word":"hunter2"}}', { credentials: R }],
    ['JSON in JSON', JSON.stringify({ body: '{"pin":"1234"}' }), { body: '{"pin":"(redacted)"}' }],
    ['a known secret that is a number', '{"at":87654321}', { at: R }],
    ['a known secret that is a name', '{"87654321":1}', { [R]: 1 }],
    ['a private key that has no end', '{"a":"-----BEGIN PRIVATE KEY-----\\nMIIE","b":1}', { a: R, b: 1 }],
    ['a text', '"password=hunter2"', 'password=(redacted)'],
  ])('keeps a line of JSON a line of JSON: %s', (_of, line, expected) => {
    const lines = clean(`first\n${line}\r\nlast`, '87654321').split('\n');
    expect(lines.length).toBe(3);
    const kept: unknown = JSON.parse(lines[1] ?? '');
    if (typeof expected === 'string') expect(kept).toBe(expected);
    else expect(kept).toMatchObject(expected);
    expect(lines[1]).not.toMatch(/hunter2|1234[^5]|87654321|MIIE|abcdefgh/);
  });

  it('changes nothing of a number that stands beside a secret', () => {
    const line = '{"pin":"1","big":12345678901234567890,"at":1.50}';
    expect(clean(line)).toBe('{"pin":"(redacted)","big":12345678901234567890,"at":1.50}');
    expect(clean('{ "big" : 12345678901234567890 }')).toBe('{ "big" : 12345678901234567890 }');
  });

  it('keeps a document of JSON over many lines one document', () => {
    const document = JSON.stringify({ list: [{ pin: ['1234', '5678'] }, 'password: hunter2'] }, null, 2);
    expect(JSON.parse(clean(`${document}\n`))).toEqual({ list: [{ pin: R }, 'password: (redacted)'] });
  });

  it('takes out a private key with lines of JSON in it', () => {
    const text =
      'password=-----BEGIN PRIVATE KEY-----\nMIIE\n{"ok":true}\nMORE\n-----END PRIVATE KEY-----\n{"ok":true}';
    expect(clean(text)).toBe('password=(redacted)\n{"ok":true}');
  });

  it('keeps a line of JSON that is deeper than a stack', () => {
    const line = `${'['.repeat(200_000)}"password=hunter2"${']'.repeat(200_000)}`;
    const left = clean(line);
    expect(left).not.toContain('hunter2');
    expect(JSON.parse(left)).toBeDefined();
  });

  it('makes no line of JSON invalid, and leaves no secret in it', () => {
    const words = fc.constantFrom('pin', 'password', 'x', 'Authorization', 'secret-word', '"', '\\', '}', 'a=b');
    const leaf = fc.oneof(words, fc.constantFrom(1, true, null, 'pin=12 34', '{"pin":"s3cr3t"}', 'the secret-word'));
    const value = fc.letrec<{ any: unknown }>((tie) => ({
      any: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('any')), fc.dictionary(words, tie('any'))),
    })).any;
    fc.assert(
      fc.property(fc.array(fc.tuple(value, fc.boolean())), (all) => {
        const lines = all.map(([one, isText]) => (isText ? `pin: ${JSON.stringify(one)}` : JSON.stringify(one)));
        const left = clean(lines.join('\n'), 'secret-word');
        expect(left).not.toMatch(/secret-word|s3cr3t/);
        const kept = left.split('\n');
        expect(kept.length).toBe(lines.join('\n').split('\n').length);
        for (const [at, { 1: isText }] of all.entries()) if (!isText) JSON.parse(kept[at] ?? '');
      }),
      { numRuns: 500 },
    );
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

  it('begins a file that is too large with a whole line', async () => {
    const line = `${JSON.stringify({ message: 'x'.repeat(99) })}\n`;
    const { archive } = await make([{ name: 'a', collect: () => ({ text: line.repeat(80_000) }) }]);
    const text = String(execFileSync('tar', ['-xzOf', '-', 'f/a'], { input: archive(), maxBuffer: 2 ** 25 }));
    expect(text.startsWith(line)).toBe(true);
    expect(text.length).toBeGreaterThan(8 * 1024 * 1024 - line.length);
  });
});
