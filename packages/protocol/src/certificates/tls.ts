/**
 * Mutual TLS: version 1.3 only, post-quantum key agreement pinned, peers known by SPIFFE id instead of host name.
 * Certificates are read again from their files while the process runs, so that they rotate without a restart; connections
 * that stand keep the old ones until they reach the server's maximum age. Holds I5 on the wire.
 *
 * It does not say who may call what (identity.ts). Whether a certificate is revoked, a {@link RevocationBook} says: a
 * revoked server is refused before a byte of a request is sent, and connections to it end.
 */
import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import { AntipodeError, type Clock, type Log, systemClock } from '@antipode/runtime';
import { type ChannelCredentials, experimental, type ServerCredentials } from '@grpc/grpc-js';
import type { RevocationBook } from '../revocations/revocation-book.ts';
import { type CertificateState, CertificateWatch, type TlsFiles } from './certificate-watch.ts';
import { issuedMs } from './certificates.ts';
import { observeConnections } from './connection-failure.ts';
import { type Identity, type IdentityKind, identityFromNames } from './identity.ts';

export type { TlsFiles } from './certificate-watch.ts';

/** The peer that a client expects. A coordinator can be any of its trust domain; a site is always a certain one. */
export type ExpectedPeer =
  | { readonly kind: 'site'; readonly name: string }
  | { readonly kind: Exclude<IdentityKind, 'site'>; readonly name?: string };

/** Hybrid of X25519 and ML-KEM-768: recorded traffic must not open to a later quantum computer. */
export const KEY_EXCHANGE = 'X25519MLKEM768';

export interface ConnectionWatch {
  readonly report?: (failure: AntipodeError | undefined) => void;
  readonly handshakeMs?: number;
  /** Whether a revoked server is called as well. */
  readonly evenRevoked?: boolean;
}

/** Of a client that names no limit: five round trips of the longest link. */
const HANDSHAKE_MS_MAX = 15_000;
/** How soon a changed certificate is noticed. */
const REFRESH_MS = 2_000;

/** One process's own identity and its view of the authority; shared by its server and its clients. */
export class Tls {
  /** From the certificate at the start. A rotated certificate is expected to carry the same. */
  readonly identity: Identity;
  readonly #watch: CertificateWatch;
  readonly #clock: Clock;
  /** Connections of our clients, with how the end of one is reported. */
  readonly #opened = new Map<tls.TLSSocket, (failure: AntipodeError) => void>();
  #revocations: RevocationBook | undefined;

  /**
   * Reads and checks the files, and watches them while they are in use; changes are logged. @throws CERTIFICATE_INVALID
   */
  constructor(
    files: TlsFiles,
    { clock = systemClock, refreshMs = REFRESH_MS, log }: { clock?: Clock; refreshMs?: number; log?: Log } = {},
  ) {
    pinTls();
    this.#clock = clock;
    this.#watch = new CertificateWatch(files, { clock, refreshMs, log });
    this.identity = this.#watch.identity;
  }

  /** When our own certificate ends, and whether the files hold what is in use. */
  get state(): CertificateState {
    return this.#watch.state;
  }

  /** From now on nobody whose certificate is revoked is called or served. Once, before the first connection. */
  obey(revocations: RevocationBook): void {
    this.#revocations = revocations;
    revocations.onChange(() => this.#cutRevoked());
  }

  get revocations(): RevocationBook | undefined {
    return this.#revocations;
  }

  /** The refusal of a peer by its certificate, as Node shows it; undefined where it is not revoked. */
  revoked({ raw }: { readonly raw?: Buffer }): AntipodeError | undefined {
    if (raw === undefined || this.#revocations === undefined || this.#revocations.version === 0) return undefined;
    return this.#revocations.refusalOf(new X509Certificate(raw));
  }

  /** The refusal that this process meets everywhere, by the list that it has itself. */
  ownRefusal(): AntipodeError | undefined {
    return this.#revocations?.refusalOf(new X509Certificate(this.#watch.certificatePem));
  }

  /** When a person first had the certificate in use issued, or the one that it renews. */
  get issuedMs(): number {
    return issuedMs(new X509Certificate(this.#watch.certificatePem));
  }

  /** For those who have files only. A process with several clients makes one `Tls`, so that the files are watched once. */
  static of(given: Tls | TlsFiles): Tls {
    return given instanceof Tls ? given : new Tls(given);
  }

  /** Credentials that admit only callers whose certificate our authority signed. */
  serverCredentials(): ServerCredentials {
    // grpc-js 1.14.7 declares (ca, identity) and takes (identity, ca): the same provider for both is right either way.
    return experimental.createCertificateProviderServerCredentials(this.#watch, this.#watch, true);
  }

  /** Calls `use` with the pair in use and the authorities (PEM), and again with each change, until the function is called. */
  watchPair(
    use: (pair: { readonly ca: string; readonly certificate: string; readonly key: string }) => void,
  ): () => void {
    const seen: { ca?: string | undefined; pair?: { certificate: string; key: string } } = {};
    const tell = (): void => {
      if (seen.ca !== undefined && seen.pair !== undefined) use({ ca: seen.ca, ...seen.pair });
    };
    const onCa: Parameters<CertificateWatch['addCaCertificateListener']>[0] = (update) => {
      seen.ca = update?.caCertificate.toString();
      tell();
    };
    const onPair: Parameters<CertificateWatch['addIdentityCertificateListener']>[0] = (update) => {
      if (update !== null)
        seen.pair = { certificate: update.certificate.toString(), key: update.privateKey.toString() };
      tell();
    };
    this.#watch.addCaCertificateListener(onCa);
    this.#watch.addIdentityCertificateListener(onPair);
    return () => {
      this.#watch.removeCaCertificateListener(onCa);
      this.#watch.removeIdentityCertificateListener(onPair);
    };
  }

  /** Resolves when a server that listens with these credentials has its certificate. It drops who comes before. */
  ready(): Promise<void> {
    return new Promise((resolve) => {
      const read = (): void => {
        this.#watch.removeIdentityCertificateListener(read);
        resolve();
      };
      this.#watch.addIdentityCertificateListener(read);
    });
  }

  /**
   * Credentials that accept only the expected peer, before a byte of a request is sent. After each attempt to connect,
   * `report` receives the reason of its failure (PEER_REFUSED, CERTIFICATE_INVALID), or undefined if it is not known. A
   * TLS handshake that takes longer than `handshakeMs` is given up.
   */
  clientCredentials(
    expected: ExpectedPeer,
    { report = () => {}, handshakeMs = HANDSHAKE_MS_MAX, evenRevoked = false }: ConnectionWatch = {},
  ): ChannelCredentials {
    const { trustDomain } = this.identity;
    const credentials = experimental.createCertificateProviderChannelCredentials(this.#watch, this.#watch, {
      // Called only when the chain is good. Replaces the comparison with the host name.
      checkServerIdentity: (_host, certificate) =>
        identityRefusal(identityFromNames(certificate.subjectaltname), expected, trustDomain) ??
        (evenRevoked ? undefined : this.revoked(certificate)),
    });
    observeConnections(credentials, {
      report,
      keyExchange: KEY_EXCHANGE,
      ownFault: () => this.#watch.fault(),
      handshakeMs,
      clock: this.#clock,
      opened: (socket) => {
        if (evenRevoked) return;
        this.#opened.set(socket, report);
        socket.once('close', () => this.#opened.delete(socket));
      },
    });
    return credentials;
  }

  /** Calls under way on a connection to a revoked server fail, and so does each attempt to connect again. */
  #cutRevoked(): void {
    for (const [socket, report] of this.#opened) {
      const error = this.revoked(socket.getPeerCertificate());
      if (error === undefined) continue;
      report(error);
      // The end of a connection is reported too, and its reason must be the last that is known.
      socket.once('close', () => report(error));
      socket.destroy();
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

/** Why a certificate is not that of the expected peer; undefined if it is. */
export function identityRefusal(
  peer: Identity | undefined,
  expected: ExpectedPeer,
  trustDomain: string,
): AntipodeError | undefined {
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
