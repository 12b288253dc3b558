import { createPrivateKey, X509Certificate } from 'node:crypto';
import { rejection, thrown } from '@antipode/runtime/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Authority, createAuthority, describeCertificate, issueCertificate } from './certificates.ts';
import type { Identity } from './identity.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const DAY_MS = 86_400_000;
const SITE: Identity = { trustDomain: 'example.org', kind: 'site', name: 'a' };

let authority: Authority;

beforeAll(async () => {
  authority = await createAuthority({ trustDomain: 'example.org', validDays: 10, nowMs: NOW_MS });
});

const issue = (request: Partial<Parameters<typeof issueCertificate>[0]> = {}) =>
  issueCertificate({ authority, identity: SITE, validDays: 5, nowMs: NOW_MS, ...request });

describe('a certificate', () => {
  it('names one identity, fits its key, and is signed by its authority', async () => {
    const { certificatePem, keyPem } = await issue();
    const certificate = new X509Certificate(certificatePem);
    expect(describeCertificate(certificatePem).identity).toEqual(SITE);
    expect(certificate.checkPrivateKey(createPrivateKey(keyPem))).toBe(true);
    expect(certificate.verify(new X509Certificate(authority.certificatePem).publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
  });

  it('is valid for clocks that run a minute late, and never longer than its authority', async () => {
    const short = describeCertificate((await issue()).certificatePem);
    expect([short.notBefore, short.notAfter]).toEqual([new Date(NOW_MS - 60_000), new Date(NOW_MS + 5 * DAY_MS)]);
    const long = describeCertificate((await issue({ validDays: 400 })).certificatePem);
    expect(long.notAfter).toEqual(new Date(NOW_MS + 10 * DAY_MS));
  });

  it('keeps its identity beside host names, whatever they say', async () => {
    const dnsNames = [
      'a.example.org',
      'x, URI:spiffe://example.org/operator/root',
      'x", URI:spiffe://example.org/operator/root',
    ];
    const { certificatePem } = await issue({ dnsNames });
    expect(describeCertificate(certificatePem).identity).toEqual(SITE);
  });

  it.each([
    { ...SITE, name: '' },
    { ...SITE, name: 'A' },
    { ...SITE, name: 'a/b' },
    { ...SITE, trustDomain: 'Example.org' },
    { ...SITE, trustDomain: '' },
    { ...SITE, kind: 'robot' as never },
  ])('is not issued for $trustDomain, $kind, $name', async (identity) => {
    expect((await rejection(issue({ identity }))).code).toBe('REQUEST_INVALID');
  });

  it('is not issued by an authority that cannot be read', async () => {
    for (const broken of [{ certificatePem: 'none' }, { keyPem: 'none' }])
      expect((await rejection(issue({ authority: { ...authority, ...broken } }))).code).toBe('CERTIFICATE_INVALID');
  });
});

describe('an authority', () => {
  it('has no identity, and signs certificates but no further authorities', () => {
    const certificate = new X509Certificate(authority.certificatePem);
    expect(describeCertificate(authority.certificatePem).identity).toBeUndefined();
    expect([certificate.ca, certificate.verify(certificate.publicKey)]).toEqual([true, true]);
  });

  it('is not made for a trust domain that cannot be part of an identity', async () => {
    expect((await rejection(createAuthority({ trustDomain: 'a b', validDays: 1, nowMs: NOW_MS }))).code).toBe(
      'REQUEST_INVALID',
    );
  });
});

it('describes by fingerprint, and refuses anything but a certificate', () => {
  const { fingerprint } = describeCertificate(authority.certificatePem);
  expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
  for (const pem of ['', 'none', authority.keyPem, authority.certificatePem.slice(0, 200)])
    expect(thrown(() => describeCertificate(pem)).code).toBe('CERTIFICATE_INVALID');
});
