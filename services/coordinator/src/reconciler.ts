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
import { type Intent, insertIntent, readLast, readNotable, readOpenIntents, updateIntent } from './store/intents.ts';
import type { Store } from './store/store.ts';
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

/** Runs beside Redis while it is away; more would only wait for the same HSMs. */
const LOCAL_RUNS_MAX = 8;

export class Reconciler implements Closeable {
  readonly #ports: ReconcilerPorts;
  readonly #stop = new AbortController();
  readonly #passes = new Serial();
  #running: Promise<void> | undefined;
  #localRuns = 0;
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

  /** Makes an intent, unless one of its kind is open, and wakes a runner. */
  async intend(planned: Planned): Promise<{ id: string; isNew: boolean }> {
    const { store, election, clock } = this.#ports;
    const made = await store.write(election.require(), async (trx, record) => {
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
    void this.#wake(made.id, planned.site);
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
          updateIntent(trx, id, { status: 'open', nextAttemptMs: clock.wallMs() }, clock.wallMs()),
        );
    }
    const nowMs = clock.wallMs();
    await Promise.all(
      open
        .filter(({ status, nextAttemptMs }) => status === 'open' && nextAttemptMs <= nowMs)
        .map(({ id, site }) => this.#wake(id, site)),
    );
  }

  async #planFor(group: Group, open: readonly Intent[], notable: readonly Intent[]): Promise<Plan> {
    const { store, clock, detector, timings } = this.#ports;
    const name = group.spec.name;
    const [newest, acknowledged, lastFailover] = await store.query((db) =>
      Promise.all([readNewest(db, name), readAcknowledged(db, name), readLast(db, { group: name, kind: 'failover' })]),
    );
    return plan({
      group,
      newest,
      acknowledged,
      lastFailover,
      failed: notable.filter((intent) => intent.group === name && intent.status === 'failed'),
      open: open.filter((intent) => intent.group === name),
      view: (site) => detector.view(site),
      nowMs: clock.wallMs(),
      timings,
    });
  }

  async #wake(id: string, site: string): Promise<void> {
    const { wakeUps, runner, log } = this.#ports;
    if (runner.isRunning(id)) return;
    try {
      await wakeUps.enqueue(id, site);
      if (!this.#isQueueUp) log.info('the queue is back');
      this.#isQueueUp = true;
    } catch (thrown) {
      if (this.#isQueueUp) log.warn('the queue is away: intents run without it', { error: AntipodeError.from(thrown) });
      this.#isQueueUp = false;
      if (this.#localRuns >= LOCAL_RUNS_MAX) return;
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
