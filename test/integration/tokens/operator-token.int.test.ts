/** Operators sign approvals with keys that only their tokens have. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { main } from '@antipode/cli/testing';
import {
  approvalFileText,
  approvalFromFileText,
  isSignedByOperator,
  operatorKeyFrom,
  signedBytesOf,
} from '@antipode/protocol';
import { someRequest } from '@antipode/protocol/testing';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { makeToken, SOFTHSM_MODULE, type TestToken } from '../../support/tokens.ts';

let token: TestToken;
let stdout = '';
let stderr = '';
const before = { conf: process.env['SOFTHSM2_CONF'], state: process.env['XDG_STATE_HOME'] };

beforeAll(() => {
  token = makeToken('operator');
  process.env['SOFTHSM2_CONF'] = token.environment.SOFTHSM2_CONF;
  process.env['XDG_STATE_HOME'] = join(token.folder, 'state');
  token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', '01', '--label', 'on-p256');
  token.tool('--keypairgen', '--key-type', 'EC:edwards25519', '--id', '02', '--label', 'on-edwards');
});

afterAll(() => {
  token?.remove();
  for (const [name, value] of [
    ['SOFTHSM2_CONF', before.conf],
    ['XDG_STATE_HOME', before.state],
  ] as const)
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
});

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

async function antipode(...argv: string[]): Promise<number> {
  [stdout, stderr] = ['', ''];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
  process.exitCode = undefined;
  await main(argv);
  return Number(process.exitCode ?? 0);
}

const uri = (key: string): string => `pkcs11:token=operator;${key}?module-path=${SOFTHSM_MODULE}`;

it.each(['object=on-p256', 'object=on-edwards', 'id=%02'])('signs with the key %s of a token', async (key) => {
  const file = join(token.folder, 'approval.json');
  writeFileSync(file, approvalFileText(someRequest(), []));
  const options = ['--key', uri(key), '--pin-file', token.config.pinFile];
  expect([await antipode('approve', 'public-key', ...options), stderr]).toEqual([0, '']);
  const publicKey = operatorKeyFrom(stdout)!;
  expect(await antipode('approve', 'sign', file, '--as', 'bob', '--yes', ...options)).toBe(0);
  const { request, signatures } = approvalFromFileText(readFileSync(file, 'utf8'));
  const [{ signature }] = signatures as [(typeof signatures)[0]];
  expect(isSignedByOperator({ key: publicKey }, { bytes: signedBytesOf(request), signature })).toBe(true);
});

it('names what is missing, and tries a refused PIN once', async () => {
  const pinFile = token.config.pinFile;
  expect(await antipode('approve', 'public-key', '--key', uri('object=none'), '--pin-file', pinFile)).not.toBe(0);
  expect(stderr).toContain('NOT_FOUND');
  const wrong = join(token.folder, 'wrong.pin');
  writeFileSync(wrong, '99999999\n', { mode: 0o600 });
  const tried = () => antipode('approve', 'public-key', '--key', uri('object=on-p256'), '--pin-file', wrong);
  await tried();
  expect(stderr).toContain('PIN_REFUSED');
  await tried();
  expect(stderr).toContain('not tried again');
  expect(stdout + stderr).not.toContain('99999999');
});
