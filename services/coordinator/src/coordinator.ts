/** The process of a coordinator: database, queue, network and files around the graph. Started in order, closed in reverse. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CertificateRenewal,
  CertificateService,
  CoordinatorService,
  JoinDoor,
  OperatorService,
  RevocationBook,
  RevocationService,
  RpcServer,
  readRequest,
  revocationHandlers,
  signRequest,
  Tls,
} from '@antipode/protocol';
import {
  AntipodeError,
  addProcessMetrics,
  type Clock,
  type Closeable,
  closeAll,
  closeInTime,
  every,
  HealthServer,
  type Log,
  type LoopWatch,
  lockFolder,
  Metrics,
  measureLoopDelay,
  type Prng,
  systemClock,
  systemPrng,
} from '@antipode/runtime';
import { Timeline } from './calendar/timeline.ts';
import type { CoordinatorConfig } from './config.ts';
import { EmbeddedPostgres } from './embedded/postgres.ts';
import { EmbeddedRedis } from './embedded/redis.ts';
import { buildCoordinator, type CoordinatorGraph } from './graph.ts';
import { openHooks } from './hooks/open-hooks.ts';
import { openReceivers } from './notices/open-receivers.ts';
import { externalQueue } from './queue/external-queue.ts';
import { BullWakeUps } from './queue/wake-ups.ts';
import { answerJoin } from './rpc/certificates/joining.ts';
import { readIssuer, renewalHandlers } from './rpc/certificates/renewals.ts';
import { dialOverTls } from './sites/agents.ts';
import { externalDatabase } from './store/postgres/external-database.ts';
import { PostgresStore } from './store/postgres/postgres-store.ts';
import { readLeaderLease } from './store/tables/leadership/leader-lease.ts';

/** In the data folder. */
const REVOCATIONS_FILE = 'revocations.json';
/** As often as an agent looks at most: a list is obeyed within a minute. */
const LISTS_MS = 20_000;

export class Coordinator implements Closeable {
  readonly #config: CoordinatorConfig;
  readonly #ports: { clock: Clock; prng: Prng; log: Log };
  readonly #watch: LoopWatch | undefined;
  readonly #metrics: Metrics;
  #leads: () => boolean = () => false;
  readonly #tls: Tls;
  readonly #stop = new AbortController();
  readonly #started: Closeable[] = [];
  #port = 0;
  #healthPort = 0;
  #joinPort: number | undefined;
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
    watch,
    metrics = new Metrics({ role: 'coordinator', name: config.id, clock, log }),
  }: { config: CoordinatorConfig; log: Log; clock?: Clock; prng?: Prng; watch?: LoopWatch; metrics?: Metrics }) {
    this.#config = config;
    this.#metrics = metrics;
    this.#watch = watch;
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

  /** Where machines join; undefined if they cannot. */
  get joinPort(): number | undefined {
    return this.#joinPort;
  }

  /** The embedded servers, for tests that kill or wipe them. */
  get embedded(): { readonly postgres: EmbeddedPostgres | undefined; readonly redis: EmbeddedRedis | undefined } {
    return this.#embedded;
  }

  /**
   * All of it, or nothing of it runs.
   * @throws FILE_EXISTS, PROGRAM_MISSING, CONFIG_INVALID, REVOCATION_LIST_INVALID, ADDRESS_UNAVAILABLE, DATABASE_UNAVAILABLE
   */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (thrown) {
      await closeInTime(this, this.#ports);
      throw thrown;
    }
  }

  status(): string {
    return this.#leads() ? 'leads' : 'stands by';
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
    const { clock, prng, log } = this.#ports;
    // Decisions go by the timeline. Only calendars and certificates go by the clock on the wall.
    const timeline = new Timeline({ clock, log });
    const { id, timings, dataFolder, databaseUrl, redisUrl } = this.#config;
    const hooks = openHooks(this.#config.hooks, { clock });
    const notifications = openReceivers(this.#config.notifications, { id, clock });
    // Before anything in the folder is touched: it may be that of a coordinator that is alive.
    this.#own(lockFolder(dataFolder, { program: 'coordinator' }));
    const [database, redis] = await Promise.all([
      this.#database(databaseUrl, dataFolder),
      this.#redis(redisUrl, dataFolder),
    ]);
    const revocations = new RevocationBook({
      file: join(dataFolder, REVOCATIONS_FILE),
      trustDomain: this.#tls.identity.trustDomain,
      rules: this.#config.revocation,
      log,
    });
    this.#tls.obey(revocations);
    this.#lookForLists(revocations);
    const store = this.#own(new PostgresStore({ connection: database, clock: timeline, log }));
    // A renewal never waits for the work of others, and gives up in time to be tried again before the lease is over.
    const renewals = this.#own(store.apart({ statementMs: timings.leaderMs / 2, lockMs: timings.leaderMs / 4 }));
    await store.found();
    const loopDelay = measureLoopDelay();
    this.#own({ close: async () => loopDelay.close() });
    const queue = new BullWakeUps({
      connection: redis,
      clock: timeline,
      log,
      run: (id) => graph.run(id),
      onDefect: crash,
    });
    const graph: CoordinatorGraph = this.#own(
      buildCoordinator({
        id,
        timings,
        clock,
        timeline,
        prng,
        log,
        store,
        renewals,
        dial: dialOverTls(this.#tls),
        wakeUps: queue,
        loopDelayMs: () => loopDelay.maxMs(),
        certificate: () => this.#tls.state,
        joining:
          this.#config.join === undefined
            ? undefined
            : { port: () => this.#joinPort, hasIssuer: this.#config.issuer !== undefined },
        revocations: {
          book: revocations,
          ownRefusal: () => this.#tls.ownRefusal(),
          trustDomain: this.#tls.identity.trustDomain,
        },
        hooks,
        notifications,
        metrics: this.#metrics,
        watch: this.#watch,
      }),
    );
    await queue.start();
    await graph.takePart();
    const server = this.#own(new RpcServer({ tls: this.#tls, log }));
    server.add(CoordinatorService, graph.handlers.coordinator);
    server.add(
      CertificateService,
      renewalHandlers({ id, issuer: this.#config.issuer, clock, log, forgotten: graph.forgotten }),
    );
    server.add(OperatorService, graph.handlers.operator);
    const ownRefusal = (): AntipodeError | undefined => this.#tls.ownRefusal();
    server.add(RevocationService, revocationHandlers({ book: revocations, process: `coordinator/${id}`, ownRefusal }));
    this.#port = await server.listen(this.#config.listen);
    graph.start();
    this.#renewOwnCertificate();
    await this.#letJoin({ store, timeline, graph });
    this.#own({ close: () => graph.stopLooking() });
    const leads = (): boolean => graph.leadership.epoch !== undefined;
    this.#leads = leads;
    this.#own(
      addProcessMetrics(this.#metrics, {
        clock,
        certificate: () => this.#tls.state,
        revocations: () => ({ version: revocations.version, refusedCalls: server.revokedCalls }),
      }),
    );
    if (this.#config.http !== undefined) {
      const health = this.#own(
        new HealthServer({
          metrics: this.#metrics,
          live: () => ({ ok: true, checks: { coordinator: id } }),
          ready: async () => {
            const isDatabaseUp = await store.query(readLeaderLease).then(
              () => true,
              () => false,
            );
            return {
              ok: isDatabaseUp,
              checks: { database: isDatabaseUp, queue: queue.isUp(), leader: leads() },
            };
          },
        }),
      );
      this.#healthPort = await health.listen(this.#config.http);
    }
    log.info('coordinator started', { coordinator: id, port: this.#port, leads: leads() });
  }

  /** Opens the door for machines that have a token and no certificate yet. */
  async #letJoin({ store, timeline, graph }: { store: PostgresStore; timeline: Timeline; graph: CoordinatorGraph }) {
    const { id, join, issuer, tls } = this.#config;
    if (join === undefined) return;
    const { clock, log } = this.#ports;
    const ports = {
      store,
      election: graph.leadership,
      clock: timeline,
      calendarMs: () => clock.wallMs(),
      trustDomain: this.#tls.identity.trustDomain,
      issuer,
      ownRefusal: () => this.#tls.ownRefusal(),
      authoritiesPem: () => readFileSync(tls.ca, 'utf8'),
      log,
    };
    const door = this.#own(
      new JoinDoor({
        coordinator: id,
        tls: this.#tls,
        clock,
        log,
        answer: (request, from) => answerJoin(request, from, ports),
      }),
    );
    this.#joinPort = await door.listen(join.listen);
  }

  /** `certificate revoked install` puts a list into the data folder, beside the process. */
  #lookForLists(revocations: RevocationBook): void {
    const stop = new AbortController();
    const pace = { intervalMs: LISTS_MS, backoffIntervalsMax: 1, signal: stop.signal };
    const work = async (): Promise<void> => revocations.look();
    const running = every({ name: 'look for revocations', ...this.#ports, ...pace, work });
    this.#own({
      close: () => {
        stop.abort();
        return running;
      },
    });
  }

  /** It has the issuer itself, or an administrator renews its certificate. */
  #renewOwnCertificate(): void {
    const { issuer, tls } = this.#config;
    if (issuer === undefined) return;
    const { clock } = this.#ports;
    const renewal = this.#own(
      new CertificateRenewal({
        files: { caFile: tls.ca, certificateFile: tls.certificate, keyFile: tls.key },
        ...this.#ports,
        sign: async (requestPem) => {
          const refused = this.#tls.ownRefusal();
          if (refused !== undefined) throw refused;
          const line = { validDays: issuer.days, nowMs: clock.wallMs(), issuedMs: this.#tls.issuedMs };
          return signRequest({ authority: readIssuer(issuer), ...line }, await readRequest(requestPem));
        },
      }),
    );
    renewal.start();
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
