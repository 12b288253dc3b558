/** The planner's reads for one group each second, after a year of history and for a new group. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedPostgres, PostgresStore, readFacts } from '@antipode/coordinator/testing';
import { seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { fillHistory, GENERATIONS_A_DAY } from '../../support/history.ts';
import { median } from '../report/statistics.ts';

export interface HistoryResult {
  readonly days: number;
  readonly generations: number;
  readonly emptyMs: number;
  readonly oursMs: number;
}

const LOOKS = 200;
/** Filling takes longer than any statement of a coordinator may. */
const FILL_MS_MAX = 10 * 60_000;

export async function measureHistory({ days }: { days: number }): Promise<HistoryResult> {
  const folder = mkdtempSync(join(tmpdir(), 'antipode-bench-history-'));
  chmodSync(folder, 0o711);
  const postgres = new EmbeddedPostgres({
    dataFolder: folder,
    clock: systemClock,
    prng: seededPrng('bench'),
    log: silentLog,
  });
  let store: PostgresStore | undefined;
  try {
    const limits = { statementMs: FILL_MS_MAX, idleInTransactionMs: FILL_MS_MAX };
    store = new PostgresStore({ connection: await postgres.start(), clock: systemClock, limits });
    await store.found();
    await fillHistory(store, { group: 'young', days: 1 / GENERATIONS_A_DAY });
    await fillHistory(store, { group: 'old', days });
    return {
      days,
      generations: Math.round(days * GENERATIONS_A_DAY),
      emptyMs: await look(store, 'young'),
      oursMs: await look(store, 'old'),
    };
  } finally {
    await store?.close();
    await postgres.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The median of many looks, after some that warm the caches. */
async function look(store: PostgresStore, group: string): Promise<number> {
  const took: number[] = [];
  for (let count = 0; count < LOOKS; count += 1) {
    const startMs = systemClock.monotonicMs();
    await store.snapshot((db) => readFacts(db, group, { sinceMs: 0 }));
    took.push(systemClock.monotonicMs() - startMs);
  }
  return median(took.slice(LOOKS / 10));
}
