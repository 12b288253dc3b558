/** The metrics that every process has: what runs, how late it is, and how long its certificate is good. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from '../time/clock.ts';
import { VERSION } from '../version.ts';
import type { Metrics } from './metrics.ts';

/** Long enough that a scrape every minute sees each delay. */
const WINDOW_MS = 60_000;

/** The same as `CertificateState` of the protocol, which this package does not know. */
export interface CertificateEnds {
  readonly certificateEndsMs: number;
  readonly authorityEndsMs: number;
  readonly problem: unknown;
}

/** The list of revoked certificates that a process goes by, and how often it has refused a call by it. */
export interface RevocationCounts {
  readonly version: number;
  readonly refusedCalls: number;
}

export function addProcessMetrics(
  metrics: Metrics,
  {
    clock,
    certificate,
    revocations,
  }: { clock: Clock; certificate: () => CertificateEnds; revocations: () => RevocationCounts },
): { close(): Promise<void> } {
  const { role, name } = metrics;
  const delay = new DelayWindow(clock);
  metrics.part('process', (set) => {
    set('antipode_build_info', { role, name, version: VERSION }, 1);
    set('antipode_event_loop_delay_seconds', { role, name }, delay.longestMs() / 1_000);
    set('antipode_resident_memory_bytes', { role, name }, process.memoryUsage.rss());
  });
  metrics.part('certificate', (set) => {
    const { certificateEndsMs, authorityEndsMs, problem } = certificate();
    const ends = { certificate: certificateEndsMs, authority: authorityEndsMs };
    for (const [subject, endMs] of Object.entries(ends))
      set('antipode_certificate_expiry_timestamp_seconds', { role, name, subject }, Math.floor(endMs / 1_000));
    set('antipode_certificate_problem', { role, name }, problem !== undefined);
  });
  metrics.part('revocations', (set) => {
    const { version, refusedCalls } = revocations();
    set('antipode_revocation_list_version', { role, name }, version);
    set('antipode_revoked_calls_refused', { role, name }, refusedCalls);
  });
  return { close: async () => delay.close() };
}

/** The longest delay of the last one or two windows, however many scrapers ask. */
class DelayWindow {
  readonly #clock: Clock;
  readonly #delay = monitorEventLoopDelay({ resolution: 10 });
  #earlierMs = 0;
  #sinceMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.monotonicMs();
    this.#delay.enable();
  }

  longestMs(): number {
    const ms = this.#delay.max / 1e6;
    const currentMs = Number.isFinite(ms) ? ms : 0;
    const longestMs = Math.max(this.#earlierMs, currentMs);
    if (this.#clock.monotonicMs() - this.#sinceMs < WINDOW_MS) return longestMs;
    this.#sinceMs = this.#clock.monotonicMs();
    this.#earlierMs = currentMs;
    this.#delay.reset();
    return longestMs;
  }

  close(): void {
    this.#delay.disable();
  }
}
