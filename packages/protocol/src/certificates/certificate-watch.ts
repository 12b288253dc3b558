/**
 * A process's own certificate files, watched while it runs, so that they rotate without a restart. New contents are
 * checked before they are used. Unusable ones (another certificate's key, another identity, expired, half written) are
 * reported, and the last good pair stays in use. It also warns in time before a certificate or its authority ends.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AntipodeError, type Clock, type Log, silentLog } from '@antipode/runtime';
import type { experimental } from '@grpc/grpc-js';
import { type Identity, identityFromNames, identityUri } from './identity.ts';

type CaListener = Parameters<experimental.FileWatcherCertificateProvider['addCaCertificateListener']>[0];
type IdentityListener = Parameters<experimental.FileWatcherCertificateProvider['addIdentityCertificateListener']>[0];

/** PEM files. The authority's may hold several certificates, for the time in which one authority follows another. */
export interface TlsFiles {
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** How it stands with a process's own certificate. */
export interface CertificateState {
  readonly certificateEndsMs: number;
  /** Of the authority that issued it. */
  readonly authorityEndsMs: number;
  /** Why what is in the files now is not used; undefined when it is. */
  readonly problem: AntipodeError | undefined;
}

/** From then on `status`, `doctor` and the log warn: long enough for an organisation to issue another one. */
export const WARN_DAYS = 30;
const DAY_MS = 86_400_000;

/** A pair is written file by file: what is found at one look only was just being written. */
const LOOKS_UNTIL_REPORTED = 2;

interface Contents {
  readonly ca: Buffer;
  readonly certificate: Buffer;
  readonly key: Buffer;
}

interface Checked {
  readonly identity: Identity;
  readonly certificateEndsMs: number;
  readonly authorityEndsMs: number;
}

export interface CertificateWatchOptions {
  readonly clock: Clock;
  readonly refreshMs: number;
  readonly log?: Log | undefined;
}

export class CertificateWatch {
  readonly identity: Identity;
  readonly #files: TlsFiles;
  readonly #options: CertificateWatchOptions;
  readonly #log: Log;
  readonly #caListeners = new Set<CaListener>();
  readonly #identityListeners = new Set<IdentityListener>();
  #used: Contents;
  #checked: Checked;
  #problem: AntipodeError | undefined;
  #looksWithProblem = 0;
  #warnedAtMs: number | undefined;
  #stop: AbortController | undefined;

  /** Reads and checks the files. @throws CERTIFICATE_INVALID */
  constructor(files: TlsFiles, options: CertificateWatchOptions) {
    this.#files = files;
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#used = readContents(files);
    this.#checked = checkCertificate(this.#used, files, options.clock);
    this.identity = this.#checked.identity;
    this.#warnOfEnds();
  }

  get state(): CertificateState {
    const { certificateEndsMs, authorityEndsMs } = this.#checked;
    return { certificateEndsMs, authorityEndsMs, problem: this.#problem };
  }

  /** The certificate in use. */
  get certificatePem(): Buffer {
    return this.#used.certificate;
  }

  /** The fault of the certificate in use: it has ended. A peer that refuses our certificate mostly just hangs up. */
  fault(): AntipodeError | undefined {
    try {
      checkCertificate(this.#used, this.#files, this.#options.clock);
      return undefined;
    } catch (thrown) {
      return AntipodeError.from(thrown);
    }
  }

  /** One look at the files; takes what is new in them and fits. */
  look(): void {
    try {
      const found = readContents(this.#files);
      if (!isSame(found, this.#used)) this.#use(found);
      this.#settle();
    } catch (thrown) {
      this.#report(AntipodeError.from(thrown));
    }
    this.#warnOfEnds();
  }

  // --- what grpc-js asks of a provider of certificates ---

  addCaCertificateListener(listener: CaListener): void {
    this.#caListeners.add(listener);
    this.#start();
    process.nextTick(() => this.#caListeners.has(listener) && listener({ caCertificate: this.#used.ca }));
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#caListeners.delete(listener);
    this.#end();
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.add(listener);
    this.#start();
    process.nextTick(() => this.#identityListeners.has(listener) && listener(this.#pair()));
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.delete(listener);
    this.#end();
  }

  /** For as long as somebody uses the certificate: nothing is left running where nobody does. */
  #start(): void {
    if (this.#stop !== undefined) return;
    const { clock, refreshMs } = this.#options;
    const stop = new AbortController();
    this.#stop = stop;
    void (async () => {
      while (!stop.signal.aborted) {
        this.look();
        await clock.sleep(refreshMs, stop.signal);
      }
    })();
  }

  #end(): void {
    if (this.#caListeners.size + this.#identityListeners.size > 0) return;
    this.#stop?.abort();
    this.#stop = undefined;
  }

  #use(found: Contents): void {
    this.#checked = this.#fitting(found);
    this.#used = found;
    this.#warnedAtMs = undefined;
    this.#log.info('a new certificate is in use', {
      path: this.#files.certificateFile,
      ends: new Date(this.#checked.certificateEndsMs).toISOString(),
    });
    for (const listener of this.#identityListeners) listener(this.#pair());
    for (const listener of this.#caListeners) listener({ caCertificate: found.ca });
  }

  /** @throws CERTIFICATE_INVALID */
  #fitting(found: Contents): Checked {
    const checked = checkCertificate(found, this.#files, this.#options.clock);
    const [uri, expected] = [identityUri(checked.identity), identityUri(this.identity)];
    if (uri === expected) return checked;
    throw invalid(this.#files.certificateFile, `belongs to ${uri}, expected ${expected}`);
  }

  #report(problem: AntipodeError): void {
    this.#looksWithProblem += 1;
    if (this.#looksWithProblem < LOOKS_UNTIL_REPORTED || this.#problem?.message === problem.message) return;
    this.#problem = problem;
    this.#log.error('the certificate files cannot be used; the last good certificate stays in use', {
      error: problem,
      ends: new Date(this.#checked.certificateEndsMs).toISOString(),
    });
  }

  #settle(): void {
    this.#looksWithProblem = 0;
    if (this.#problem !== undefined) this.#log.info('the certificate files are usable again');
    this.#problem = undefined;
  }

  /** Once, and then once a day. */
  #warnOfEnds(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#warnedAtMs !== undefined && nowMs - this.#warnedAtMs < DAY_MS) return;
    for (const warning of warningsOf(this.state, this.#options.clock.wallMs())) {
      this.#warnedAtMs = nowMs;
      this.#log.warn(warning, { path: this.#files.certificateFile });
    }
  }

  #pair(): { certificate: Buffer; privateKey: Buffer } {
    return { certificate: this.#used.certificate, privateKey: this.#used.key };
  }
}

/** The warnings for an operator about a certificate; empty if all is well. */
export function warningsOf(
  {
    certificateEndsMs,
    authorityEndsMs,
    problem,
  }: { certificateEndsMs: number; authorityEndsMs: number; problem?: unknown },
  nowMs: number,
): string[] {
  const ends = [
    ['its certificate', certificateEndsMs],
    ['the authority of its certificate', authorityEndsMs],
  ] as const;
  const why = problem instanceof AntipodeError ? problem.message.replace(`[${problem.code}] `, '') : problem;
  return [
    ...(why === undefined || why === '' ? [] : [`new certificate files are not used: ${why}`]),
    ...ends.flatMap(([what, endsMs]) => {
      const days = Math.floor((endsMs - nowMs) / DAY_MS);
      if (endsMs === 0 || days >= WARN_DAYS) return [];
      const date = new Date(endsMs).toISOString().slice(0, 10);
      return [
        days < 0 ? `${what} ended on ${date}` : `${what} ends in ${days} ${days === 1 ? 'day' : 'days'}, on ${date}`,
      ];
    }),
  ];
}

/** As it is reported to others. */
export function certificateInfo({ certificateEndsMs, authorityEndsMs, problem }: CertificateState) {
  return {
    certificateEndsMs: BigInt(certificateEndsMs),
    authorityEndsMs: BigInt(authorityEndsMs),
    problem: problem?.message.replace(`[${problem.code}] `, '') ?? '',
  };
}

/** Whether a pair can be used, and what is in it. @throws CERTIFICATE_INVALID */
export function checkCertificate(
  { ca, certificate: pem, key: keyPem }: Contents,
  files: TlsFiles,
  clock: Clock,
): Checked {
  const { caFile, certificateFile, keyFile } = files;
  const authorities = parsed(caFile, ca, certificatesIn);
  const [certificate, ...intermediates] = parsed(certificateFile, pem, certificatesIn);
  const key = parsed(keyFile, keyPem, createPrivateKey);
  if (!certificate.checkPrivateKey(key)) throw invalid(keyFile, `is not the key of ${certificateFile}`);
  const issuer = issuerOf(certificate, { intermediates, authorities });
  if (issuer === undefined) throw invalid(certificateFile, `is not issued by ${caFile}`);
  const now = clock.wallMs();
  if (now > certificate.validToDate.getTime())
    throw invalid(certificateFile, `expired on ${certificate.validToDate.toISOString()}`);
  if (now < certificate.validFromDate.getTime()) throw notBegun(certificateFile, '', certificate, now);
  if (now < issuer.validFromDate.getTime()) throw notBegun(caFile, 'its authority ', issuer, now);
  if (now > issuer.validToDate.getTime())
    throw invalid(caFile, `its authority expired on ${issuer.validToDate.toISOString()}`);
  const identity = identityFromNames(certificate.subjectAltName);
  if (identity === undefined)
    throw invalid(
      certificateFile,
      'has no identity spiffe://<trust domain>/<site|coordinator|operator|application>/<name>',
    );
  return {
    identity,
    certificateEndsMs: certificate.validToDate.getTime(),
    authorityEndsMs: issuer.validToDate.getTime(),
  };
}

export function readContents({ caFile, certificateFile, keyFile }: TlsFiles): Contents {
  return { ca: read(caFile), certificate: read(certificateFile), key: read(keyFile) };
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw invalid(path, `cannot be read: ${(cause as NodeJS.ErrnoException).code}`, cause);
  }
}

function parsed<T>(path: string, pem: Buffer, parse: (pem: string) => T): T {
  try {
    return parse(pem.toString('utf8'));
  } catch (cause) {
    throw invalid(path, 'cannot be read as PEM', cause);
  }
}

export function certificatesIn(pem: string): [X509Certificate, ...X509Certificate[]] {
  const [first = pem, ...rest] = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return [new X509Certificate(first), ...rest.map((one) => new X509Certificate(one))];
}

/**
 * The certificate that signed this one, if the chain from there leads to an authority. Peers see the whole chain: one that
 * ends nowhere is refused by all of them.
 */
function issuerOf(
  certificate: X509Certificate,
  {
    intermediates,
    authorities,
  }: { intermediates: readonly X509Certificate[]; authorities: readonly X509Certificate[] },
): X509Certificate | undefined {
  const signed = (issuer: X509Certificate): boolean => issuer.ca && certificate.verify(issuer.publicKey);
  return (
    authorities.find(signed) ??
    intermediates.find((one, at) => {
      const rest = { intermediates: intermediates.filter((_, other) => other !== at), authorities };
      return signed(one) && issuerOf(one, rest) !== undefined;
    })
  );
}

const isSame = (one: Contents, other: Contents): boolean =>
  one.ca.equals(other.ca) && one.certificate.equals(other.certificate) && one.key.equals(other.key);

/** Mostly it is the clock: certificates are issued before they are used. */
function notBegun(path: string, whose: string, { validFromDate }: X509Certificate, nowMs: number): AntipodeError {
  return new AntipodeError(
    'CERTIFICATE_INVALID',
    `${path}: ${whose}is valid only from ${validFromDate.toISOString()}, and the clock of this machine says ${new Date(nowMs).toISOString()}`,
    {
      details: { path, beginsMs: validFromDate.getTime() },
      hint: 'Correct the clock of this machine (chrony, systemd-timesyncd). `run` waits 15 minutes for that. If the clock is right, issue another certificate with `antipode init`.',
    },
  );
}

function invalid(path: string, why: string, cause?: unknown): AntipodeError {
  return new AntipodeError('CERTIFICATE_INVALID', `${path}: ${why}`, {
    details: { path },
    ...(cause === undefined ? {} : { cause }),
  });
}
