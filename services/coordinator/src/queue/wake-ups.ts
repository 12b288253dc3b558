/**
 * Wakes runners, and nothing more: the truth is in the database (I8). One queue per destination site, so that a slow site
 * holds up only itself, and one for each kind that has no site, so that a failover waits for nothing. The queue tries
 * nothing again: it would wait by the wall clock, and count attempts that nobody has asked for. The reconciler wakes an
 * intent when its next attempt is due. A job holds an id.
 */
import { AntipodeError, type Clock, type Closeable, hasCode, type Log, within } from '@antipode/runtime';
import { Queue, UnrecoverableError, Worker } from 'bullmq';
import { type CommonRedisOptions, Redis, type RedisOptions } from 'ioredis';

export interface WakeUps extends Closeable {
  /** Has the intent run soon, in a lane of its own queue. Never awaited inside a transaction. @throws QUEUE_UNAVAILABLE */
  enqueue(intentId: string, lane: string): Promise<void>;
  isUp(): boolean;
}

export interface BullWakeUpsOptions {
  readonly connection: RedisOptions;
  readonly clock: Clock;
  readonly log: Log;
  /** Runs the intent; what it throws is on record already, unless it is a defect. */
  readonly run: (intentId: string) => Promise<void>;
  /** Told of a defect, which must end the process. */
  readonly onDefect: (error: AntipodeError) => void;
}

/** A killed worker's jobs come back after about two of these. */
const LOCK_MS = 5_000;
const STALLED_MS = 2_500;
const ENQUEUE_MS_MAX = 500;
const CLOSE_MS_MAX = 5_000;
/** Orders to one site run side by side only as far as its partitions do. */
const CONCURRENCY = 4;
/**
 * Operations without a site of their own mostly wait for other sites. When an active site is lost, all of its groups
 * fail over at the same time.
 */
const CONCURRENCY_ELSEWHERE = 256;
/** How long a start waits to learn how Redis is set up; a Redis that is away must not keep leases from being renewed. */
const CHECK_MS_MAX = 2_000;

export class BullWakeUps implements WakeUps {
  readonly #options: BullWakeUpsOptions;
  readonly #producer: Redis;
  readonly #consumer: Redis;
  readonly #lanes = new Map<string, { queue: Queue; worker: Worker }>();
  #isClosed = false;
  #isSafe = false;

  constructor(options: BullWakeUpsOptions) {
    this.#options = options;
    const retryStrategy = (times: number): number => Math.min(1_000, 50 * times);
    // The producer fails fast, the consumer waits: each as BullMQ asks for its side.
    this.#producer = client(options.connection, { maxRetriesPerRequest: 1, enableOfflineQueue: false, retryStrategy });
    this.#consumer = client(options.connection, { maxRetriesPerRequest: null, retryStrategy });
    for (const one of [this.#producer, this.#consumer]) one.on('error', () => {});
  }

  /**
   * Connects, and reads how Redis is set up. Reads it again whenever Redis comes back, and does not use a Redis that may
   * drop jobs.
   * @throws QUEUE_UNAVAILABLE if Redis may drop jobs; not if it does not answer
   */
  async start(): Promise<void> {
    const { clock, log } = this.#options;
    this.#consumer.on('ready', () => void this.#readPolicy().catch(() => {}));
    // A first attempt that fails is followed by others, as often as `retryStrategy` says.
    for (const one of [this.#producer, this.#consumer]) void one.connect().catch(() => {});
    try {
      await within({ clock, timeoutMs: CHECK_MS_MAX, what: 'reading the settings of Redis' }, () => this.#readPolicy());
    } catch (thrown) {
      if (hasCode(thrown, 'QUEUE_UNAVAILABLE')) throw thrown;
      log.warn('the queue does not answer: intents run without it', { error: AntipodeError.from(thrown) });
    }
  }

  async #readPolicy(): Promise<void> {
    const info = await this.#consumer.info('memory');
    const policy = /maxmemory_policy:(\S+)/.exec(info)?.[1] ?? 'unknown';
    this.#isSafe = policy === 'noeviction';
    if (this.#isSafe) return;
    const error = new AntipodeError('QUEUE_UNAVAILABLE', `Redis has maxmemory-policy ${policy}, expected noeviction`, {
      details: { policy },
    });
    this.#options.log.error('Redis can drop jobs, so it is not used', { error });
    throw error;
  }

  isUp(): boolean {
    return this.#isSafe && this.#producer.status === 'ready';
  }

  async enqueue(intentId: string, lane: string): Promise<void> {
    if (this.#isClosed) return;
    if (!this.#isSafe)
      throw new AntipodeError(
        'QUEUE_UNAVAILABLE',
        'Redis has not been verified to keep jobs (maxmemory-policy must be noeviction)',
      );
    try {
      await within({ clock: this.#options.clock, timeoutMs: ENQUEUE_MS_MAX, what: 'enqueue' }, async () => {
        const { queue } = this.#lane(lane);
        await queue.add('run', { intentId }, { jobId: intentId });
      });
    } catch (cause) {
      throw new AntipodeError('QUEUE_UNAVAILABLE', 'Redis did not accept the job', { cause });
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { clock } = this.#options;
    const ends = [...this.#lanes.values()].map(({ queue, worker }) =>
      Promise.allSettled([worker.close(!this.isUp()), queue.close()]),
    );
    await within({ clock, timeoutMs: CLOSE_MS_MAX, what: 'closing the queue' }, () => Promise.all(ends)).catch(
      () => undefined,
    );
    this.#producer.disconnect();
    this.#consumer.disconnect();
  }

  #lane(lane: string): { queue: Queue; worker: Worker } {
    const known = this.#lanes.get(lane);
    if (known !== undefined) return known;
    const { log, run } = this.#options;
    const name = `lane.${lane}`;
    const queue = new Queue(name, {
      connection: this.#producer,
      skipWaitingForReady: true,
      defaultJobOptions: {
        attempts: 1,
        removeOnComplete: true,
        removeOnFail: true,
      },
    });
    const worker = new Worker<{ intentId: string }>(name, async ({ data }) => this.#process(data.intentId, run), {
      connection: this.#consumer,
      concurrency: lane.startsWith('site.') ? CONCURRENCY : CONCURRENCY_ELSEWHERE,
      lockDuration: LOCK_MS,
      stalledInterval: STALLED_MS,
      maxStalledCount: 1_000,
    });
    // Both report every lost connection; the reconciler and `isUp` tell of it once.
    const report = (error: Error): void => log.debug('queue', { queue: name, error });
    queue.on('error', report);
    worker.on('error', report);
    const made = { queue, worker };
    this.#lanes.set(lane, made);
    return made;
  }

  /**
   * One of the three places where errors are translated. The failure is on record already, with the time of the next
   * attempt.
   */
  async #process(intentId: string, run: (intentId: string) => Promise<void>): Promise<void> {
    try {
      await run(intentId);
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (error.disposition === 'defect') this.#options.onDefect(error);
      throw new UnrecoverableError(error.message);
    }
  }
}

/** Connects when it is asked to, not by being made. */
function client(connection: RedisOptions, options: CommonRedisOptions): Redis {
  return new Redis(Object.assign({ lazyConnect: true }, connection, options) as never);
}
