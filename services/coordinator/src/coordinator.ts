/** The object graph of the coordinator: built and started in order, closed in the opposite order. */
import { CoordinatorService, OperatorService, RpcServer, Tls } from '@antipode/protocol';
import {
  AntipodeError,
  type Clock,
  type Closeable,
  closeAll,
  closeInTime,
  every,
  HealthServer,
  type Log,
  lockFolder,
  measureLoopDelay,
  type Prng,
  systemClock,
  systemPrng,
} from '@antipode/runtime';
import { RETENTION_INTERVAL_MS, Retention } from './calendar/retention.ts';
import { Schedule } from './calendar/schedule.ts';
import { Timeline } from './calendar/timeline.ts';
import type { CoordinatorConfig } from './config.ts';
import { Election } from './election.ts';
import { EmbeddedPostgres } from './embedded/postgres.ts';
import { EmbeddedRedis } from './embedded/redis.ts';
import { GroupCache } from './groups/group-cache.ts';
import { Changes } from './operations/changes.ts';
import { EffectContext } from './operations/context.ts';
import { startDrill } from './operations/drill/start.ts';
import { Reconciler } from './operations/reconciler.ts';
import { Runner } from './operations/runner.ts';
import { externalQueue } from './queue/external-queue.ts';
import { BullWakeUps } from './queue/wake-ups.ts';
import { coordinatorHandlers } from './rpc/heartbeat.ts';
import { operatorHandlers } from './rpc/operator.ts';
import { Agents } from './sites/agents.ts';
import { Detector } from './sites/detector.ts';
import { JournalBook } from './sites/journals.ts';
import { LeaseBook } from './sites/leases.ts';
import { externalDatabase } from './store/postgres/external-database.ts';
import { PostgresStore } from './store/postgres/postgres-store.ts';
import { renameOpenKinds } from './store/tables/kind-names.ts';
import { readLeaderLease } from './store/tables/leader-lease.ts';
import { lowerLeaseLength, raiseLeaseLength } from './store/tables/lease-length.ts';
import { readSites } from './store/tables/sites.ts';
import { readTimeline, writeTimeline } from './store/tables/timeline.ts';

/** More often than an idle connection is forgotten by what lies between two sites. */
const KEEP_WARM_MS = 10_000;

export class Coordinator implements Closeable {
  readonly #config: CoordinatorConfig;
  readonly #ports: { clock: Clock; prng: Prng; log: Log };
  readonly #tls: Tls;
  readonly #stop = new AbortController();
  readonly #started: Closeable[] = [];
  #port = 0;
  #healthPort = 0;
  #closed: Promise<void> | undefined;
  #embedded: { postgres: EmbeddedPostgres | undefined; redis: EmbeddedRedis | undefined } = {
    postgres: undefined,
    redis: undefined,
  };

  /** @throws CERTIFICATE_INVALID */
  constructor({
    config,
    log,
    clock = systemClock,
    prng = systemPrng,
  }: { config: CoordinatorConfig; log: Log; clock?: Clock; prng?: Prng }) {
    this.#config = config;
    this.#ports = { clock, prng, log };
    this.#tls = new Tls(
      { caFile: config.tls.ca, certificateFile: config.tls.certificate, keyFile: config.tls.key },
      { clock, log },
    );
    const { kind, name } = this.#tls.identity;
    if (kind !== 'coordinator' || name !== config.id) {
      throw new AntipodeError(
        'CERTIFICATE_INVALID',
        `the certificate belongs to ${kind} ${name}, expected coordinator ${config.id}`,
        { details: { path: config.tls.certificate } },
      );
    }
  }

  get port(): number {
    return this.#port;
  }

  get healthPort(): number {
    return this.#healthPort;
  }

  /** The embedded servers, for tests that kill or wipe them. */
  get embedded(): { readonly postgres: EmbeddedPostgres | undefined; readonly redis: EmbeddedRedis | undefined } {
    return this.#embedded;
  }

  /** @throws FILE_EXISTS, PROGRAM_MISSING, CONFIG_INVALID, DATABASE_UNAVAILABLE; what was started before is closed again */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (thrown) {
      await closeInTime(this, this.#ports);
      throw thrown;
    }
  }

  close(): Promise<void> {
    this.#stop.abort();
    this.#closed ??= closeAll([...this.#started].reverse());
    return this.#closed;
  }

  #own<T extends Closeable>(part: T): T {
    this.#started.push(part);
    return part;
  }

  async #start(): Promise<void> {
    const { prng, log } = this.#ports;
    // What decides goes by the timeline; only calendars and certificates go by the clock on the wall.
    const clock = new Timeline({ clock: this.#ports.clock, log });
    const { id, timings, dataFolder, databaseUrl, redisUrl } = this.#config;
    // Before anything in the folder is touched: it may be that of a coordinator that is alive.
    this.#own(lockFolder(dataFolder, { program: 'coordinator' }));
    const [database, redis] = await Promise.all([
      this.#database(databaseUrl, dataFolder),
      this.#redis(redisUrl, dataFolder),
    ]);
    const store = this.#own(new PostgresStore({ connection: database, clock, log }));
    // A renewal never waits for the work of others, and gives up in time to be tried again before the lease is over.
    const renewals = this.#own(store.apart({ statementMs: timings.leaderMs / 2, lockMs: timings.leaderMs / 4 }));
    await store.migrate();
    const cache = new GroupCache({ store });
    const journals = new JournalBook({ store });
    const leases = new LeaseBook({ clock, leaseMs: timings.leaseMs });
    // Nothing is known of what an earlier leader granted or heard: every lease runs, and every site is just expected.
    const lead = async (): Promise<void> => {
      const mark = await store.query(readTimeline);
      if (mark !== undefined) clock.continueFrom(mark);
      cache.forgetNeeded();
      leases.becameLeader({
        earlierLeaseMs: await store.query((db) => raiseLeaseLength(db, timings.leaseMs)),
      });
      await store.query(renameOpenKinds);
      await journals.load();
      await cache.refresh();
      detector.expect(await store.query(readSites));
    };
    const election = this.#own(new Election({ store: renewals, clock, prng, log, id, ttlMs: timings.leaderMs, lead }));
    const loopDelay = measureLoopDelay();
    this.#own({ close: async () => loopDelay.close() });
    // Closed after the connections to the agents: what waits for an HSM is cut short, and carried on by the next leader.
    this.#own({ close: () => runner.idle() });
    const agents: Agents = this.#own(
      new Agents({
        tls: this.#tls,
        addressOf: (site) => detector.view(site)?.address,
        clock,
        timings,
        onJournal: (site, mark) => journals.answered(site, mark),
      }),
    );
    const detector: Detector = new Detector({
      clock,
      log,
      timings,
      loopDelayMs: () => loopDelay.maxMs(),
      probe: (observer, suspect) => agents.probe(observer, suspect, timings.probeTimeoutMs),
    });
    const context = new EffectContext({ store, election, agents, detector, journals, leases, cache, clock, timings });
    const changes = new Changes();
    const runner: Runner = new Runner({ store, election, context, changes, clock, prng, log });
    const wakeUps = this.#own(
      new BullWakeUps({ connection: redis, clock, log, run: (intent) => runner.run(intent), onDefect: crash }),
    );
    await wakeUps.checkSafety();
    const reconciler = this.#own(
      new Reconciler({ store, election, cache, detector, journals, runner, wakeUps, clock, prng, log, timings }),
    );
    const schedule = new Schedule({
      store,
      election,
      clock: this.#ports.clock,
      log,
      drill: (group, isWanted) => startDrill({ store, detector, reconciler }, { group, site: '', isWanted }),
    });
    const rpc = {
      id,
      store,
      election,
      cache,
      detector,
      journals,
      leases,
      context,
      agents,
      reconciler,
      runner,
      wakeUps,
      changes,
      clock,
      timeline: clock,
      log,
      timings,
      certificate: () => this.#tls.state,
    };

    // A predecessor that is frozen inside a write holds the row for some seconds: the next looks get it.
    await election.pass().catch((thrown: unknown) => {
      const error = AntipodeError.from(thrown);
      if (error.disposition !== 'retry') throw error;
      log.warn('the election could not read the lease; it tries again', { error });
    });
    election.start();
    const server = this.#own(new RpcServer({ tls: this.#tls, log }));
    server.add(CoordinatorService, coordinatorHandlers(rpc));
    server.add(OperatorService, operatorHandlers(rpc));
    this.#port = await server.listen(this.#config.listen);
    reconciler.start();
    this.#loop('detector', timings.heartbeatMs, () =>
      election.epoch === undefined ? Promise.resolve() : detector.pass(),
    );
    this.#loop('connections', KEEP_WARM_MS, () =>
      agents.keepWarm(detector.sites.filter(({ status }) => status === 'up').map(({ site }) => site)),
    );
    let shortenedIn: bigint | undefined;
    this.#loop('lease length', timings.leaseMs, async () => {
      const { epoch } = election;
      if (epoch === undefined || epoch === shortenedIn || leases.longestMs() > timings.leaseMs) return;
      await store.write(epoch, (trx) => lowerLeaseLength(trx, timings.leaseMs));
      shortenedIn = epoch;
    });
    this.#loop('schedule', timings.leaderMs / 2, () => schedule.look(cache.all.map(({ spec }) => spec)));
    const retention = new Retention({ store, election, cache, clock, log });
    this.#loop('retention', RETENTION_INTERVAL_MS, () => retention.pass());
    this.#loop('timeline', timings.leaderMs, async () => {
      clock.look();
      const { epoch } = election;
      if (epoch !== undefined) await store.write(epoch, (trx) => writeTimeline(trx, clock.mark));
    });
    if (this.#config.http !== undefined) {
      const health = this.#own(
        new HealthServer({
          live: () => ({ ok: true, checks: { coordinator: id } }),
          ready: async () => {
            const isDatabaseUp = await store.query(readLeaderLease).then(
              () => true,
              () => false,
            );
            return {
              ok: isDatabaseUp,
              checks: { database: isDatabaseUp, queue: wakeUps.isUp(), leader: election.epoch !== undefined },
            };
          },
        }),
      );
      this.#healthPort = await health.listen(this.#config.http);
    }
    log.info('coordinator started', { coordinator: id, port: this.#port, leads: election.epoch !== undefined });
  }

  #loop(name: string, intervalMs: number, work: () => Promise<void>): void {
    const { clock, prng, log } = this.#ports;
    const stop = new AbortController();
    const running = every({
      name,
      clock,
      prng,
      log,
      intervalMs,
      backoffIntervalsMax: 4,
      signal: stop.signal,
      work,
    });
    this.#own({
      close: async () => {
        stop.abort();
        await running;
      },
    });
  }

  async #database(url: string | undefined, dataFolder: string) {
    if (url !== undefined) return externalDatabase(url);
    this.#embedded.postgres = this.#own(new EmbeddedPostgres({ dataFolder, ...this.#ports }));
    return this.#embedded.postgres.start();
  }

  async #redis(url: string | undefined, dataFolder: string) {
    if (url !== undefined) return externalQueue(url);
    this.#embedded.redis = this.#own(new EmbeddedRedis({ dataFolder, ...this.#ports }));
    return this.#embedded.redis.start();
  }
}

/** Outside of any caller, so that nothing catches it but the process's own last resort (runtime, crashOnDefect). */
function crash(error: AntipodeError): void {
  queueMicrotask(() => {
    throw error;
  });
}
