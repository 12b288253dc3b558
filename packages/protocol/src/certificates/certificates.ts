/**
 * The small certificate authority behind `antipode init`: P-256, one SPIFFE id a certificate, nothing else. An
 * organisation with an authority of its own uses that instead; only the identity in the certificate matters.
 *
 * It writes no file and logs nothing: keys go to the caller only. It sets no name constraints, since the trust domain in
 * every certificate is compared anyway (identity.ts).
 */
import { webcrypto, X509Certificate } from 'node:crypto';
import { AntipodeError } from '@antipode/runtime';
import type * as X509 from '@peculiar/x509';
import { type Identity, identityFromNames, identityUri, parseIdentity } from './identity.ts';

/** PEM, of an authority or of an issuer. The key opens every site: keep it offline. */
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
/** An authority may have issuers below it, and an issuer has nothing but identities. */
const ISSUERS_BELOW_MAX = 1;

/**
 * Makes the authority of a trust domain. It signs identities, and issuers that sign nothing but identities.
 * @throws REQUEST_INVALID if the trust domain cannot be part of an identity
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
  const x509 = await loadX509();
  const keys = await generate();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=Antipode authority of ${trustDomain}`,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + validDays * DAY_MS),
      keys,
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(true, ISSUERS_BELOW_MAX, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto as never),
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
      ],
    },
    webcrypto as never,
  );
  return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: await exportKey(keys.privateKey) };
}

/**
 * Makes an issuer below an authority: what it signs is trusted wherever the authority is, while the authority stays
 * offline. It never outlives its authority.
 * @throws CERTIFICATE_INVALID if the authority cannot be read, or signs no issuers
 */
export async function createIssuer({
  authority,
  name,
  validDays,
  nowMs,
}: {
  authority: Authority;
  name: string;
  validDays: number;
  nowMs: number;
}): Promise<Authority> {
  const x509 = await loadX509();
  const above = readAuthority(x509, authority.certificatePem);
  const { pathLength } = above.getExtension(x509.BasicConstraintsExtension) ?? {};
  if (pathLength === 0)
    throw new AntipodeError('CERTIFICATE_INVALID', `${above.subject} signs identities only, and no issuers`, {
      hint: 'Authorities that `antipode init authority` made before this release sign no issuers. Renew certificates with this authority itself (`antipode certificate sign`), or make another authority and name both in every `ca.crt` for the transition.',
    });
  const keys = await generate();
  const names = above.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: `CN=Antipode issuer ${name}`,
      issuer: above.subject,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(Math.min(nowMs + validDays * DAY_MS, above.notAfter.getTime())),
      publicKey: keys.publicKey,
      signingKey: await importKey(authority.keyPem),
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto as never),
        await x509.AuthorityKeyIdentifierExtension.create(above, false, webcrypto as never),
        new x509.SubjectAlternativeNameExtension(names.map(({ value }) => ({ type: 'url', value }) as const)),
      ],
    },
    webcrypto as never,
  );
  return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: await exportKey(keys.privateKey) };
}

export interface CertificateRequest {
  readonly authority: Authority;
  /**
   * When a person first had this line of certificates issued; `nowMs` by default. A renewal without a person keeps it, so
   * that a thief who renews a certificate stays among those that were issued before it was revoked.
   */
  readonly issuedMs?: number;
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
export async function issueCertificate(request: CertificateRequest): Promise<IssuedCertificate> {
  requireIdentity(request.identity);
  const keys = await generate();
  const certificatePem = await certify({ ...request, publicKey: keys.publicKey });
  return { certificatePem, keyPem: await exportKey(keys.privateKey) };
}

/** The certificate, and behind it that of its issuer where that is not an authority: peers know the authority only. */
async function certify({
  authority,
  identity,
  dnsNames = [],
  validDays,
  nowMs,
  issuedMs: firstMs = nowMs,
  publicKey,
}: CertificateRequest & { publicKey: webcrypto.CryptoKey | X509.PublicKey }): Promise<string> {
  const x509 = await loadX509();
  const issuer = readAuthority(x509, authority.certificatePem);
  const signingKey = await importKey(authority.keyPem);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: `CN=${identity.role ?? identity.kind} ${identity.name},OU=issued ${new Date(firstMs).toISOString()}`,
      issuer: issuer.subject,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(Math.min(nowMs + validDays * DAY_MS, issuer.notAfter.getTime())),
      publicKey,
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
  const chain = issuer.subject === issuer.issuer ? [certificate] : [certificate, issuer];
  return chain.map((one) => `${one.toString('pem')}\n`).join('');
}

/** A new key, and a request (PKCS#10) for a certificate of an identity, signed with that key. */
export async function requestCertificate(identity: Identity): Promise<{ requestPem: string; keyPem: string }> {
  requireIdentity(identity);
  const keys = await generate();
  return { requestPem: await requestFor(identity, keys), keyPem: await exportKey(keys.privateKey) };
}

/** Another request with a key that is there. @throws CERTIFICATE_INVALID if the key cannot be read */
export async function requestCertificateWith(keyPem: string, identity: Identity): Promise<string> {
  requireIdentity(identity);
  const privateKey = await importKey(keyPem, { extractable: true });
  const { d: _, key_ops: _ops, ...half } = await webcrypto.subtle.exportKey('jwk', privateKey);
  const publicKey = await webcrypto.subtle.importKey('jwk', half, ALGORITHM, true, ['verify']);
  return requestFor(identity, { privateKey, publicKey });
}

async function requestFor(identity: Identity, keys: webcrypto.CryptoKeyPair): Promise<string> {
  const x509 = await loadX509();
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      name: `CN=${identity.role ?? identity.kind} ${identity.name}`,
      keys,
      signingAlgorithm: SIGNING,
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: identityUri(identity) }])],
    },
    webcrypto as never,
  );
  return `${request.toString('pem')}\n`;
}

export interface ReadRequest {
  readonly identity: Identity;
  readonly publicKey: X509.PublicKey;
  /** The public key as SubjectPublicKeyInfo. */
  readonly spki: Buffer;
}

/** Reads a request, and verifies that its maker has the key. @throws CERTIFICATE_REQUEST_INVALID */
export async function readRequest(requestPem: string): Promise<ReadRequest> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new AntipodeError('CERTIFICATE_REQUEST_INVALID', `the request for a certificate ${why}`, { cause });
  };
  const x509 = await loadX509();
  let request: X509.Pkcs10CertificateRequest;
  try {
    request = new x509.Pkcs10CertificateRequest(requestPem);
  } catch (cause) {
    return refuse('cannot be read as PEM', cause);
  }
  const names = request.extensions.flatMap((one) =>
    one instanceof x509.SubjectAlternativeNameExtension ? one.names.items : [],
  );
  const [name] = names;
  if (names.length !== 1 || name?.type !== 'url') return refuse(`has ${names.length} names, expected one URI`);
  const identity = parseIdentity(name.value);
  if (identity === undefined) return refuse('names no identity of this system');
  const { algorithm } = request.publicKey;
  if (algorithm.name !== ALGORITHM.name || (algorithm as { namedCurve?: string }).namedCurve !== ALGORITHM.namedCurve)
    return refuse(`has a key of another kind, expected ${ALGORITHM.namedCurve}`);
  const isSigned = await request.verify(webcrypto as never).catch(() => false);
  if (!isSigned) return refuse('is not signed with its own key');
  return { identity, publicKey: request.publicKey, spki: Buffer.from(request.publicKey.rawData) };
}

/**
 * Signs a request that its caller has read and judged. @throws CERTIFICATE_INVALID where authority or issuer cannot be
 * read
 */
export const signRequest = (
  request: Omit<CertificateRequest, 'dnsNames' | 'identity'>,
  { identity, publicKey }: ReadRequest,
): Promise<string> => certify({ ...request, identity, publicKey });

const ISSUED = /^OU=issued (\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z)$/m;

/**
 * When a person first had this certificate issued, or the one that it renews. A certificate of another authority does
 * not say so, and counts from its beginning. No certificate makes itself younger than its beginning says.
 */
export function issuedMs({ subject, validFromDate }: Pick<X509Certificate, 'subject' | 'validFromDate'>): number {
  // A certificate begins with a whole second.
  const latestMs = validFromDate.getTime() + BACKDATE_MS + 999;
  const [, said] = ISSUED.exec(subject ?? '') ?? [];
  return said === undefined ? validFromDate.getTime() : Math.min(Date.parse(said), latestMs);
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

/** Two hundred files that only an authority and its requests need: no start of a process loads them. */
async function loadX509(): Promise<typeof X509> {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

async function generate(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return `-----BEGIN PRIVATE KEY-----\n${der.toString('base64').replace(/(.{64})(?=.)/g, '$1\n')}\n-----END PRIVATE KEY-----\n`;
}

function readAuthority(x509: typeof X509, pem: string): X509.X509Certificate {
  try {
    return new x509.X509Certificate(pem);
  } catch (cause) {
    throw new AntipodeError('CERTIFICATE_INVALID', 'the certificate of the authority cannot be read', { cause });
  }
}

async function importKey(pem: string, { extractable = false } = {}): Promise<webcrypto.CryptoKey> {
  try {
    const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    return await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, extractable, ['sign']);
  } catch (cause) {
    throw new AntipodeError('CERTIFICATE_INVALID', 'a private key cannot be read, expected P-256 as PKCS#8', { cause });
  }
}
