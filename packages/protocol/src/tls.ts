/**
 * Mutual TLS: version 1.3 only, post-quantum key agreement pinned, peers known by SPIFFE id instead of host name.
 * Certificates are read again from their files while the process runs, so that they rotate without a restart.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { AntipodeError, type Clock, systemClock } from '@antipode/runtime';
import { type ChannelCredentials, experimental, type ServerCredentials } from '@grpc/grpc-js';
import { type Identity, identityFromNames, type IdentityKind } from './identity.ts';

/** PEM files. */
export interface TlsFiles {
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Hybrid of X25519 and ML-KEM-768: recorded traffic must not open to a later quantum computer (design, section 4). */
export const KEY_EXCHANGE = 'X25519MLKEM768';

/** How soon a changed certificate is noticed. */
const REFRESH_MS = 2_000;

/** One process's own identity and its view of the authority; shared by its server and its clients. */
export class Tls {
  readonly identity: Identity;
  readonly #provider: experimental.FileWatcherCertificateProvider;

  /** Reads and checks the files. @throws CERTIFICATE_INVALID */
  constructor(files: TlsFiles, { clock = systemClock, refreshMs = REFRESH_MS }: { clock?: Clock; refreshMs?: number } = {}) {
    // grpc-js has no options of its own for these; both are process-wide by Node's design.
    tls.DEFAULT_MIN_VERSION = 'TLSv1.3';
    tls.DEFAULT_ECDH_CURVE = KEY_EXCHANGE;
    this.identity = checkFiles(files, clock);
    this.#provider = new experimental.FileWatcherCertificateProvider({
      caCertificateFile: files.caFile,
      certificateFile: files.certificateFile,
      privateKeyFile: files.keyFile,
      refreshIntervalMs: refreshMs,
    });
  }

  serverCredentials(): ServerCredentials {
    // grpc-js 1.14.7 declares (ca, identity) and takes (identity, ca): the same provider for both is right either way.
    return experimental.createCertificateProviderServerCredentials(this.#provider, this.#provider, true);
  }

  /** Credentials that accept only the expected peer, before a byte of a request is sent. */
  clientCredentials(expected: { kind: IdentityKind; name: string }): ChannelCredentials {
    const { trustDomain } = this.identity;
    return experimental.createCertificateProviderChannelCredentials(this.#provider, this.#provider, {
      checkServerIdentity: (_host, certificate) => {
        const peer = identityFromNames(certificate.subjectaltname);
        const isExpected = peer?.trustDomain === trustDomain && peer.kind === expected.kind && peer.name === expected.name;
        return isExpected ? undefined : new Error(`peer identity is not ${expected.kind}/${expected.name} of ${trustDomain}`);
      },
    });
  }
}

function checkFiles({ caFile, certificateFile, keyFile }: TlsFiles, clock: Clock): Identity {
  const fail = (path: string, why: string, cause?: unknown): never => {
    throw new AntipodeError('CERTIFICATE_INVALID', `${path}: ${why}`, { details: { path }, ...(cause === undefined ? {} : { cause }) });
  };
  const read = <T>(path: string, parse: (pem: Buffer) => T): T => {
    try {
      return parse(readFileSync(path));
    } catch (cause) {
      return fail(path, 'cannot be read as PEM', cause);
    }
  };
  const authority = read(caFile, (pem) => new X509Certificate(pem));
  const certificate = read(certificateFile, (pem) => new X509Certificate(pem));
  const key = read(keyFile, (pem) => createPrivateKey(pem));
  if (!certificate.checkPrivateKey(key)) fail(keyFile, `is not the key of ${certificateFile}`);
  if (!certificate.verify(authority.publicKey)) fail(certificateFile, `is not issued by ${caFile}`);
  const now = clock.wallMs();
  if (now > certificate.validToDate.getTime()) fail(certificateFile, `expired on ${certificate.validToDate.toISOString()}`);
  if (now < certificate.validFromDate.getTime()) fail(certificateFile, `is valid only from ${certificate.validFromDate.toISOString()}`);
  return identityFromNames(certificate.subjectAltName) ?? fail(certificateFile, 'has no identity spiffe://<trust domain>/<site|coordinator|operator>/<name>');
}
