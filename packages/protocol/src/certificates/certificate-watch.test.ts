/** Certificate files that change while a process runs: what fits is used, what does not is reported and left alone. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Log } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CertificateWatch, certificateInfo } from './certificate-watch.ts';
import { type Authority, createAuthority, type IssuedCertificate, issueCertificate } from './certificates.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const DAY_MS = 86_400_000;
const REFRESH_MS = 2_000;

let folder: string;
let authority: Authority;
let clock: FakeClock;
let lines: string[];
const paths = () => ({
  caFile: join(folder, 'ca.pem'),
  certificateFile: join(folder, 'certificate.pem'),
  keyFile: join(folder, 'key.pem'),
});

const issue = (name: string, validDays = 90): Promise<IssuedCertificate> =>
  issueCertificate({
    authority,
    identity: { trustDomain: 'example.org', kind: 'site', name },
    validDays,
    nowMs: clock.wallMs(),
  });

function write({ certificatePem, keyPem }: Partial<IssuedCertificate>): void {
  if (certificatePem !== undefined) writeFileSync(paths().certificateFile, certificatePem);
  if (keyPem !== undefined) writeFileSync(paths().keyFile, keyPem);
}

/** A watch that somebody uses, and each pair that it gave. */
function used(refreshMs = REFRESH_MS): { watch: CertificateWatch; given: string[]; release: () => void } {
  const log = new Log({ level: 'info', format: 'json', write: (line) => lines.push(line) });
  const watch = new CertificateWatch(paths(), { clock, refreshMs, log });
  const given: string[] = [];
  const listener = (update: { certificate: Buffer } | null): void => void given.push(String(update?.certificate));
  watch.addIdentityCertificateListener(listener);
  return { watch, given, release: () => watch.removeIdentityCertificateListener(listener) };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-watch-'));
  authority = await createAuthority({ trustDomain: 'example.org', validDays: 400, nowMs: NOW_MS });
  writeFileSync(paths().caFile, authority.certificatePem);
});
beforeEach(async () => {
  clock = new FakeClock({ originMs: NOW_MS });
  lines = [];
  write(await issue('a'));
});
afterAll(() => rmSync(folder, { recursive: true }));

it('takes a new certificate of the same identity, and says so', async () => {
  const { given, release } = used();
  const next = await issue('a', 120);
  write(next);
  await clock.advance(REFRESH_MS);
  expect(given.at(-1)).toBe(next.certificatePem);
  expect(lines.join()).toContain('a new certificate is in use');
  release();
});

describe('the last good pair stays in use, and the owner learns of it within two looks,', () => {
  it.each<[string, () => Promise<void>, string]>([
    [
      'when the key is that of another certificate',
      async () => write({ keyPem: (await issue('b')).keyPem }),
      'is not the key of',
    ],
    ['when the pair is of another site', async () => write(await issue('b')), 'belongs to spiffe://example.org/site/b'],
    ['when the certificate has expired', async () => write(await issue('a', -1)), 'expired on'],
    [
      'when a file is cut short',
      async () => write({ certificatePem: '-----BEGIN CERTIFICATE-----\nMIIB' }),
      'cannot be read as PEM',
    ],
    ['when a file is gone', async () => rmSync(paths().keyFile), 'cannot be read: ENOENT'],
    [
      'when the authority is another',
      async () => writeFileSync(paths().caFile, (await issue('b')).certificatePem),
      'is not issued by',
    ],
  ])('%s', async (_when, change, what) => {
    const { watch, given, release } = used();
    await clock.advance(0);
    const [first] = given;
    await change();
    await clock.advance(REFRESH_MS * 2);
    expect(new Set(given)).toEqual(new Set([first]));
    expect(watch.state.problem).toMatchObject({ code: 'CERTIFICATE_INVALID', message: expect.stringContaining(what) });
    expect(certificateInfo(watch.state).problem).toContain(what);
    expect(lines.filter((line) => line.includes('last good certificate') && line.includes(what))).toHaveLength(1);
    expect(watch.fault()).toBeUndefined();
    writeFileSync(paths().caFile, authority.certificatePem);
    write(await issue('a'));
    await clock.advance(REFRESH_MS);
    expect([watch.state.problem, given.length]).toEqual([undefined, 2]);
    release();
  });
});

it('a pair that is being written, file by file, does no harm', async () => {
  const { watch, given, release } = used();
  const next = await issue('a');
  write({ certificatePem: next.certificatePem });
  await clock.advance(REFRESH_MS);
  write({ keyPem: next.keyPem });
  await clock.advance(REFRESH_MS);
  expect([watch.state.problem, given.at(-1), lines.filter((line) => line.includes('error'))]).toEqual([
    undefined,
    next.certificatePem,
    [],
  ]);
  release();
});

it('warns in the log from 30 days before the end on, once a day, and says when it has ended', async () => {
  write(await issue('a', 40));
  const { watch, release } = used(DAY_MS / 4);
  await clock.advance(9 * DAY_MS);
  expect(lines).toEqual([]);
  await clock.advance(3.5 * DAY_MS);
  expect(lines.filter((line) => line.includes('its certificate ends in'))).toHaveLength(3);
  await clock.advance(30 * DAY_MS);
  expect(lines.at(-1)).toContain('its certificate ended on');
  expect(watch.fault()?.message).toContain('expired on');
  release();
});

it('is left by itself once nobody uses it: nothing keeps the process', () => {
  const { release } = used();
  release();
  return clock.advance(0).then(() => expect(clock.sleeperCount).toBe(0));
});
