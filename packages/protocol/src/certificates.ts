/** The small certificate authority behind `antipode init`: P-256, one SPIFFE id a certificate, nothing else. */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { AntipodeError } from '@antipode/runtime';
import * as x509 from '@peculiar/x509';
import { type Identity, identityUri } from './identity.ts';

/** PEM. The key opens every site: keep it offline. */
export interface Authority {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface IssuedCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
/** Clocks of sites differ a little. */
const BACKDATE_MS = 60_000;
const DAY_MS = 86_400_000;

export async function createAuthority({ trustDomain, validDays, nowMs }: { trustDomain: string; validDays: number; nowMs: number }): Promise<Authority> {
  const keys = await generate();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=Antipode authority of ${trustDomain}`,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + validDays * DAY_MS),
      keys,
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto as never),
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
      ],
    },
    webcrypto as never,
  );
  return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: await exportKey(keys.privateKey) };
}

/** Issues a certificate that serves as client and server of one identity. */
export async function issueCertificate(options: { authority: Authority; identity: Identity; validDays: number; nowMs: number }): Promise<IssuedCertificate> {
  const { authority, identity, validDays, nowMs } = options;
  const issuer = new x509.X509Certificate(authority.certificatePem);
  const signingKey = await importKey(authority.keyPem);
  const keys = await generate();
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: `CN=${identity.kind} ${identity.name}`,
      issuer: issuer.subject,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(Math.min(nowMs + validDays * DAY_MS, issuer.notAfter.getTime())),
      publicKey: keys.publicKey,
      signingKey,
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
        await x509.AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto as never),
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: identityUri(identity) }]),
      ],
    },
    webcrypto as never,
  );
  return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: await exportKey(keys.privateKey) };
}

async function generate(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return `-----BEGIN PRIVATE KEY-----\n${der.toString('base64').replace(/(.{64})(?=.)/g, '$1\n')}\n-----END PRIVATE KEY-----\n`;
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  try {
    const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    return await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
  } catch (cause) {
    throw new AntipodeError('CERTIFICATE_INVALID', 'the key of the authority cannot be read', { cause });
  }
}
