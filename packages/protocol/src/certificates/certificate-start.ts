/**
 * Waits for the start of a process's own certificate. A service that starts at boot can be faster than the time
 * service: the clock is then before the certificate begins, and is corrected minutes later. Ending at once would look
 * like a wrong certificate. Every other fault of the files ends the start.
 */
import { AntipodeError, type Clock, type Log } from '@antipode/runtime';
import { CertificateWatch, type TlsFiles } from './certificate-watch.ts';
import { completeRenewal } from './renewal-files.ts';

/** A time service that works has set the clock long before; where none is, somebody has to know. */
export const START_WAIT_MS_MAX = 15 * 60_000;
const LOOK_MS = 1_000;
/** How often the wait is logged again. */
const TOLD_MS = 60_000;

export interface CertificateStartOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal?: AbortSignal;
  readonly limitMs?: number;
  /** Told why it waits, and undefined when it is over. */
  readonly onWaiting?: (why: AntipodeError | undefined) => void;
}

/**
 * Resolves when the certificate has begun, or `signal` aborts. @throws CERTIFICATE_INVALID, also for one that begins
 * later than `limitMs`
 */
export async function untilCertificateBegins(
  files: TlsFiles,
  { clock, log, signal, limitMs = START_WAIT_MS_MAX, onWaiting = () => {} }: CertificateStartOptions,
): Promise<void> {
  completeRenewal(files);
  const startedMs = clock.monotonicMs();
  let toldMs: number | undefined;
  for (;;) {
    const early = tooEarly(files, clock);
    const waitedMs = Math.round(clock.monotonicMs() - startedMs);
    if (early === undefined || signal?.aborted === true) {
      if (toldMs !== undefined && early === undefined) log.info('the certificate is now valid', { waitedMs });
      onWaiting(undefined);
      return;
    }
    if (waitedMs >= limitMs) throw early;
    onWaiting(early);
    if (toldMs === undefined || clock.monotonicMs() - toldMs >= TOLD_MS) {
      toldMs = clock.monotonicMs();
      log.warn('waiting: the certificate is not valid yet by the clock of this machine', {
        error: early,
        now: new Date(clock.wallMs()).toISOString(),
        waitedMs,
        givesUpAfterMs: limitMs,
      });
    }
    await clock.sleep(LOOK_MS, signal);
  }
}

/** @throws CERTIFICATE_INVALID for everything but a start that lies ahead */
function tooEarly(files: TlsFiles, clock: Clock): AntipodeError | undefined {
  try {
    void new CertificateWatch(files, { clock, refreshMs: LOOK_MS });
    return undefined;
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    if ('beginsMs' in error.details) return error;
    throw error;
  }
}
