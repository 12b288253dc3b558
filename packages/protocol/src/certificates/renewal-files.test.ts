/** The next key and its certificate: request, sign, install; and what a crash between two steps leaves behind. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AntipodeError, Log, seededPrng, sha256Hex } from '@antipode/runtime';
import { FakeClock, rejection, thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CertificateRenewal } from './certificate-renewal.ts';
import type { TlsFiles } from './certificate-watch.ts';
import { CertificateWatch } from './certificate-watch.ts';
import {
  type Authority,
  createAuthority,
  createIssuer,
  describeCertificate,
  issueCertificate,
  readRequest,
  signRequest,
} from './certificates.ts';
import type { Identity } from './identity.ts';
import { completeRenewal, installRenewal, renewalDueMs, requestRenewal } from './renewal-files.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const DAY_MS = 86_400_000;
const OWN: Identity = { trustDomain: 'example.org', kind: 'site', name: 'a' };

let folder: string;
let files: TlsFiles;
let clock: FakeClock;
let authority: Authority;
let issuer: Authority;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-renewal-'));
  files = {
    caFile: join(folder, 'ca.crt'),
    certificateFile: join(folder, 'tls.crt'),
    keyFile: join(folder, 'tls.key'),
  };
  clock = new FakeClock({ originMs: NOW_MS });
  authority = await createAuthority({ trustDomain: 'example.org', validDays: 100, nowMs: NOW_MS });
  issuer = await createIssuer({ authority, name: 'main', validDays: 50, nowMs: NOW_MS });
  const own = await issueCertificate({ authority, identity: OWN, validDays: 9, nowMs: NOW_MS });
  writeFileSync(files.caFile, authority.certificatePem);
  writeFileSync(files.certificateFile, own.certificatePem);
  writeFileSync(files.keyFile, own.keyPem, { mode: 0o600 });
});
afterEach(() => rmSync(folder, { recursive: true }));

const signed = async (requestPem: string, by = issuer): Promise<string> =>
  signRequest({ authority: by, validDays: 30, nowMs: clock.wallMs() }, await readRequest(requestPem));
const renewed = async (by?: Authority): Promise<string> => signed(await requestRenewal(files), by);
const install = (certificatePem: string): Date => installRenewal(files, { certificatePem, clock });
const inUse = () => {
  const certificate = new X509Certificate(readFileSync(files.certificateFile));
  const fits = certificate.checkPrivateKey(createPrivateKey(readFileSync(files.keyFile)));
  return { ends: certificate.validToDate.getTime() - NOW_MS, fits };
};
const usable = () => new CertificateWatch(files, { clock, refreshMs: 1 }).identity;

describe.each([
  ['the authority', () => authority],
  ['an issuer below it', () => issuer],
])('a renewal by %s', (_by, signer) => {
  it('puts a new key and its certificate into use', async () => {
    const before = readFileSync(files.keyFile, 'utf8');
    expect(install(await renewed(signer()))).toEqual(new Date(NOW_MS + 30 * DAY_MS));
    expect(inUse()).toEqual({ ends: 30 * DAY_MS, fits: true });
    expect(readFileSync(files.keyFile, 'utf8')).not.toBe(before);
    expect(statSync(files.keyFile).mode & 0o777).toBe(0o600);
    expect(usable()).toEqual(OWN);
    expect([`${files.keyFile}.next`, `${files.certificateFile}.next`].filter(existsSync)).toEqual([]);
  });
});

it('makes one key, however many ask for it at once', async () => {
  const requests = await Promise.all([1, 2, 3].map(() => requestRenewal(files)));
  const keys = await Promise.all(requests.map(async (one) => sha256Hex((await readRequest(one)).spki)));
  expect(new Set(keys).size).toBe(1);
});

it('makes the next key once, so that a certificate for an earlier request fits', async () => {
  const first = await requestRenewal(files);
  const again = await requestRenewal(files);
  expect((await readRequest(again)).spki).toEqual((await readRequest(first)).spki);
  install(await signed(first));
  expect(inUse()).toEqual({ ends: 30 * DAY_MS, fits: true });
});

it('may be repeated', async () => {
  const certificate = await renewed();
  install(certificate);
  install(certificate);
  expect(inUse()).toEqual({ ends: 30 * DAY_MS, fits: true });
});

describe('a crash', () => {
  it('between the two renames is completed at the next start', async () => {
    const certificate = await renewed();
    writeFileSync(`${files.certificateFile}.next`, certificate);
    renameSync(`${files.keyFile}.next`, files.keyFile);
    expect(thrown(usable).code).toBe('CERTIFICATE_INVALID');
    completeRenewal(files);
    expect([inUse().fits, usable()]).toEqual([true, OWN]);
  });

  it('before the renames is completed at the next start', async () => {
    writeFileSync(`${files.certificateFile}.next`, await renewed());
    completeRenewal(files);
    expect(inUse()).toEqual({ ends: 30 * DAY_MS, fits: true });
  });

  it('that left a certificate of another key changes nothing', async () => {
    const other = await issueCertificate({ authority, identity: OWN, validDays: 30, nowMs: NOW_MS });
    writeFileSync(`${files.certificateFile}.next`, other.certificatePem);
    completeRenewal(files);
    expect(inUse()).toEqual({ ends: 9 * DAY_MS, fits: true });
  });
});

describe('a certificate is not installed', () => {
  const issued = async (identity: Identity, by = authority): Promise<string> => {
    const request = await readRequest(await requestRenewal(files));
    return signRequest({ authority: by, validDays: 30, nowMs: NOW_MS }, { ...request, identity });
  };
  const other = (): Promise<Authority> => createAuthority({ trustDomain: 'example.org', validDays: 9, nowMs: NOW_MS });

  it.each<[string, () => Promise<string>]>([
    ['for another name', () => issued({ ...OWN, name: 'b' })],
    ['for another kind', () => issued({ ...OWN, kind: 'coordinator' })],
    ['for another role', () => issued({ ...OWN, kind: 'operator', role: 'security' })],
    ['of another authority', async () => issued(OWN, await other())],
    [
      'of an issuer below another authority',
      async () => issued(OWN, await createIssuer({ authority: await other(), name: 'x', validDays: 9, nowMs: NOW_MS })),
    ],
    [
      'for another key',
      async () => (await issueCertificate({ authority, identity: OWN, validDays: 30, nowMs: NOW_MS })).certificatePem,
    ],
    ['that cannot be read', async () => 'none'],
  ])('%s', async (_why, made) => {
    const certificatePem = await made();
    expect(thrown(() => install(certificatePem)).code).toBe('CERTIFICATE_INVALID');
    expect(inUse()).toEqual({ ends: 9 * DAY_MS, fits: true });
  });
});

it('is due at two thirds of the life of a certificate', () => {
  const { notBefore, notAfter } = describeCertificate(readFileSync(files.certificateFile, 'utf8'));
  const due = renewalDueMs(readFileSync(files.certificateFile, 'utf8'));
  expect((due - notBefore.getTime()) / (notAfter.getTime() - notBefore.getTime())).toBeCloseTo(2 / 3);
});

it('does not take a file that is not a certificate for a defect', () => {
  expect(thrown(() => renewalDueMs('not a certificate\n'))).toMatchObject({
    code: 'CERTIFICATE_INVALID',
    disposition: 'operator',
  });
});

describe('a process', () => {
  let asked: number;
  let refusal: AntipodeError | undefined;
  let renewal: CertificateRenewal;
  const lines: string[] = [];
  beforeEach(() => {
    asked = 0;
    refusal = undefined;
    lines.length = 0;
    renewal = new CertificateRenewal({
      files,
      clock,
      prng: seededPrng('renewal'),
      log: new Log({ level: 'info', format: 'json', write: (line) => lines.push(line) }),
      sign: async (request) => {
        asked += 1;
        if (refusal !== undefined) throw refusal;
        return signed(request);
      },
    });
  });

  it('asks for nothing before two thirds of its life, and once afterwards', async () => {
    await clock.advance(5 * DAY_MS);
    await renewal.renewIfDue();
    expect([asked, inUse().ends]).toEqual([0, 9 * DAY_MS]);
    await clock.advance(1.1 * DAY_MS);
    await renewal.renewIfDue();
    await renewal.renewIfDue();
    expect([asked, inUse()]).toEqual([1, { ends: expect.closeTo(36.1 * DAY_MS, -3), fits: true }]);
  });

  it('keeps its certificate where nobody signs, and asks again with the same key', async () => {
    await clock.advance(7 * DAY_MS);
    refusal = new AntipodeError('ISSUER_MISSING', 'nobody signs');
    expect((await rejection(renewal.renewIfDue())).code).toBe('ISSUER_MISSING');
    expect(inUse()).toEqual({ ends: 9 * DAY_MS, fits: true });
    const next = readFileSync(`${files.keyFile}.next`, 'utf8');
    refusal = undefined;
    await renewal.renewIfDue();
    expect([asked, readFileSync(files.keyFile, 'utf8')]).toEqual([2, next]);
  });
});
