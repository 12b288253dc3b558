/**
 * The small certificate authority behind `antipode init`: P-256, one SPIFFE id a certificate, nothing else. An
 * organisation with an authority of its own uses that instead; only the identity in the certificate matters.
 *
 * It writes no file and logs nothing: keys go to the caller only. It sets no name constraints, since the trust domain in
 * every certificate is compared anyway (identity.ts).
 */
import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import { AntipodeError } from '@antipode/runtime';
import * as x509 from '@peculiar/x509';
import { type Identity, identityFromNames, identityUri, parseIdentity } from './identity.ts';

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

/**
 * Makes the authority of a trust domain. It signs identities only, no further authorities. @throws REQUEST_INVALID if
 * the trust domain cannot be part of an identity
 */
export async function createAuthority({
  trustDomain,
  validDays,
  nowMs,
}: {
  trustDomain: string;
  validDays: number;
  nowMs: number;
}): Promise<Authority> {
  requireIdentity({ trustDomain, kind: 'coordinator', name: 'any' });
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

export interface CertificateRequest {
  readonly authority: Authority;
  readonly identity: Identity;
  /** For other programs that look at host names, such as a browser; Antipode itself does not. */
  readonly dnsNames?: readonly string[];
  readonly validDays: number;
  readonly nowMs: number;
}

/**
 * Issues a certificate that serves as client and server of one identity. It never outlives its authority.
 * @throws REQUEST_INVALID where the identity has another form than `parseIdentity` takes, CERTIFICATE_INVALID where the
 *   authority cannot be read
 */
export async function issueCertificate({
  authority,
  identity,
  dnsNames = [],
  validDays,
  nowMs,
}: CertificateRequest): Promise<IssuedCertificate> {
  requireIdentity(identity);
  const issuer = readAuthority(authority.certificatePem);
  const signingKey = await importKey(authority.keyPem);
  const keys = await generate();
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: `CN=${identity.role ?? identity.kind} ${identity.name}`,
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
        new x509.SubjectAlternativeNameExtension([
          { type: 'url', value: identityUri(identity) },
          ...dnsNames.map((value) => ({ type: 'dns', value }) as const),
        ]),
      ],
    },
    webcrypto as never,
  );
  return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: await exportKey(keys.privateKey) };
}

export interface CertificateDescription {
  /** Undefined for an authority, and for a certificate that is not of this system. */
  readonly identity: Identity | undefined;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SHA-256 of the certificate, hexadecimal. */
  readonly fingerprint: string;
}

/** The description of a certificate. @throws CERTIFICATE_INVALID if `pem` is not one */
export function describeCertificate(pem: string): CertificateDescription {
  try {
    const certificate = new X509Certificate(pem);
    return {
      identity: identityFromNames(certificate.subjectAltName),
      notBefore: certificate.validFromDate,
      notAfter: certificate.validToDate,
      fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    };
  } catch (cause) {
    throw new AntipodeError('CERTIFICATE_INVALID', 'the certificate cannot be read as PEM', { cause });
  }
}

function requireIdentity(identity: Identity): void {
  const uri = identityUri(identity);
  if (parseIdentity(uri) !== undefined) return;
  throw new AntipodeError(
    'REQUEST_INVALID',
    `${uri} is not an identity; expected lower-case letters, digits and dashes`,
    { details: { uri } },
  );
}

async function generate(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return `-----BEGIN PRIVATE KEY-----\n${der.toString('base64').replace(/(.{64})(?=.)/g, '$1\n')}\n-----END PRIVATE KEY-----\n`;
}

function readAuthority(pem: string): x509.X509Certificate {
  try {
    return new x509.X509Certificate(pem);
  } catch (cause) {
    throw new AntipodeError('CERTIFICATE_INVALID', 'the certificate of the authority cannot be read', { cause });
  }
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  try {
    const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    return await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
  } catch (cause) {
    throw new AntipodeError('CERTIFICATE_INVALID', 'the key of the authority cannot be read', { cause });
  }
}
