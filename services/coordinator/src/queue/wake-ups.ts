/**
 * Wakes runners, and nothing more: the truth is in the database (I8). One queue per destination site, so that a slow site
 * holds up only itself, and one for each kind that has no site, so that a failover waits for nothing. The queue tries
 * nothing again: it would wait by the wall clock, and count attempts that nobody has asked for. The reconciler wakes an
 * intent when its next attempt is due. A job holds an id.
 *
 * The coordinators share one Redis. The queues of each leader have its epoch in their names, and its workers end with
 * that epoch. Otherwise a former leader would take a part of the wake-ups, and each would wait until its lock runs out.
 */
import { AntipodeError, type Clock, type Closeable, hasCode, type Log, within } from '@antipode/runtime';
import { Queue, UnrecoverableError, Worker } from 'bullmq';
import { type CommonRedisOptions, Redis, type RedisOptions } from 'ioredis';

export interface WakeUps extends Closeable {
  /** Has the intent run soon, in a lane of its own queue. Never awaited inside a transaction. @throws QUEUE_UNAVAILABLE */
  enqueue(intentId: string, lane: string): Promise<void>;
  isUp(): boolean;
  /** From now on in queues of this leader, which this coordinator is. Queues of earlier leaders are taken away. */
  lead(epoch: bigint): void;
  /** This coordinator leads no longer: it takes no wake-up any more. A run under way ends by itself. */
  standDown(): void;
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
/** Keys a step: a scan holds up nobody in Redis for long. */
const SCAN_COUNT = '200';
/** Orders to one site run side by side only as far as its partitions do. */
const CONCURRENCY = 4;
/**
 * Operations without a site of their own mostly wait for other sites. When an active site is lost, all of its groups
 * fail over at the same time.
 */
const CONCURRENCY_ELSEWHERE = 256;
/**
 * A link that goes down sends no word: the kernel would go on sending on the old connection for a quarter of an hour. So
 * a connection whose questions get no answer for this long is given up, and a new one is made.
 */
const SILENCE_MS_MAX = 2_000;
/** A worker that waits for jobs gets its next answer after this long. */
const BLOCK_SECONDS = 5;
/** For the connections that workers wait on as well. */
const CONSUMER_SILENCE_MS_MAX = BLOCK_SECONDS * 1_000 + 3_000;
const CONNECT_MS_MAX = 3_000;
/** How long a start waits to learn how Redis is set up; a Redis that is away must not keep leases from being renewed. */
const CHECK_MS_MAX = 2_000;

interface Lane {
  readonly queue: Queue;
  readonly worker: Worker;
}

/** Of the leader of an epoch. */
const nameOf = (epoch: bigint, lane: string): string => `lane.${epoch}.${lane}`;
const NAME = /^bull:(lane\.(?:(\d+)\.)?.*):meta$/;

export class BullWakeUps implements WakeUps {
  readonly #options: BullWakeUpsOptions;
  readonly #producer: Redis;
  readonly #consumer: Redis;
  #lanes = new Map<string, Lane>();
  #epoch: bigint | undefined;
  #isClosed = false;
  #isSafe = false;

  constructor(options: BullWakeUpsOptions) {
    this.#options = options;
    const retryStrategy = (times: number): number => Math.min(1_000, 50 * times);
    // The producer fails fast, the consumer waits: each as BullMQ asks for its side.
    const both = { retryStrategy, connectTimeout: CONNECT_MS_MAX };
    this.#producer = client(options.connection, {
      ...both,
      maxRetriesPerRequest: 1,
      enableOfflineQueue: false,
      socketTimeout: SILENCE_MS_MAX,
    });
    this.#consumer = client(options.connection, {
      ...both,
      maxRetriesPerRequest: null,
      socketTimeout: CONSUMER_SILENCE_MS_MAX,
    });
    for (const one of [this.#producer, this.#consumer]) one.on('error', () => {});
  }

  /**
   * Connects, and reads how Redis is set up. Reads it again whenever Redis comes back, and does not use a Redis that may
   * drop jobs.
   * @throws QUEUE_UNAVAILABLE if Redis may drop jobs; not if it does not answer
   */
  async start(): Promise<void> {
    const { clock, log } = this.#options;
    this.#consumer.on('ready', () => {
      // Workers that were made while Redis was away may never take a job.
      for (const lane of [...this.#lanes.keys()]) {
        this.#endLane(lane);
        if (this.#epoch !== undefined) this.#lane(this.#epoch, lane);
      }
      void this.#readPolicy().catch(() => {});
      this.#sweep();
    });
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

  lead(epoch: bigint): void {
    this.standDown();
    if (this.#isClosed) return;
    this.#epoch = epoch;
    if (this.#consumer.status === 'ready') this.#sweep();
  }

  standDown(): void {
    this.#epoch = undefined;
    const lanes = [...this.#lanes.values()];
    this.#lanes = new Map();
    for (const lane of lanes) void end(lane);
  }

  #endLane(name: string): void {
    const lane = this.#lanes.get(name);
    this.#lanes.delete(name);
    if (lane !== undefined) void end(lane);
  }

  #sweep(): void {
    if (this.#epoch !== undefined) void this.#sweepBefore(this.#epoch).catch(() => 'the next leader sweeps');
  }

  /** Removes the queues of earlier leaders. Their intents are woken from the database. */
  async #sweepBefore(epoch: bigint): Promise<void> {
    let cursor = '0';
    do {
      const [next, keys] = await this.#consumer.scan(cursor, 'MATCH', 'bull:lane.*:meta', 'COUNT', SCAN_COUNT);
      cursor = next;
      for (const key of keys) {
        const [, name, of = '0'] = NAME.exec(key) ?? [];
        if (name === undefined || BigInt(of) >= epoch) continue;
        const queue = new Queue(name, { connection: this.#consumer, skipWaitingForReady: true });
        queue.on('error', () => {});
        await queue.obliterate({ force: true }).finally(() => queue.close());
      }
    } while (cursor !== '0' && this.#epoch === epoch && !this.#isClosed);
  }

  async enqueue(intentId: string, lane: string): Promise<void> {
    if (this.#isClosed) return;
    if (!this.#isSafe)
      throw new AntipodeError(
        'QUEUE_UNAVAILABLE',
        'Redis has not been verified to keep jobs (maxmemory-policy must be noeviction)',
      );
    const epoch = this.#epoch;
    if (epoch === undefined) return;
    const isNew = !this.#lanes.has(lane);
    try {
      await within({ clock: this.#options.clock, timeoutMs: ENQUEUE_MS_MAX, what: 'enqueue' }, async () => {
        const { queue } = this.#lane(epoch, lane);
        await queue.add('run', { intentId }, { jobId: intentId });
      });
    } catch (cause) {
      // A worker that finds no Redis as it starts takes no job later either.
      if (isNew) this.#endLane(lane);
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

  #lane(epoch: bigint, lane: string): Lane {
    const known = this.#lanes.get(lane);
    if (known !== undefined) return known;
    const { log, run } = this.#options;
    const name = nameOf(epoch, lane);
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
      drainDelay: BLOCK_SECONDS,
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

/** Without waiting for what runs: it ends by itself, since its epoch is over. */
const end = ({ queue, worker }: Lane): Promise<unknown> => Promise.allSettled([worker.close(true), queue.close()]);

/** Connects when it is asked to, not by being made. */
function client(connection: RedisOptions, options: CommonRedisOptions): Redis {
  return new Redis(Object.assign({ lazyConnect: true }, connection, options) as never);
}
