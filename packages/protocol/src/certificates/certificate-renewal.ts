/**
 * Renews a process's own certificate at two thirds of its life, with a new key, while it runs. The signer is a port.
 * The files are taken over by the certificate watch, so no connection ends.
 *
 * If nobody signs, the certificate in use stays, and each failed streak is one warning. `status` and the log warn of the
 * end of a certificate in any case.
 */
import { readFileSync } from 'node:fs';
import { type Clock, type Closeable, every, type Log, type Prng } from '@antipode/runtime';
import type { TlsFiles } from './certificate-watch.ts';
import { installRenewal, renewalDueMs, requestRenewal } from './renewal-files.ts';

/** How often a process looks, and asks again while nobody signs. A look costs one file. */
const LOOK_MS = 10_000;
/** A request that is refused all day is asked for each hour. */
const BACKOFF_LOOKS_MAX = 360;

export interface CertificateRenewalOptions {
  readonly files: TlsFiles;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  /** Returns the certificate for a request, with the certificates of its issuers. */
  readonly sign: (requestPem: string) => Promise<string>;
}

export class CertificateRenewal implements Closeable {
  readonly #options: CertificateRenewalOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: CertificateRenewalOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, prng, log } = this.#options;
    this.#running ??= every({
      name: 'certificate renewal',
      clock,
      prng,
      log,
      intervalMs: LOOK_MS,
      backoffIntervalsMax: BACKOFF_LOOKS_MAX,
      signal: this.#stop.signal,
      work: () => this.renewIfDue(),
    });
  }

  /** One look. @throws what the signer throws, CERTIFICATE_INVALID if what it gave cannot be used */
  async renewIfDue(): Promise<void> {
    const { files, clock, log, sign } = this.#options;
    if (clock.wallMs() < renewalDueMs(readFileSync(files.certificateFile, 'utf8'))) return;
    const certificatePem = await sign(await requestRenewal(files));
    const ends = installRenewal(files, { certificatePem, clock });
    log.info('the certificate was renewed, with a new key', { path: files.certificateFile, ends: ends.toISOString() });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}
