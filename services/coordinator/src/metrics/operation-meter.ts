/** Counts operations and orders as they end, for the metrics of this process. Told by the runner, after the record. */
import { type ErrorCode, type Metrics, traceIdOf } from '@antipode/runtime';
import type { IntentStatus } from '../model.ts';
import type { Outcome } from '../operations/outcome.ts';
import type { Intent } from '../store/tables/intents.ts';

type Ended = Pick<Intent, 'kind' | 'group' | 'trace' | 'createdMs'>;

export class OperationMeter {
  readonly #metrics: Pick<Metrics, 'count' | 'observe'>;
  readonly #isSite: (name: string) => boolean;

  /** @param options.isSite the detail of an error can name anything; a label must not */
  constructor({ metrics, isSite }: { metrics: Pick<Metrics, 'count' | 'observe'>; isSite: (name: string) => boolean }) {
    this.#metrics = metrics;
    this.#isSite = isSite;
  }

  ended(
    { kind, group, trace, createdMs }: Ended,
    { status, nowMs, found }: { status: IntentStatus; nowMs: number; found: Outcome | undefined },
  ): void {
    // An operation that waits for a person has not ended.
    if (status !== 'done' && status !== 'failed') return;
    const outcome = status;
    const exemplar = { traceId: traceIdOf(trace) };
    const tookMs = Math.max(0, nowMs - createdMs);
    this.#metrics.observe('antipode_operation_duration_seconds', { kind, outcome }, tookMs / 1_000, exemplar);
    if (kind === 'drill') this.#metrics.count('antipode_drills_total', { group, outcome });
    if (found?.case !== 'failover') return;
    const { reason = '', recoveryTimeMs } = found.value;
    this.#metrics.count('antipode_failovers_total', { group, reason, outcome });
    if (recoveryTimeMs === undefined) return;
    const seconds = Number(recoveryTimeMs) / 1_000;
    this.#metrics.observe('antipode_failover_recovery_time_seconds', { group, reason }, seconds, exemplar);
  }

  orderFailed({ kind, site, code }: { kind: string; site: string; code: ErrorCode }): void {
    const known = this.#isSite(site) ? site : '';
    this.#metrics.count('antipode_order_failures_total', { kind, site: known, code });
  }
}
