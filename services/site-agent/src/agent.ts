/** The agent of one site: opens what a site needs of its machine, starts it in order, and closes it in the opposite order. */
import { randomUUID } from 'node:crypto';
import { swapState, swapWarning } from '@antipode/hsm-core';
import {
  CertificateRenewal,
  type CoordinatorAddress,
  createClient,
  LeaderFinder,
  ResolverService,
  type RevocationBook,
  RevocationService,
  RpcServer,
  renewedByAny,
  SiteAgentService,
  Tls,
} from '@antipode/protocol';
import {
  AntipodeError,
  addProcessMetrics,
  type Clock,
  type Closeable,
  closeAll,
  closeInTime,
  HealthServer,
  type Log,
  type LoopWatch,
  lockFolder,
  Metrics,
  measureLoopDelay,
  type Prng,
  VERSION,
} from '@antipode/runtime';
import type { DescService } from '@bufbuild/protobuf';
import { AgentLoops } from './agent-loops.ts';
import { ApprovalRules } from './approvals/approval-rules.ts';
import type { AgentConfig } from './config.ts';
import { addAgentMetrics, countCalls } from './metrics/agent-metrics.ts';
import { endStrayDrills } from './orders/drill.ts';
import { siteAgentHandlers } from './orders/rpc.ts';
import { workerPartitions } from './partition/worker-partition.ts';
import { Link } from './peers/link.ts';
import { Pins } from './peers/pins.ts';
import { openRevocations, SiteRevocations } from './peers/site-revocations.ts';
import { TlsPeers } from './peers/tls-peers.ts';
import { buildSite, type Site } from './site.ts';
import { GenerationStore } from './storage/generation-store.ts';
import { Journal } from './storage/journal/journal.ts';
import { Heartbeat } from './tenure/heartbeat.ts';
import { resolverHandlers } from './tenure/known-places.ts';
import { openVaults } from './vaults/luna-vault.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** Also gives the emptied pages back. Only where Node runs with --expose-gc, as bin/antipode starts an agent. */
const collectGarbage = (): unknown => globalThis.gc?.({ type: 'major', execution: 'async', flavor: 'last-resort' });

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly log: Log;
  readonly clock: Clock;
  readonly prng: Prng;
  /** Told of the passes without which an agent is of no use. */
  readonly watch?: LoopWatch | undefined;
  /** Of this process; its own if absent. */
  readonly metrics?: Metrics | undefined;
}

/** The metrics of an agent's process, with nothing in them yet. */
export const agentMetrics = ({ config, log, clock }: Pick<AgentOptions, 'config' | 'log' | 'clock'>): Metrics =>
  new Metrics({ role: config.witness ? 'witness' : 'agent', name: config.site, clock, log });

interface Opened {
  readonly tls: Tls;
  readonly book: RevocationBook;
  readonly lock: Closeable;
  readonly journal: Journal;
  readonly store: GenerationStore;
}

export class SiteAgent implements Closeable {
  readonly #config: AgentConfig;
  readonly #site: Site;
  readonly #server: RpcServer;
  readonly #heartbeat: Heartbeat;
  readonly #loops: AgentLoops;
  readonly #health: HealthServer;
  readonly #renewal: CertificateRenewal;
  readonly #revocations: SiteRevocations;
  readonly #lock: Closeable;
  readonly #loopDelay = measureLoopDelay();
  readonly #processMetrics: Closeable;
  #port = 0;
  #healthPort = 0;
  #closed: Promise<void> | undefined;

  private constructor(options: AgentOptions, { tls, book, lock, journal, store }: Opened) {
    const { config, log, clock, prng, watch, metrics = agentMetrics(options) } = options;
    this.#config = config;
    this.#lock = lock;
    const link = new Link();
    const peers = new TlsPeers({ tls, link });
    this.#site = buildSite({
      name: config.site,
      instance: randomUUID(),
      version: VERSION,
      clock,
      prng,
      log,
      certificate: () => tls.state,
      revocations: () => this.#revocations.state,
      journal,
      store,
      partitions: workerPartitions({
        settings: config.partitions,
        journal,
        dataFolder: config.dataFolder,
        clock,
        log,
        onCalls: countCalls(metrics, config.site),
      }),
      vaults: openVaults({ config, clock, prng, log }),
      peers,
      pins: new Pins(config.pinsFile),
      approvalRules: new ApprovalRules(config.approvals),
      loopDelay: this.#loopDelay,
      collectGarbage,
      deletedRetentionMsMin: config.deletedRetentionDaysMin * DAY_MS,
      eraseGraceMs: config.eraseGraceHours * HOUR_MS,
    });
    this.#server = new RpcServer({ tls, log });
    this.#server.add(SiteAgentService, siteAgentHandlers(this.#site));
    this.#server.add(ResolverService, resolverHandlers(this.#site));
    this.#revocations = new SiteRevocations({ config, tls, book, clock, log, link, members: () => peers.members });
    this.#server.add(RevocationService, this.#revocations.handlers);
    this.#loops = new AgentLoops({
      site: this.#site,
      watch,
      revocations: this.#revocations.rounds(() => this.#heartbeat.intervalMs),
    });
    const dial = <Service extends DescService>(service: Service, { id, address }: CoordinatorAddress) =>
      createClient(service, {
        address,
        tls,
        expected: { kind: 'coordinator', name: id },
        link: () => link.limits,
      });
    const coordinators = new LeaderFinder({ coordinators: config.coordinators, clock, dial });
    this.#renewal = new CertificateRenewal({
      files: { caFile: config.tls.ca, certificateFile: config.tls.certificate, keyFile: config.tls.key },
      clock,
      prng,
      log,
      sign: (requestPem) => renewedByAny(requestPem, { coordinators: config.coordinators, dial }),
    });
    this.#heartbeat = new Heartbeat({
      site: this.#site,
      coordinators,
      advertise: () => config.advertise ?? config.listen.replace(/:0$/, `:${this.#port}`),
      link,
      watch,
    });
    this.#processMetrics = addProcessMetrics(metrics, {
      clock,
      certificate: () => tls.state,
      revocations: () => ({ version: book.version, refusedCalls: this.#server.revokedCalls }),
    });
    addAgentMetrics(metrics, { site: this.#site, heartbeat: this.#heartbeat, dataFolder: config.dataFolder });
    this.#health = new HealthServer({
      metrics,
      live: () => ({ ok: true, checks: { site: config.site } }),
      ready: () => this.#readiness(),
    });
  }

  /**
   * Reads its certificate, takes the data folder for itself, and opens journal and store there.
   * @throws CONFIG_INVALID, CERTIFICATE_INVALID, REVOCATION_LIST_INVALID, FILE_UNWRITABLE, FILE_EXISTS when
   * another agent runs on the folder, SITE_RENAMED when the folder belongs to a site of another name
   */
  static open(options: AgentOptions): SiteAgent {
    const { config, log, clock, prng } = options;
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
    const lock = lockFolder(config.dataFolder, { program: 'agent' });
    let journal: Journal | undefined;
    try {
      journal = Journal.open(config.dataFolder, { prng, site: config.site });
      const store = GenerationStore.open(config.dataFolder, { clock });
      if (store.setAside !== undefined)
        log.error('the store was damaged and starts empty; missing generations are fetched from other members', {
          damaged: store.setAside,
        });
      journal.beginRun({ place: lock.place });
      journal.siteName.claim(config.site);
      endStrayDrills({ settings: config.partitions, journal, log });
      const book = openRevocations(config, { tls, log });
      return new SiteAgent(options, { tls, book, lock, journal, store });
    } catch (thrown) {
      journal?.close();
      void lock.close();
      throw thrown;
    }
  }

  /** For tests: what a colleague in the same process may look at. */
  get site(): Site {
    return this.#site;
  }

  get port(): number {
    return this.#port;
  }

  get healthPort(): number {
    return this.#healthPort;
  }

  /** All of it, or nothing of it runs and the folder is free again. @throws ADDRESS_UNAVAILABLE, CONFIG_INVALID */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (thrown) {
      await closeInTime(this, { log: this.#site.log, clock: this.#site.clock });
      throw thrown;
    }
  }

  async #start(): Promise<void> {
    const { log, partitions } = this.#site;
    this.#port = await this.#server.listen(this.#config.listen);
    if (this.#config.http !== undefined) this.#healthPort = await this.#health.listen(this.#config.http);
    this.#heartbeat.start();
    this.#loops.start();
    this.#renewal.start();
    const warning = swapWarning(swapState());
    if (warning !== '') log.warn(warning);
    log.info('site agent started', { site: this.#config.site, port: this.#port, partitions: partitions.all.length });
  }

  /** Resolves when each partition has been opened, or has said why not. */
  settled(): Promise<void> {
    return this.#loops.tried;
  }

  status(): string {
    const { checks } = this.#readiness();
    const { coordinator, ...others } = checks;
    return [
      coordinator === true ? 'a coordinator has answered' : 'no coordinator has answered yet',
      ...Object.entries(others).map(([name, state]) => `${name}: ${state}`),
    ].join('; ');
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#loops.stop();
      const { journal, store, peers, partitions, orders, idle } = this.#site;
      await closeAll([
        this.#renewal,
        this.#revocations,
        this.#heartbeat,
        this.#server,
        this.#config.http === undefined ? undefined : this.#health,
        orders,
        idle,
        peers,
        this.#loops,
        partitions,
        { close: async () => store.close() },
        { close: async () => journal.close() },
        { close: async () => this.#loopDelay.close() },
        this.#processMetrics,
        this.#lock,
      ]);
    })();
    return this.#closed;
  }

  /** Of each group that this site serves while no coordinator answers. */
  #vouched(): Record<string, string> {
    const { journal, leases, vouched } = this.#site;
    return Object.fromEntries(
      journal.tenure.seats().flatMap(({ group }) => {
        const round = vouched.of(group);
        if (round === undefined) return [];
        const leftMs = Math.floor(leases.remainingMs(group, round.epoch));
        const missing = round.missing.map(({ site }) => site);
        return [
          [
            `${group} without coordinators`,
            missing.length === 0
              ? `vouched for by ${round.by.join(', ')} for ${leftMs} ms`
              : `${missing.join(', ')} does not vouch; ${leftMs} ms are left`,
          ],
        ];
      }),
    );
  }

  #readiness() {
    const { partitions } = this.#site;
    const broken = partitions.all.filter(({ failure }) => failure !== undefined);
    const checks = Object.fromEntries(
      partitions.all.map(({ settings, failure, serial }) => [
        settings.name,
        failure?.code ?? (serial === undefined ? 'not initialised' : 'open'),
      ]),
    );
    return {
      ok: broken.length === 0 && this.#heartbeat.lastSuccessMs !== undefined,
      checks: { ...checks, ...this.#vouched(), coordinator: this.#heartbeat.lastSuccessMs !== undefined },
    };
  }
}
