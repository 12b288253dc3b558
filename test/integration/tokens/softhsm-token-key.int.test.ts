/** One SoftHSM token gets the token key of another, with everything in it and under its own PINs. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findTokenFolder, openTokenKey, rekeyToken, TokenKey } from '@antipode/hsm-core/testing';
import { sha256, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type PairedToken, pinOf, SoftHsmPair, secret } from '../../support/softhsm-pair.ts';
import { OFFICER_PIN, SOFTHSM_MODULE } from '../../support/tokens.ts';

let pair: SoftHsmPair;
let standby: PairedToken;
let before: string;

beforeAll(() => {
  pair = new SoftHsmPair();
  standby = pair.standby;
  standby.token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', '01', '--label', 'ec');
  standby.token.tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '02', '--label', 'aes');
  writeFileSync(join(pair.folder, 'message'), 'sixteen bytes ..');
  before = join(pair.folder, 'before');
  cpSync(standby.path, before, { recursive: true });
});

afterAll(() => pair?.remove());

beforeEach(() => {
  rmSync(standby.path, { recursive: true });
  cpSync(before, standby.path, { recursive: true });
});

const folderOf = ({ serial, token }: PairedToken) => findTokenFolder({ serial, environment: token.environment });
const staging = (): string => join(dirname(standby.path), '.antipode-rekey');

function rekey(newKey = new TokenKey(Buffer.from(sha256(Buffer.from('new')))), { officerPin = OFFICER_PIN } = {}) {
  return rekeyToken({
    folder: folderOf(standby),
    clock: systemClock,
    newKey,
    readPin: pinOf(standby.token),
    readOfficerPin: secret(officerPin),
  });
}

const digests = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [name, Buffer.from(sha256(readFileSync(join(folder, name)))).toString('hex')]),
  );

function encrypted(): string {
  const out = join(pair.folder, 'encrypted');
  standby.token.tool('--encrypt', '-m', 'AES-ECB', '--id', '02', '-i', join(pair.folder, 'message'), '-o', out);
  return readFileSync(out).toString('hex');
}

it('keeps every object, PIN, label and serial number', async () => {
  const listed = (): string => standby.token.tool('--list-objects');
  const [was, ciphertext] = [listed(), encrypted()];
  await rekey();
  const key = openTokenKey(standby.path, pinOf(standby.token));
  key.expose((bytes) => expect(bytes).toEqual(Buffer.from(sha256(Buffer.from('new')))));
  expect(listed()).toBe(was);
  expect(encrypted()).toBe(ciphertext);
  expect(existsSync(staging())).toBe(false);
  // No byte string of a private object is as it was.
  for (const [name, digest] of Object.entries(digests(standby.path)))
    if (name.endsWith('.object')) expect([name, digests(before)[name] === digest]).toEqual([name, false]);
});

it('keeps the stamps of captures, or the token would count as an older copy of itself', async () => {
  const stamp = join(standby.path, 'antipode-captured-0123456789abcdef');
  writeFileSync(stamp, '{"epoch":"1","generation":"7"}\n');
  await rekey();
  expect(readFileSync(stamp, 'utf8')).toBe('{"epoch":"1","generation":"7"}\n');
});

it("lets the security officer set the user's PIN afterwards, which opens the same objects", async () => {
  await rekey();
  const where = ['--module', SOFTHSM_MODULE, '--token-label', 'standby'];
  const pins = ['--login-type', 'so', '--so-pin', OFFICER_PIN, '--new-pin', '55667788'];
  const env = { ...process.env, ...standby.token.environment };
  execFileSync('pkcs11-tool', [...where, '--login', '--init-pin', ...pins], { env, stdio: 'pipe' });
  const key = openTokenKey(standby.path, secret('55667788'));
  key.expose((bytes) => expect(bytes).toEqual(Buffer.from(sha256(Buffer.from('new')))));
});

it.each([
  ["the security officer's PIN is another one", () => rekey(undefined, { officerPin: '99999999' })],
  [
    'an object is damaged',
    () => {
      const name = readdirSync(standby.path).find((one) => one.endsWith('.object') && one !== 'token.object')!;
      writeFileSync(join(standby.path, name), readFileSync(join(standby.path, name)).subarray(0, -3));
      return rekey();
    },
  ],
])('changes nothing where %s', async (_why, attempt) => {
  const call = attempt();
  const was = digests(standby.path);
  expect(await rejection(call)).toMatchObject({ code: 'TOKEN_STORE_UNUSABLE' });
  expect(digests(standby.path)).toEqual(was);
  expect(existsSync(staging())).toBe(false);
});

it('leaves the token as it was where another process writes to it meanwhile', async () => {
  const late = join(standby.path, 'late.object');
  class Meanwhile extends TokenKey {
    override wrapFor(pin: Uint8Array): Buffer {
      // All objects have been read by now.
      cpSync(join(before, readdirSync(before).find((name) => name.endsWith('.object'))!), late);
      return super.wrapFor(pin);
    }
  }
  expect(await rejection(rekey(new Meanwhile(Buffer.alloc(32, 7))))).toMatchObject({ code: 'HSM_UNAVAILABLE' });
  expect(digests(standby.path)).toEqual({ ...digests(before), 'late.object': digests(standby.path)['late.object'] });
  expect(encrypted()).toMatch(/^[0-9a-f]+$/);
});

it('goes on after a kill before the exchange, and after a kill behind it', async () => {
  const rest = join(staging(), standby.path.slice(dirname(standby.path).length + 1));
  mkdirSync(rest, { recursive: true });
  cpSync(join(before, 'generation'), join(rest, 'generation'));
  await rekey();
  const done = digests(standby.path);
  cpSync(before, rest, { recursive: true });
  await rekey();
  expect(digests(standby.path)).toEqual(done);
  expect(existsSync(staging())).toBe(false);
});
