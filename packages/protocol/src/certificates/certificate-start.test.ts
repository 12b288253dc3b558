/** A clock that is not set yet is waited for; a certificate that is wrong in any other way is not. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Log } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { untilCertificateBegins } from './certificate-start.ts';
import { createAuthority, issueCertificate } from './certificates.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const MINUTE_MS = 60_000;
let folder: string;
let clock: FakeClock;
let lines: string[];
let waiting: (string | undefined)[];
const files = () => ({
  caFile: join(folder, 'ca.pem'),
  certificateFile: join(folder, 'certificate.pem'),
  keyFile: join(folder, 'key.pem'),
});

/** Begins at `beginsMs`; its authority too, where that is said. */
async function write(beginsMs: number, authorityBeginsMs = NOW_MS - 86_400_000): Promise<void> {
  const authority = await createAuthority({
    trustDomain: 'example.org',
    validDays: 400,
    nowMs: authorityBeginsMs + MINUTE_MS,
  });
  const identity = { trustDomain: 'example.org', kind: 'site', name: 'a' } as const;
  const issued = await issueCertificate({ authority, identity, validDays: 90, nowMs: beginsMs + MINUTE_MS });
  writeFileSync(files().caFile, authority.certificatePem);
  writeFileSync(files().certificateFile, issued.certificatePem);
  writeFileSync(files().keyFile, issued.keyPem);
}

function begin(options: { signal?: AbortSignal } = {}): Promise<void> {
  const log = new Log({ level: 'info', format: 'json', write: (line) => lines.push(line) });
  return untilCertificateBegins(files(), {
    clock,
    log,
    onWaiting: (why) => waiting.push(why?.message),
    ...options,
  });
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-start-'));
  clock = new FakeClock({ originMs: NOW_MS });
  lines = [];
  waiting = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

it('does not wait for a certificate that has begun', async () => {
  await write(NOW_MS - 1);
  await begin();
  expect(lines).toEqual([]);
});

it.each<[string, () => Promise<void>]>([
  ['its certificate', () => write(NOW_MS + 3 * MINUTE_MS)],
  ['the authority of it', () => write(NOW_MS - 1, NOW_MS + 3 * MINUTE_MS)],
])('waits for the start of %s, says so once a minute, and when it is over', async (_whose, arrange) => {
  await arrange();
  let isOver = false;
  const done = begin().then(() => {
    isOver = true;
  });
  await clock.advance(2 * MINUTE_MS);
  expect(isOver).toBe(false);
  expect(waiting.at(-1)).toContain('is valid only from 2026-01-01T00:03:00.000Z, and the clock of this machine says');
  await clock.advance(2 * MINUTE_MS);
  await done;
  expect(waiting.at(-1)).toBeUndefined();
  const told = lines.map((line) => (JSON.parse(line) as { message: string }).message);
  expect(told.filter((message) => message.startsWith('waiting'))).toHaveLength(3);
  expect(told.at(-1)).toBe('the certificate is now valid');
});

it('gives up after a quarter of an hour', async () => {
  await write(NOW_MS + 60 * MINUTE_MS);
  const failed = rejection(begin());
  await clock.advance(15 * MINUTE_MS + 2_000);
  const error = await failed;
  expect(error.code).toBe('CERTIFICATE_INVALID');
  expect(error.hint).toContain('Correct the clock');
});

it('ends at once on a signal', async () => {
  await write(NOW_MS + 60 * MINUTE_MS);
  const stop = new AbortController();
  const done = begin({ signal: stop.signal });
  await clock.advance(1_000);
  stop.abort();
  await done;
});

it.each<[string, () => unknown]>([
  ['has expired', () => clock.advance(100 * 86_400_000)],
  ['is not there', () => rmSync(files().certificateFile)],
  ['is another key', async () => writeFileSync(files().keyFile, (await otherKey()).keyPem)],
])('does not wait where what is wrong is that it %s', async (_what, breakIt) => {
  await write(NOW_MS);
  await breakIt();
  expect((await rejection(begin())).code).toBe('CERTIFICATE_INVALID');
});

async function otherKey() {
  const authority = await createAuthority({ trustDomain: 'example.org', validDays: 1, nowMs: NOW_MS });
  return issueCertificate({
    authority,
    identity: { trustDomain: 'example.org', kind: 'site', name: 'b' },
    validDays: 1,
    nowMs: NOW_MS,
  });
}
