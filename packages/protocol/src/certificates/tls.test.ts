import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { FakeClock, thrown } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, createAuthority, type IssuedCertificate, issueCertificate } from './certificates.ts';
import { KEY_EXCHANGE, Tls, type TlsFiles } from './tls.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const DAY_MS = 86_400_000;

let folder: string;
let authority: Authority;
let other: Authority;
let own: IssuedCertificate;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-tls-'));
  const options = { trustDomain: 'example.org', validDays: 10, nowMs: NOW_MS };
  [authority, other] = await Promise.all([createAuthority(options), createAuthority(options)]);
  const identity = { trustDomain: 'example.org', kind: 'site', name: 'a' } as const;
  own = await issueCertificate({ authority, identity, validDays: 5, nowMs: NOW_MS });
});

afterAll(() => rmSync(folder, { recursive: true }));

function files(contents: { ca?: string; certificate?: string; key?: string } = {}): TlsFiles {
  const { ca = authority.certificatePem, certificate = own.certificatePem, key = own.keyPem } = contents;
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  return {
    caFile: write('ca.pem', ca),
    certificateFile: write('certificate.pem', certificate),
    keyFile: write('key.pem', key),
  };
}

const open = (given: TlsFiles, nowMs = NOW_MS) => new Tls(given, { clock: new FakeClock({ originMs: nowMs }) });

it('takes its identity from its certificate, and pins version and key agreement for the process', () => {
  expect(open(files()).identity).toEqual({ trustDomain: 'example.org', kind: 'site', name: 'a' });
  expect([tls.DEFAULT_MIN_VERSION, tls.DEFAULT_ECDH_CURVE]).toEqual(['TLSv1.3', KEY_EXCHANGE]);
});

it('takes an authority among several, for the time in which one follows another', () => {
  const ca = other.certificatePem + authority.certificatePem;
  expect(open(files({ ca })).identity.name).toBe('a');
});

describe('a process does not start', () => {
  it.each<[string, keyof TlsFiles, () => TlsFiles, number?]>([
    ['with a certificate of another authority', 'certificateFile', () => files({ ca: other.certificatePem })],
    ['with a key that is not that of its certificate', 'keyFile', () => files({ key: authority.keyPem })],
    ['with a certificate that has expired', 'certificateFile', () => files(), NOW_MS + 5 * DAY_MS + 1],
    ['with a certificate that is not valid yet', 'certificateFile', () => files(), NOW_MS - 60_001],
    [
      'with a certificate that has no identity',
      'certificateFile',
      () => files({ certificate: authority.certificatePem, key: authority.keyPem }),
    ],
    ['with a certificate that cannot be read', 'certificateFile', () => files({ certificate: 'none' })],
    ['with a key that cannot be read', 'keyFile', () => files({ key: 'none' })],
    ['with an authority that cannot be read', 'caFile', () => files({ ca: '' })],
    ['with a file that is not there', 'caFile', () => ({ ...files(), caFile: join(folder, 'nowhere.pem') })],
  ])('%s', (_how, file, make, nowMs = NOW_MS) => {
    const given = make();
    expect(thrown(() => open(given, nowMs))).toMatchObject({
      code: 'CERTIFICATE_INVALID',
      details: { path: given[file] },
    });
  });

  it('starts on the last and on the first moment of its certificate', () => {
    for (const nowMs of [NOW_MS + 5 * DAY_MS, NOW_MS - 60_000]) expect(open(files(), nowMs).identity.name).toBe('a');
  });
});
