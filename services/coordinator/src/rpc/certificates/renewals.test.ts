import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Authority,
  createAuthority,
  createIssuer,
  describeCertificate,
  type Identity,
  issueCertificate,
  requestRenewal,
} from '@antipode/protocol';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type IssuerFiles, renewedCertificate } from './renewals.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const DAY_MS = 86_400_000;
const OWN: Identity = { trustDomain: 'example.org', kind: 'site', name: 'a' };

let folder: string;
let clock: FakeClock;
let authority: Authority;
let issuer: IssuerFiles;
let shown: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-renewals-'));
  clock = new FakeClock({ originMs: NOW_MS });
  authority = await createAuthority({ trustDomain: 'example.org', validDays: 100, nowMs: NOW_MS });
  const made = await createIssuer({ authority, name: 'main', validDays: 50, nowMs: NOW_MS });
  issuer = { certificate: join(folder, 'issuer.crt'), key: join(folder, 'issuer.key'), days: 7 };
  writeFileSync(issuer.certificate, made.certificatePem);
  writeFileSync(issuer.key, made.keyPem);
  shown = await files(OWN);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The files of somebody, whose certificate is returned. */
async function files(identity: Identity): Promise<string> {
  const own = await issueCertificate({ authority, identity, validDays: 9, nowMs: NOW_MS });
  writeFileSync(join(folder, 'tls.crt'), own.certificatePem);
  writeFileSync(join(folder, 'tls.key'), own.keyPem);
  return own.certificatePem;
}

const request = (): Promise<string> =>
  requestRenewal({
    caFile: join(folder, 'ca.crt'),
    certificateFile: join(folder, 'tls.crt'),
    keyFile: join(folder, 'tls.key'),
  });

const renew = (requestPem: string, { identity = OWN, holds = true, pem = shown } = {}) =>
  renewedCertificate(
    requestPem,
    { identity, certificate: () => (pem === '' ? undefined : new X509Certificate(pem)) },
    { id: 'main', issuer: holds ? issuer : undefined, clock },
  );

it('gives whoever shows a certificate another one of the same identity, for a new key', async () => {
  const pem = await renew(await request());
  const { identity, notAfter } = describeCertificate(pem);
  expect([identity, notAfter]).toEqual([OWN, new Date(NOW_MS + 7 * DAY_MS)]);
  expect(pem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
});

describe('refuses', () => {
  it('where it holds no issuer', async () => {
    expect((await rejection(renew(await request(), { holds: false }))).code).toBe('ISSUER_MISSING');
  });

  it('where the files of the issuer are not there', async () => {
    rmSync(issuer.key);
    expect(await rejection(renew(await request()))).toMatchObject({
      code: 'CERTIFICATE_INVALID',
      details: { path: issuer.key },
    });
  });

  it.each<[string, Identity]>([
    ['another name', { ...OWN, name: 'b' }],
    ['another kind', { ...OWN, kind: 'coordinator' }],
    ['another trust domain', { ...OWN, trustDomain: 'example.com' }],
  ])('%s than that of the caller', async (_what, identity) => {
    expect((await rejection(renew(await request(), { identity }))).code).toBe('CERTIFICATE_REQUEST_INVALID');
  });

  it('an operator another role', async () => {
    const operator = { ...OWN, kind: 'operator', name: 'olga' } as const;
    const pem = await files({ ...operator, role: 'security' });
    const refused = renew(await request(), { identity: { ...operator, role: 'viewer' }, pem });
    expect((await rejection(refused)).code).toBe('CERTIFICATE_REQUEST_INVALID');
  });

  it('a certificate that has ended while its connection stood, or that nobody has shown', async () => {
    const made = await request();
    expect((await rejection(renew(made, { pem: '' }))).code).toBe('CERTIFICATE_REQUEST_INVALID');
    await clock.advance(9 * DAY_MS + 1);
    expect((await rejection(renew(made))).message).toContain('ended on');
  });

  it('the key that is in use', async () => {
    const x509 = await import('@peculiar/x509');
    const keys = (await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
      'sign',
      'verify',
    ])) as never;
    const made = async (algorithm: object, own: never, names: string[]): Promise<string> =>
      (
        await x509.Pkcs10CertificateRequestGenerator.create(
          {
            keys: own,
            signingAlgorithm: algorithm as never,
            extensions: [
              new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'url', value }) as const)),
            ],
          },
          webcrypto as never,
        )
      ).toString('pem');
    const ecdsa = { name: 'ECDSA', hash: 'SHA-256' };
    const uri = 'spiffe://example.org/site/a';
    const again = await made(ecdsa, keys, [uri]);
    const pem = await renew(again);
    expect((await rejection(renew(again, { pem }))).message).toContain('expected a new key');
    // Two names, none of ours, and a key of another kind.
    for (const names of [[uri, 'spiffe://example.org/operator/root/security'], ['https://example.org/'], []])
      expect((await rejection(renew(await made(ecdsa, keys, names)))).code).toBe('CERTIFICATE_REQUEST_INVALID');
    const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 1_024 };
    const weak = (await webcrypto.subtle.generateKey({ ...rsa, publicExponent: Uint8Array.of(1, 0, 1) }, true, [
      'sign',
      'verify',
    ])) as never;
    expect((await rejection(renew(await made(rsa, weak, [uri])))).message).toContain('expected P-256');
    const foreign = (await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, true, [
      'sign',
      'verify',
    ])) as never;
    expect((await rejection(renew(await made(ecdsa, foreign, [uri])))).message).toContain('expected P-256');
  });

  it('a request that its maker has not signed, or that cannot be read', async () => {
    const [one, other] = [await request(), 'none'];
    expect((await rejection(renew(other))).code).toBe('CERTIFICATE_REQUEST_INVALID');
    const der = Buffer.from(one.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    der[der.length - 1]! ^= 1;
    const broken = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    expect((await rejection(renew(broken))).message).toContain('not signed with its own key');
  });
});
