/** The object graph of one site agent: built here, started in order, closed in the opposite order. */
import { randomUUID } from 'node:crypto';
import { swapState, swapWarning } from '@antipode/hsm-core';
import { RpcServer, SiteAgentService, Tls } from '@antipode/protocol';
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
  VERSION,
} from '@antipode/runtime';
import type { AgentConfig } from './config.ts';
import { Authority } from './orders/authority.ts';
import { Exchanges } from './orders/exchange.ts';
import { OrderBook } from './orders/order-book.ts';
import { siteAgentHandlers } from './orders/rpc.ts';
import { Partitions } from './partition/partitions.ts';
import { Link } from './peers/link.ts';
import { Mender } from './peers/mending.ts';
import { KEEP_WARM_MS, Peers } from './peers/peers.ts';
import { Pins } from './peers/pins.ts';
import { Transfer } from './peers/transfer.ts';
import { Trust } from './peers/trust.ts';
import type { Site } from './site.ts';
import { Collector } from './storage/collector.ts';
import { Deletions } from './storage/deletions.ts';
import { GenerationStore } from './storage/generation-store.ts';
import { IdleCollection } from './storage/idle-collection.ts';
import { Journal } from './storage/journal.ts';
import { Retention } from './storage/retention.ts';
import { FenceKeeper } from './tenure/fence.ts';
import { Heartbeat } from './tenure/heartbeat.ts';
import { LeaseKeeper } from './tenure/lease.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** Some captures come in between, each with a manifest. */
const RETIRE_INTERVAL_MS = 10 * 60_000;

/** How often a partition that could not be opened is tried again. The login guard keeps that from costing PIN attempts. */
const REOPEN_INTERVAL_MS = 5_000;

/** How often what the store has lost is asked for again. Where nothing is lost, a pass looks at memory only. */
const MEND_INTERVAL_MS = 5_000;

/** How often the journal is tried: what keeps it from being written shows in `status` before an order needs it. */
const JOURNAL_INTERVAL_MS = 5_000;
const JOURNAL_ATTEMPTS = 5;
const JOURNAL_PAUSE_MS = 300;

/** Also gives the emptied pages back. Only where Node runs with --expose-gc, as bin/antipode starts an agent. */
const collectGarbage = (): unknown => globalThis.gc?.({ type: 'major', execution: 'async', flavor: 'last-resort' });

export class SiteAgent implements Closeable {
  readonly #config: AgentConfig;
  readonly #site: Site;
  readonly #server: RpcServer;
  readonly #heartbeat: Heartbeat;
  readonly #health: HealthServer;
  readonly #lock: Closeable;
  readonly #loopDelay = measureLoopDelay();
  readonly #idle: IdleCollection;
  readonly #orders: OrderBook;
  readonly #stop = new AbortController();
  #loops: Promise<unknown> = Promise.resolve();
  #port = 0;
  #closed: Promise<void> | undefined;

  /** @throws CONFIG_INVALID, CERTIFICATE_INVALID, FILE_UNWRITABLE, FILE_EXISTS when another agent runs on the folder */
  constructor({
    config,
    log,
    clock = systemClock,
    prng = systemPrng,
  }: { config: AgentConfig; log: Log; clock?: Clock; prng?: Prng }) {
    this.#config = config;
    const tls = new Tls(
      { caFile: config.tls.ca, certificateFile: config.tls.certificate, keyFile: config.tls.key },
      { clock, log },
    );
    if (tls.identity.kind !== 'site' || tls.identity.name !== config.site) {
      throw new AntipodeError(
        'CERTIFICATE_INVALID',
        `the certificate belongs to ${tls.identity.kind} ${tls.identity.name}, expected site ${config.site}`,
        { details: { path: config.tls.certificate } },
      );
    }
    this.#lock = lockFolder(config.dataFolder, { program: 'agent' });
    const { journal, store } = this.#openMemory(config.dataFolder);
    if (store.setAside !== undefined)
      log.error('the store was damaged and starts empty; missing generations are fetched from other members', {
        damaged: store.setAside,
      });
    journal.beginRun();
    const link = new Link();
    const peers = new Peers({ tls, link });
    const pins = new Pins(config.pinsFile);
    const partitions = new Partitions({ settings: config.partitions, journal, dataFolder: config.dataFolder, log });
    const trust = new Trust({ site: config.site, partitions: partitions.all, pins, journal });
    const transfer = new Transfer({ store, peers, trust, log, clock });
    const deletions = new Deletions({ journal, clock, retentionMsMin: config.deletedRetentionDaysMin * DAY_MS });
    const retention = new Retention({ journal, store, log, clock });
    const fences = new FenceKeeper({ journal });
    const leases = new LeaseKeeper({ clock });
    const graceMs = config.eraseGraceHours * HOUR_MS;
    this.#site = {
      name: config.site,
      instance: randomUUID(),
      certificate: () => tls.state,
      version: VERSION,
      clock,
      prng,
      log,
      journal,
      store,
      fences,
      leases,
      authority: new Authority({ name: config.site, journal, fences, leases }),
      deletions,
      partitions,
      peers,
      trust,
      transfer,
      mender: new Mender({ journal, store, transfer, log }),
      retention,
      collector: new Collector({ journal, store, deletions, retention, clock, log, graceMs }),
    };
    this.#idle = new IdleCollection({ clock, collect: collectGarbage });
    this.#orders = new OrderBook({ clock, mark: () => journal.mark });
    this.#server = new RpcServer({ tls, log });
    this.#server.add(
      SiteAgentService,
      siteAgentHandlers({
        site: this.#site,
        exchanges: new Exchanges(this.#site),
        orders: this.#orders,
        loopDelay: this.#loopDelay,
        idle: this.#idle,
      }),
    );
    this.#heartbeat = new Heartbeat({
      site: this.#site,
      tls,
      coordinator: config.coordinator,
      advertise: () => config.advertise ?? config.listen.replace(/:0$/, `:${this.#port}`),
      loopDelay: this.#loopDelay,
      link,
    });
    this.#health = new HealthServer({
      live: () => ({ ok: true, checks: { site: config.site } }),
      ready: () => this.#readiness(),
    });
  }

  /** For tests: what a colleague in the same process may look at. */
  get site(): Site {
    return this.#site;
  }

  get port(): number {
    return this.#port;
  }

  /** All of it, or nothing of it runs and the folder is free again. @throws CONFIG_INVALID where an address cannot be had */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (thrown) {
      await closeInTime(this, { log: this.#site.log, clock: this.#site.clock });
      throw thrown;
    }
  }

  async #start(): Promise<void> {
    const { clock, prng, log, partitions } = this.#site;
    this.#port = await this.#server.listen(this.#config.listen);
    if (this.#config.http !== undefined) await this.#health.listen(this.#config.http);
    this.#heartbeat.start();
    const loop = (name: string, intervalMs: number, work: (signal: AbortSignal) => Promise<void>): Promise<void> =>
      every({ name, clock, prng, log, intervalMs, backoffIntervalsMax: 1, signal: this.#stop.signal, work });
    this.#loops = Promise.all([
      ...partitions.all.map((partition) =>
        loop(`open ${partition.settings.name}`, REOPEN_INTERVAL_MS, () => partition.warmUp()),
      ),
      loop('write journal', JOURNAL_INTERVAL_MS, async () => this.#watchJournal()),
      loop('keep peers connected', KEEP_WARM_MS, (signal) => this.#site.peers.keepWarm(signal)),
      loop('mend store', MEND_INTERVAL_MS, (signal) => this.#site.mender.mendAll(signal)),
      loop('retire generations', RETIRE_INTERVAL_MS, async (signal) => {
        await this.#site.retention.pass(signal);
        await this.#site.collector.pass(signal);
      }),
    ]);
    const warning = swapWarning(swapState());
    if (warning !== '') log.warn(warning);
    log.info('site agent started', { site: this.#config.site, port: this.#port, partitions: partitions.all.length });
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#stop.abort();
      const { journal, store, peers, partitions } = this.#site;
      await closeAll([
        this.#heartbeat,
        this.#server,
        this.#config.http === undefined ? undefined : this.#health,
        this.#orders,
        this.#idle,
        peers,
        { close: async () => void (await this.#loops) },
        partitions,
        { close: async () => store.close() },
        { close: async () => journal.close() },
        { close: async () => this.#loopDelay.close() },
        this.#lock,
      ]);
    })();
    return this.#closed;
  }

  #openMemory(folder: string): { journal: Journal; store: GenerationStore } {
    try {
      return { journal: new Journal(folder), store: new GenerationStore(folder) };
    } catch (thrown) {
      void this.#lock.close();
      throw thrown;
    }
  }

  /** @throws FILE_BUSY, FILE_UNWRITABLE, for the loop to say it once, and again when it is over */
  async #watchJournal(): Promise<void> {
    const { journal, clock } = this.#site;
    // A command that writes for a moment is no trouble.
    for (let attempt = 0; attempt < JOURNAL_ATTEMPTS && journal.check()?.code === 'FILE_BUSY'; attempt += 1)
      await clock.sleep(JOURNAL_PAUSE_MS, this.#stop.signal);
    if (journal.fault !== undefined) throw journal.fault;
  }

  #readiness() {
    const { partitions } = this.#site;
    const broken = partitions.all.filter(({ failure }) => failure !== undefined);
    const checks = Object.fromEntries(
      partitions.all.map(({ settings, failure, identity }) => [
        settings.name,
        failure?.code ?? (identity === undefined ? 'not initialised' : 'open'),
      ]),
    );
    return {
      ok: broken.length === 0 && this.#heartbeat.lastSuccessMs !== undefined,
      checks: { ...checks, coordinator: this.#heartbeat.lastSuccessMs !== undefined },
    };
  }
}
