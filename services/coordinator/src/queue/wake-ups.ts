/**
 * Wakes runners, and nothing more: the truth is in the database (I8). One queue per destination site, so that a slow site
 * holds up only itself; retries with back-off are the queue's. A job holds the id of an intent.
 */
import { AntipodeError, backoffMs, type Clock, type Closeable, type Log, type Prng, within } from '@antipode/runtime';
import { Queue, UnrecoverableError, Worker } from 'bullmq';
import { type CommonRedisOptions, Redis, type RedisOptions } from 'ioredis';

export interface WakeUps extends Closeable {
  /** Has the intent run soon, for a site. Never awaited inside a transaction. @throws QUEUE_UNAVAILABLE */
  enqueue(intentId: string, site: string): Promise<void>;
  isUp(): boolean;
}

export interface BullWakeUpsOptions {
  readonly connection: RedisOptions | string;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  /** Runs the intent; what it throws is retried where its disposition says so. */
  readonly run: (intentId: string) => Promise<void>;
}

/** A killed worker's jobs come back after about two of these. */
const LOCK_MS = 5_000;
const STALLED_MS = 2_500;
const ATTEMPTS_MAX = 6;
const BACKOFF = { baseMs: 200, capMs: 5_000 };
const ENQUEUE_MS_MAX = 500;
const CLOSE_MS_MAX = 5_000;
/** Orders to one site run side by side only as far as its partitions do. */
const CONCURRENCY = 4;
/** Failover belongs to no site that may be lost. */
const NO_SITE = 'coordinator';

export class BullWakeUps implements WakeUps {
  readonly #options: BullWakeUpsOptions;
  readonly #producer: Redis;
  readonly #consumer: Redis;
  readonly #sites = new Map<string, { queue: Queue; worker: Worker }>();
  #isClosed = false;

  constructor(options: BullWakeUpsOptions) {
    this.#options = options;
    const retryStrategy = (times: number): number => Math.min(1_000, 50 * times);
    // The producer fails fast, the consumer waits: each as BullMQ asks for its side.
    this.#producer = connect(options.connection, { maxRetriesPerRequest: 1, enableOfflineQueue: false, retryStrategy });
    this.#consumer = connect(options.connection, { maxRetriesPerRequest: null, retryStrategy });
    for (const client of [this.#producer, this.#consumer]) client.on('error', () => {});
  }

  /** @throws QUEUE_UNAVAILABLE when Redis may drop jobs */
  async checkSafety(): Promise<void> {
    const info = await this.#consumer.info('memory');
    const policy = /maxmemory_policy:(\S+)/.exec(info)?.[1];
    if (policy === 'noeviction') return;
    throw new AntipodeError(
      'QUEUE_UNAVAILABLE',
      `Redis has maxmemory-policy ${policy ?? 'unknown'}, expected noeviction`,
      { details: { policy: policy ?? 'unknown' } },
    );
  }

  isUp(): boolean {
    return this.#producer.status === 'ready';
  }

  async enqueue(intentId: string, site: string): Promise<void> {
    if (this.#isClosed) return;
    try {
      await within({ clock: this.#options.clock, timeoutMs: ENQUEUE_MS_MAX, what: 'enqueue' }, async () => {
        const { queue } = this.#siteQueue(site || NO_SITE);
        await queue.add('run', { intentId }, { jobId: intentId });
      });
    } catch (cause) {
      throw new AntipodeError('QUEUE_UNAVAILABLE', 'Redis does not take the job', { cause });
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { clock } = this.#options;
    const ends = [...this.#sites.values()].map(({ queue, worker }) =>
      Promise.allSettled([worker.close(!this.isUp()), queue.close()]),
    );
    await within({ clock, timeoutMs: CLOSE_MS_MAX, what: 'closing the queue' }, () => Promise.all(ends)).catch(
      () => undefined,
    );
    this.#producer.disconnect();
    this.#consumer.disconnect();
  }

  #siteQueue(site: string): { queue: Queue; worker: Worker } {
    const known = this.#sites.get(site);
    if (known !== undefined) return known;
    const { log, prng, run } = this.#options;
    const name = `site.${site}`;
    const queue = new Queue(name, {
      connection: this.#producer,
      skipWaitingForReady: true,
      defaultJobOptions: {
        attempts: ATTEMPTS_MAX,
        backoff: { type: 'custom' },
        removeOnComplete: true,
        removeOnFail: true,
      },
    });
    const worker = new Worker<{ intentId: string }>(name, async ({ data }) => this.#process(data.intentId, run), {
      connection: this.#consumer,
      concurrency: CONCURRENCY,
      lockDuration: LOCK_MS,
      stalledInterval: STALLED_MS,
      maxStalledCount: 1_000,
      settings: { backoffStrategy: (attempts) => Math.round(backoffMs(attempts, BACKOFF, prng)) },
    });
    // Both report every lost connection; the reconciler and `isUp` tell of it once.
    const report = (error: Error): void => log.debug('queue', { queue: name, error });
    queue.on('error', report);
    worker.on('error', report);
    const made = { queue, worker };
    this.#sites.set(site, made);
    return made;
  }

  /** One of the three places where errors are translated: only `retry` is worth another attempt of the queue. */
  async #process(intentId: string, run: (intentId: string) => Promise<void>): Promise<void> {
    try {
      await run(intentId);
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (error.disposition === 'retry') throw error;
      throw new UnrecoverableError(error.message);
    }
  }
}

function connect(connection: RedisOptions | string, options: CommonRedisOptions): Redis {
  return typeof connection === 'string'
    ? new Redis(connection, options as never)
    : new Redis(Object.assign({}, connection, options) as never);
}
