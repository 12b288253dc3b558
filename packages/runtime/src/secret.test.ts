import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format, inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isCredential, readPinFile, Secret } from './secret.ts';
import { thrown } from './testing/index.ts';

describe('a secret', () => {
  it.each<[string, (secret: Secret) => string]>([
    ['a template', (secret) => `${secret}`],
    ['JSON', (secret) => JSON.stringify({ deep: [secret] })],
    ['an inspection', (secret) => inspect({ secret }, { depth: 9, showHidden: true })],
    ['a format', (secret) => format('%s %o %j', secret, secret, secret)],
    ['a copy', (secret) => JSON.stringify({ ...secret })],
  ])('does not appear in %s', (_where, print) => {
    const printed = print(new Secret(Buffer.from('12345678')));
    expect(printed).not.toMatch(/12345678|49, ?50|31 ?32/);
  });

  it('lends its bytes, and holds zeros once it is wiped', () => {
    const secret = new Secret(Buffer.from('1234'));
    expect(secret.expose((bytes) => bytes.toString())).toBe('1234');
    secret.wipe();
    expect(secret.expose((bytes) => [...bytes])).toEqual([0, 0, 0, 0]);
  });
});

describe('a PIN file', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'antipode-pin-'));
    path = join(folder, 'pin');
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const write = (contents: string | Uint8Array, mode = 0o600): void => {
    writeFileSync(path, contents);
    chmodSync(path, mode);
  };

  it.each([
    ['without an end of line', '1234', '1234'],
    ['with one', '1234\n', '1234'],
    ['of Windows', '1234\r\n', '1234'],
    ['with more lines, which do not count', '1234\n5678\n', '1234'],
    ['with blanks within, which count', '12 34\n', '12 34'],
    ['of an old Macintosh', '1234\r', '1234'],
    ['in UTF-8', 'pässwörd\n', 'pässwörd'],
    ['of 256 bytes', `${'7'.repeat(256)}\r\n`, '7'.repeat(256)],
  ])('is read %s', (_how, contents, pin) => {
    write(contents);
    expect(readPinFile(path).expose((bytes) => bytes.toString())).toBe(pin);
  });

  it.each([
    ['is empty', ''],
    ['has an empty first line', '\n1234\n'],
    ['has only the end of a Windows line', '\r\n'],
    ['holds 257 bytes', `${'7'.repeat(257)}\n`],
    ['holds much more', '7'.repeat(10_000)],
  ])('is refused when it %s', (_how, contents) => {
    write(contents);
    const error = thrown(() => readPinFile(path));
    expect(error).toMatchObject({ code: 'PIN_FILE_UNREADABLE', details: { path } });
    expect(error.message).not.toContain('777');
  });

  it.each<[string, string | Uint8Array]>([
    ['a byte order mark', '\ufeff1234\n'],
    ['UTF-16, little-endian', Buffer.from('\ufeff1234\n', 'utf16le')],
    ['UTF-16, big-endian', Buffer.from('\ufeff1234\n', 'utf16le').swap16()],
    ['UTF-16 without a mark', Buffer.from('1234', 'utf16le')],
    ['a zero byte', '12\u000034\n'],
    ['a blank at its end', '1234 \n'],
    ['a blank at its beginning', ' 1234\n'],
    ['a tab', '1234\t\n'],
    ['a no-break space', '1234\u00a0\n'],
    ['a mark of no width', '\u200b1234\n'],
    ['two carriage returns', '1234\r\r\n'],
    ['Latin-1', Buffer.from([0x70, 0xe4, 0x73, 0x73])],
    ['nothing but a blank', ' '],
  ])('is refused, with what to do and before a login, when it has %s', (_what, contents) => {
    write(contents);
    const error = thrown(() => readPinFile(path));
    expect(error).toMatchObject({ code: 'PIN_FILE_UNREADABLE', details: { path } });
    expect(error.hint).toContain('No login was tried.');
    expect(error.message).not.toContain('1234');
  });

  it.runIf(process.getuid?.() === 0)('is refused when it belongs to another user, who is not expected', () => {
    write('1234');
    chownSync(path, 4321, 4321);
    expect(thrown(() => readPinFile(path))).toMatchObject({
      code: 'PIN_FILE_EXPOSED',
      details: { owner: 4321 },
      hint: expect.stringContaining('chown'),
    });
    expect(readPinFile(path, { owners: [4321] }).expose((bytes) => bytes.length)).toBe(4);
  });

  it('is refused when it is missing or a folder', () => {
    expect(thrown(() => readPinFile(path)).code).toBe('PIN_FILE_UNREADABLE');
    mkdirSync(path, { mode: 0o700 });
    expect(thrown(() => readPinFile(path)).code).toBe('PIN_FILE_UNREADABLE');
  });

  it.each([0o640, 0o604, 0o620, 0o602, 0o610, 0o601])('is refused with mode %o', (mode) => {
    write('1234', mode);
    expect(thrown(() => readPinFile(path))).toMatchObject({
      code: 'PIN_FILE_EXPOSED',
      details: { path, mode: mode.toString(8) },
    });
  });

  it('may be read-only for its owner', () => {
    write('1234', 0o400);
    expect(readPinFile(path).expose((bytes) => bytes.length)).toBe(4);
  });
});

it('refuses a pipe at once, instead of waiting for somebody to write into it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'antipode-secret-'));
  try {
    execFileSync('mkfifo', ['-m', '600', join(folder, 'pin')]);
    expect(thrown(() => readPinFile(join(folder, 'pin'))).code).toBe('PIN_FILE_UNREADABLE');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it('takes an access list for a right of the group only where nobody but root can make one', () => {
  const file = '/run/credentials/antipode-agent.service/payments.pin';
  const listed = { uid: 0, gid: 0, mode: 0o100440 };
  expect(isCredential(file, listed)).toBe(true);
  for (const [path, stat] of [
    ['/run/credentials/../../tmp/payments.pin', listed],
    ['/var/lib/antipode/site/payments.pin', listed],
    [file, { ...listed, uid: 994 }],
    [file, { ...listed, gid: 994 }],
    [file, { ...listed, mode: 0o100444 }],
    [file, { ...listed, mode: 0o100460 }],
  ] as const)
    expect(isCredential(path, stat)).toBe(false);
});
