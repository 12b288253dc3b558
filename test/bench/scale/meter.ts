/** Processor time, memory and statements of a coordinator and of its database, over a stretch of time. */
import type { PostgresStore } from '@antipode/coordinator/testing';
import type { Clock } from '@antipode/runtime';
import { sql } from 'kysely';
import { residentMiB } from '../places/machine.ts';
import type { AgentsReport } from './agents.ts';
import { childrenOf, cpuSeconds, cpuSecondsOfTree, nameOf } from './usage.ts';

/** The cost of a stretch of time. Cores are seconds of processor time in a second. */
export interface Cost {
  readonly seconds: number;
  readonly coordinatorCores: number;
  readonly postgresCores: number;
  readonly redisCores: number;
  readonly coordinatorMiB: number;
  readonly coordinatorPeakMiB: number;
  readonly statementsPerSecond: number;
  readonly rowsPerSecond: number;
  readonly heartbeatsPerSecond: number;
  readonly heartbeatsFailed: number;
  readonly heartbeatMs: AgentsReport['latencyMs'];
  readonly orders: AgentsReport['orders'];
}

export interface Spread {
  readonly first: number;
  readonly median: number;
  readonly last: number;
}

export interface MeterOptions {
  readonly store: PostgresStore;
  readonly clock: Clock;
  /** Process ids. */
  readonly coordinator: number;
  readonly postgres: number;
  readonly report: () => Promise<AgentsReport>;
  readonly tell: (text: string) => void;
}

export class Meter {
  readonly #options: MeterOptions;

  constructor(options: MeterOptions) {
    this.#options = options;
  }

  async cost(work: () => Promise<unknown>): Promise<Cost> {
    const before = await this.#read();
    await work();
    const after = await this.#read();
    const seconds = (after.atMs - before.atMs) / 1_000;
    const per = (of: (one: typeof after) => number): number => rounded((of(after) - of(before)) / seconds);
    const { now, peak } = residentMiB(this.#options.coordinator);
    const { heartbeats, failed, failure, latencyMs, orders } = after.report;
    if (failure !== '') this.#options.tell(`a heartbeat failed: ${failure}`);
    return {
      seconds: rounded(seconds),
      coordinatorCores: per(({ coordinator }) => coordinator),
      postgresCores: per(({ postgres }) => postgres),
      redisCores: per(({ redis }) => redis),
      coordinatorMiB: now,
      coordinatorPeakMiB: peak,
      statementsPerSecond: per(({ statements }) => statements),
      rowsPerSecond: per(({ rows }) => rows),
      heartbeatsPerSecond: rounded(heartbeats / seconds),
      heartbeatsFailed: failed,
      heartbeatMs: latencyMs,
      orders,
    };
  }

  async #read() {
    const { store, clock, coordinator, postgres, report } = this.#options;
    const { rows } = await store.query((db) =>
      sql<{
        calls: string;
        rows: string;
      }>`SELECT coalesce(sum(calls), 0)::text AS calls, coalesce(sum(rows), 0)::text AS rows FROM pg_stat_statements`.execute(
        db,
      ),
    );
    const redis = childrenOf(coordinator).find((child) => nameOf(child).includes('redis'));
    return {
      report: await report(),
      atMs: clock.monotonicMs(),
      coordinator: cpuSeconds(coordinator),
      postgres: cpuSecondsOfTree(postgres),
      redis: redis === undefined ? 0 : cpuSeconds(redis),
      statements: Number(rows[0]!.calls),
      rows: Number(rows[0]!.rows),
    };
  }
}

export const rounded = (value: number): number => Math.round(value * 1_000) / 1_000;

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { first: sorted[0] ?? 0, median: sorted[Math.floor(sorted.length / 2)] ?? 0, last: sorted.at(-1) ?? 0 };
}
