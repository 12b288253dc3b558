/**
 * Mutual TLS: version 1.3 only, post-quantum key agreement pinned, peers known by SPIFFE id instead of host name.
 * Certificates are read again from their files while the process runs, so that they rotate without a restart; connections
 * that stand keep the old ones until they reach the server's maximum age. Holds I5 on the wire.
 *
 * It does not say who may call what (identity.ts), and it does not read revocation lists: a certificate is taken away by
 * letting it expire or by changing the authority.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { AntipodeError, type Clock, systemClock } from '@antipode/runtime';
import { type ChannelCredentials, experimental, type ServerCredentials } from '@grpc/grpc-js';
import { observeConnections } from './connection-failure.ts';
import { type Identity, type IdentityKind, identityFromNames } from './identity.ts';

/** PEM files. The authority's may hold several certificates, for the time in which one authority follows another. */
export interface TlsFiles {
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Whom a client means to reach. A coordinator may be any of its trust domain; a site is always a certain one. */
export type ExpectedPeer =
  | { readonly kind: 'site'; readonly name: string }
  | { readonly kind: Exclude<IdentityKind, 'site'>; readonly name?: string };

/** Hybrid of X25519 and ML-KEM-768: recorded traffic must not open to a later quantum computer (design, section 4). */
export const KEY_EXCHANGE = 'X25519MLKEM768';

export interface ConnectionWatch {
  readonly report?: (failure: AntipodeError | undefined) => void;
  readonly handshakeMs?: number;
}

const HANDSHAKE_MS_MAX = 15_000;
/** How soon a changed certificate is noticed. */
const REFRESH_MS = 2_000;

/** One process's own identity and its view of the authority; shared by its server and its clients. */
export class Tls {
  /** From the certificate at the start. A rotated certificate is expected to carry the same. */
  readonly identity: Identity;
  readonly #files: TlsFiles;
  readonly #clock: Clock;
  readonly #provider: experimental.FileWatcherCertificateProvider;

  /** Reads and checks the files. @throws CERTIFICATE_INVALID */
  constructor(
    files: TlsFiles,
    { clock = systemClock, refreshMs = REFRESH_MS }: { clock?: Clock; refreshMs?: number } = {},
  ) {
    pinTls();
    this.#files = files;
    this.#clock = clock;
    this.identity = checkFiles(files, clock);
    this.#provider = new experimental.FileWatcherCertificateProvider({
      caCertificateFile: files.caFile,
      certificateFile: files.certificateFile,
      privateKeyFile: files.keyFile,
      refreshIntervalMs: refreshMs,
    });
  }

  /** For those who have files only. A process with several clients makes one `Tls`, so that the files are watched once. */
  static of(given: Tls | TlsFiles): Tls {
    return given instanceof Tls ? given : new Tls(given);
  }

  /** Credentials that admit only callers whose certificate our authority signed. */
  serverCredentials(): ServerCredentials {
    // grpc-js 1.14.7 declares (ca, identity) and takes (identity, ca): the same provider for both is right either way.
    return experimental.createCertificateProviderServerCredentials(this.#provider, this.#provider, true);
  }

  /** Resolves when a server that listens with these credentials has its certificate. It drops who comes before. */
  ready(): Promise<void> {
    return new Promise((resolve) => {
      const read = (): void => {
        this.#provider.removeIdentityCertificateListener(read);
        resolve();
      };
      this.#provider.addIdentityCertificateListener(read);
    });
  }

  /**
   * Credentials that accept only the expected peer, before a byte of a request is sent. `report` is told at each attempt
   * to connect why it failed, where that is known (PEER_REFUSED, CERTIFICATE_INVALID), and undefined where it is not.
   * A TLS handshake that takes longer than `handshakeMs` is given up.
   */
  clientCredentials(
    expected: ExpectedPeer,
    { report = () => {}, handshakeMs = HANDSHAKE_MS_MAX }: ConnectionWatch = {},
  ): ChannelCredentials {
    const { trustDomain } = this.identity;
    const credentials = experimental.createCertificateProviderChannelCredentials(this.#provider, this.#provider, {
      // Called only when the chain is good. Replaces the comparison with the host name.
      checkServerIdentity: (_host, certificate) =>
        refusal(identityFromNames(certificate.subjectaltname), expected, trustDomain),
    });
    observeConnections(credentials, {
      report,
      keyExchange: KEY_EXCHANGE,
      ownFault: () => this.#ownFault(),
      handshakeMs,
      clock: this.#clock,
    });
    return credentials;
  }

  /** What is wrong with our own files now. A peer that refuses our certificate mostly just hangs up. */
  #ownFault(): AntipodeError | undefined {
    try {
      checkFiles(this.#files, this.#clock);
      return undefined;
    } catch (thrown) {
      return AntipodeError.from(thrown);
    }
  }
}

/**
 * Sets the version and the key agreement for the whole process: grpc-js has no options of its own for them. Every other
 * TLS connection of the process that leaves `minVersion` and `ecdhCurve` to their defaults (database, queue, telemetry) is
 * bound by this too, and must set both where its peer is older.
 */
function pinTls(): void {
  tls.DEFAULT_MIN_VERSION = 'TLSv1.3';
  tls.DEFAULT_ECDH_CURVE = KEY_EXCHANGE;
}

function refusal(peer: Identity | undefined, expected: ExpectedPeer, trustDomain: string): AntipodeError | undefined {
  const isExpected =
    peer?.trustDomain === trustDomain &&
    peer.kind === expected.kind &&
    (expected.name === undefined || peer.name === expected.name);
  if (isExpected) return undefined;
  const wanted = `${expected.kind}/${expected.name ?? '*'} of ${trustDomain}`;
  const found = peer === undefined ? 'no identity' : `${peer.kind}/${peer.name} of ${peer.trustDomain}`;
  return new AntipodeError('PEER_REFUSED', `expected ${wanted}, but the certificate there has ${found}`, {
    details: { expected: wanted, found },
  });
}

function checkFiles({ caFile, certificateFile, keyFile }: TlsFiles, clock: Clock): Identity {
  const authorities = read(caFile, certificatesIn);
  const [certificate, ...intermediates] = read(certificateFile, certificatesIn);
  const key = read(keyFile, createPrivateKey);
  if (!certificate.checkPrivateKey(key)) throw invalid(keyFile, `is not the key of ${certificateFile}`);
  if (![...authorities, ...intermediates].some(({ publicKey }) => certificate.verify(publicKey)))
    throw invalid(certificateFile, `is not issued by ${caFile}`);
  const now = clock.wallMs();
  if (now > certificate.validToDate.getTime())
    throw invalid(certificateFile, `expired on ${certificate.validToDate.toISOString()}`);
  if (now < certificate.validFromDate.getTime())
    throw invalid(certificateFile, `is valid only from ${certificate.validFromDate.toISOString()}`);
  const identity = identityFromNames(certificate.subjectAltName);
  if (identity === undefined)
    throw invalid(certificateFile, 'has no identity spiffe://<trust domain>/<site|coordinator|operator>/<name>');
  return identity;
}

function read<T>(path: string, parse: (pem: string) => T): T {
  try {
    return parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw invalid(path, 'cannot be read as PEM', cause);
  }
}

function certificatesIn(pem: string): [X509Certificate, ...X509Certificate[]] {
  const [first = pem, ...rest] = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return [new X509Certificate(first), ...rest.map((one) => new X509Certificate(one))];
}

function invalid(path: string, why: string, cause?: unknown): AntipodeError {
  return new AntipodeError('CERTIFICATE_INVALID', `${path}: ${why}`, {
    details: { path },
    ...(cause === undefined ? {} : { cause }),
  });
}
