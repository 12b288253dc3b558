/**
 * The coordinator's heartbeat: reads what is so, asks the planner what is due, writes the intents, and wakes a runner for
 * every open one. A wiped or dead Redis costs nothing but the detour of running it here (I8).
 */
import { randomUUID } from 'node:crypto';
import {
  AntipodeError,
  type Clock,
  type Closeable,
  currentTrace,
  every,
  inSpan,
  type Log,
  type Prng,
  Serial,
} from '@antipode/runtime';
import type { Detector } from './detector.ts';
import type { Election } from './election.ts';
import type { GroupCache } from './group-cache.ts';
import type { Group } from './model.ts';
import { type Plan, type Planned, plan } from './planner.ts';
import type { WakeUps } from './queue/wake-ups.ts';
import type { Runner } from './runner.ts';
import { readAcknowledged, readNewest } from './store/generations.ts';
import {
  forgetOldIntents,
  type Intent,
  insertIntent,
  readDone,
  readNotable,
  readOpenIntents,
  updateIntent,
} from './store/intents.ts';
import { readScrubs } from './store/scrubs.ts';
import type { Store, Write } from './store/store.ts';
import type { Timings } from './timings.ts';

export interface ReconcilerPorts {
  readonly store: Store;
  readonly election: Election;
  readonly cache: GroupCache;
  readonly detector: Detector;
  readonly runner: Runner;
  readonly wakeUps: WakeUps;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  readonly timings: Timings;
}

/** Runs beside Redis while it is away; more would only wait for the same HSMs. Failovers never wait for any of them. */
const LOCAL_RUNS_MAX = 8;
/** How long intents that ended are kept, and how often old ones are looked for. */
const HISTORY_MS = 30 * 86_400_000;
const FORGET_INTERVAL_MS = 3_600_000;

export class Reconciler implements Closeable {
  readonly #ports: ReconcilerPorts;
  readonly #stop = new AbortController();
  readonly #passes = new Serial();
  #running: Promise<void> | undefined;
  #localRuns = 0;
  #forgotAtMs = Number.NEGATIVE_INFINITY;
  #isQueueUp = true;

  constructor(ports: ReconcilerPorts) {
    this.#ports = ports;
  }

  start(): void {
    const { clock, prng, log, timings } = this.#ports;
    this.#running = every({
      name: 'reconciler',
      clock,
      prng,
      log,
      intervalMs: timings.planMs,
      backoffIntervalsMax: 4,
      signal: this.#stop.signal,
      work: () => this.pass(),
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** One look at everything; passes never overlap. */
  pass(): Promise<void> {
    return this.#passes.run(() => this.#pass());
  }

  /**
   * Makes an intent, unless one of its kind is open, and wakes a runner. `isWanted` may say in the same transaction that
   * there is none to make: then the id is empty.
   */
  async intend(
    planned: Planned,
    isWanted: (trx: Write) => Promise<boolean> = async () => true,
  ): Promise<{ id: string; isNew: boolean }> {
    const { store, election, clock } = this.#ports;
    const made = await store.write(election.require(), async (trx, record) => {
      if (!(await isWanted(trx))) return { id: '', isNew: false };
      const trace = Object.keys(planned.trace).length > 0 ? planned.trace : currentTrace();
      const result = await insertIntent(trx, { ...planned, trace, id: randomUUID() }, clock.wallMs());
      if (result.isNew)
        record({
          kind: `${planned.kind}-intended`,
          group: planned.group,
          site: planned.site,
          details: { intent: result.id },
        });
      return result;
    });
    if (made.id !== '') void this.#wake({ ...planned, id: made.id });
    return made;
  }

  async #pass(): Promise<void> {
    const { store, election, cache, clock } = this.#ports;
    if (election.epoch === undefined) return;
    await cache.refresh();
    const open = await store.query(readOpenIntents);
    const notable = await store.query(readNotable);
    for (const group of cache.all) {
      const { create, reopen } = await this.#planFor(group, open, notable);
      for (const planned of create)
        await inSpan(`tick ${planned.kind}`, { 'antipode.group': planned.group }, () => this.intend(planned));
      for (const id of reopen)
        await store.write(election.require(), (trx) =>
          updateIntent(trx, id, { status: 'open', attempts: 0, nextAttemptMs: clock.wallMs() }, clock.wallMs()),
        );
    }
    const nowMs = clock.wallMs();
    // Not awaited: a run takes as long as an HSM takes, and the next look must not wait for it.
    for (const intent of open) if (intent.status === 'open' && intent.nextAttemptMs <= nowMs) void this.#wake(intent);
    if (clock.monotonicMs() - this.#forgotAtMs > FORGET_INTERVAL_MS) {
      this.#forgotAtMs = clock.monotonicMs();
      await store.write(election.require(), (trx) => forgetOldIntents(trx, { beforeMs: nowMs - HISTORY_MS }));
    }
  }

  async #planFor(group: Group, open: readonly Intent[], notable: readonly Intent[]): Promise<Plan> {
    const { store, clock, detector, timings } = this.#ports;
    const name = group.spec.name;
    const sinceMs = clock.wallMs() - timings.automaticFailoverGapMs;
    const [newest, acknowledged, recent, scrubs] = await store.query((db) =>
      Promise.all([
        readNewest(db, name),
        readAcknowledged(db, name),
        readDone(db, { group: name, kinds: ['failover', 'enrolment'], sinceMs }),
        readScrubs(db, name),
      ]),
    );
    return plan({
      group,
      newest,
      acknowledged,
      recent,
      scrubs,
      failed: notable.filter((intent) => intent.group === name && intent.status === 'failed'),
      open: open.filter((intent) => intent.group === name),
      view: (site) => detector.view(site),
      nowMs: clock.wallMs(),
      timings,
    });
  }

  /** Through the queue, or here where the queue is away. */
  async #wake({ id, kind, site }: Pick<Intent, 'id' | 'kind' | 'site'>): Promise<void> {
    const { wakeUps, runner, log } = this.#ports;
    if (runner.isRunning(id)) return;
    try {
      await wakeUps.enqueue(id, site === '' ? kind : `site.${site}`);
      if (!this.#isQueueUp) log.info('the queue is back');
      this.#isQueueUp = true;
    } catch (thrown) {
      if (this.#isQueueUp) log.warn('the queue is away: intents run without it', { error: AntipodeError.from(thrown) });
      this.#isQueueUp = false;
      if (this.#localRuns >= LOCAL_RUNS_MAX && kind !== 'failover') return;
      this.#localRuns += 1;
      await runner
        .run(id)
        .catch((error: unknown) => {
          if (AntipodeError.from(error).disposition === 'defect') throw error;
        })
        .finally(() => {
          this.#localRuns -= 1;
        });
    }
  }
}
