/** A whole system for a test: a coordinator with its own PostgreSQL and Redis, three site agents, real tokens, real mTLS. */
import { appendFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { follow, type Operator, type Round, replicateOnce } from '@antipode/cli/testing';
import { Coordinator, loadCoordinatorConfig } from '@antipode/coordinator';
import {
  freePort,
  type KnownIdentity,
  type PartitionPlan,
  Town,
  type TownNetwork,
  type TownProcess,
} from '@antipode/demo/town';
import {
  type CallOptions,
  type Client,
  createClient,
  FailoverPolicy,
  type GroupState,
  LeaderFinder,
  type Movement,
  type Operation,
  OperatorService,
  ResolverService,
  type SiteAgentService,
  SiteAgentService as SiteAgentServiceDescriptor,
  type Tls,
} from '@antipode/protocol';
import { type Clock, closeAll, Log, parseAddress, systemClock, systemPrng } from '@antipode/runtime';
import { loadAgentConfig, SiteAgent } from '@antipode/site-agent';
import { Journal } from '@antipode/site-agent/testing';
import type { DescService } from '@bufbuild/protobuf';
import { patient } from './patient-operator.ts';
import { PreparedPartition, prepareCluster } from './prepared.ts';
import { mainOf, type PreviousRelease } from './previous-release.ts';
import { openLink, type TestLink } from './proxy.ts';
import { makeToken, type TestToken, temporaryFolder, USER_PIN } from './tokens.ts';

export const GROUP = 'payments';
const TIMEOUT_MS = 45_000;

export interface TestSite {
  readonly name: string;
  readonly folder: string;
  readonly configFile: string;
  readonly token: TestToken;
  readonly scratch: TestToken | undefined;
  serial: string;
  scratchSerial: string;
  agent: SiteAgent | undefined;
  process: TownProcess | undefined;
  /** In front of its agent, and between it and the coordinator, where the system has links. */
  readonly inbound: TestLink | undefined;
  readonly outbound: TestLink | undefined;
}

/** Where the links of a system are, and whether they keep what passes. */
type Links = 'none' | 'recorded' | 'everywhere';

export interface SystemOptions {
  /** Sites whose agent is a process of its own, and `coordinator`, so that they can be stopped or killed. */
  readonly processes?: readonly string[];
  readonly createGroup?: boolean;
  /** Partitions with a receiving key and an officer key. */
  readonly officerKeys?: boolean;
  /** A fourth site, d, with a partition that is not a member and brings the domain keys. */
  readonly distributor?: boolean;
  /** A fourth site, d, with a partition and a scratch partition that no group uses yet. */
  readonly spare?: boolean;
  readonly failoverPolicy?: FailoverPolicy | undefined;
  /** How many objects a capture may lose before it is held, where applications delete without end. */
  readonly lossObjects?: number | undefined;
  /** Half of it is how often the coordinator captures by itself: long, where a test relies on it that nobody else does. */
  readonly rpoSeconds?: number | undefined;
  /** `recorded`: in front of each agent; `everywhere`: between each agent and the coordinator as well. */
  readonly links?: Links;
  /** One way, on each of these links. */
  readonly delayMs?: number;
  readonly timings?: 'fast' | 'default' | 'wan';
  /** How long anything here is waited for. */
  readonly timeoutMs?: number;
  /** For the processes, by the name of the site or `coordinator`. */
  readonly environment?: (name: string, folder: string) => Readonly<Record<string, string>>;
  /** The members' tokens, where they are not called alike and do not have one PIN. */
  readonly tokens?: (site: string) => { readonly label: string; readonly pin: string };
  /** Puts a device in front of a token. The label of a scratch token is `scratch-` and the site. */
  readonly disguise?: ((site: string, token: TestToken) => TestToken) | undefined;
  /** Of agents in this process, by site. */
  readonly clocks?: ((name: string) => Clock) | undefined;
  /** Coordinators `main` and `south`, each a process of its own, on servers that the test runs. */
  readonly shared?: SharedServers | undefined;
  /** Whether each process serves its health and metrics ({@link TestSystem.health}). */
  readonly health?: boolean;
  /** YAML that every process, and the operator, has in its configuration too. */
  readonly section?: string;
  /** Where sites and coordinators are. Default: all of them on loopback. */
  readonly network?: TownNetwork | undefined;
  /** The previous release, and who runs it: sites, and `coordinator`. They are processes, and it has founded their sites. */
  readonly previous?: { readonly release: PreviousRelease; readonly by: readonly string[] } | undefined;
}

/** The servers that several coordinators share. */
export interface SharedServers {
  /** For each coordinator, so that the database can tell them apart. */
  readonly databaseUrl: (coordinator: string) => string;
  readonly redisUrl: string;
}

export const COORDINATORS = ['main', 'south'] as const;

/** The token of a partition, and its keys if they are prepared. */
interface Start {
  readonly start: PreparedPartition;
  readonly token: TestToken;
}

/** Lines of the log that a wait in vain ends with. */
const TOLD_MAX = 40;

export class TestSystem {
  readonly folder = temporaryFolder('system');
  readonly sites = new Map<string, TestSite>();
  /** In front of each agent, where connections are to be read. */
  readonly links: TestLink[] = [];
  readonly logLines: string[] = [];
  readonly log = new Log({ level: 'debug', format: 'json', write: (line) => this.logLines.push(line) });
  coordinator!: Coordinator;
  coordinatorProcess: TownProcess | undefined;
  readonly coordinatorProcesses = new Map<string, TownProcess>();
  /** Repeats what is refused because nobody leads for a moment. */
  operator!: Operator;
  /** Speaks with the coordinator's own certificate: for orders that a stale or stolen coordinator might give. */
  coordinatorTls!: Tls;
  #town!: Town;
  #hasDistributor = false;

  readonly #environment: NonNullable<SystemOptions['environment']>;
  readonly #clocks: SystemOptions['clocks'];
  readonly #shared: SharedServers | undefined;
  readonly #network: TownNetwork | undefined;
  readonly #timeoutMs: number;
  readonly #previous: PreviousRelease | undefined;
  /** The places that run the previous release. */
  readonly #behind: Set<string>;

  constructor({
    environment = () => ({}),
    clocks,
    timeoutMs = TIMEOUT_MS,
    shared,
    network,
    previous,
  }: Pick<SystemOptions, 'environment' | 'clocks' | 'timeoutMs' | 'shared' | 'network' | 'previous'> = {}) {
    this.#previous = previous?.release;
    this.#behind = new Set(previous?.by);
    this.#shared = shared;
    this.#network = network;
    this.#environment = environment;
    this.#clocks = clocks;
    this.#timeoutMs = timeoutMs;
  }

  static async start({
    processes = [],
    createGroup = true,
    links = 'none',
    officerKeys = false,
    distributor = false,
    spare = false,
    health = false,
    section = '',
    environment,
    clocks,
    failoverPolicy,
    lossObjects,
    rpoSeconds,
    delayMs = 0,
    timings = 'fast',
    timeoutMs = TIMEOUT_MS,
    tokens = (site) => ({ label: `payments-${site}`, pin: USER_PIN }),
    disguise = (_site, token) => token,
    shared,
    network,
    previous,
  }: SystemOptions = {}): Promise<TestSystem> {
    const system = new TestSystem({
      timeoutMs,
      ...(environment === undefined ? {} : { environment }),
      ...(clocks === undefined ? {} : { clocks }),
      shared,
      network,
      previous,
    });
    try {
      await system.#setUp(links, { officerKeys, distributor, spare, delayMs, timings, tokens, disguise });
      if (health) await system.#serveHealth();
      const configurations = [system.#town.coordinatorFile, system.#town.operatorFile];
      for (const file of [...configurations, ...[...system.sites.values()].map(({ configFile }) => configFile)])
        if (section !== '') appendFileSync(file, section);
      if (shared === undefined) {
        await prepareCluster(loadCoordinatorConfig(system.#town.coordinatorFile).dataFolder);
        await system.startCoordinator({ asProcess: [...processes, ...system.#behind].includes('coordinator') });
      } else for (const id of COORDINATORS) system.startSharing(id);
      for (const site of system.sites.values())
        await system.startAgent(site.name, { asProcess: [...processes, ...system.#behind].includes(site.name) });
      await system.until(
        'all agents are heard',
        async () =>
          (await system.operator.getStatus({})).sites.filter(({ state }) => state === 'up').length ===
          system.sites.size,
      );
      if (createGroup) await system.createGroup(failoverPolicy, { lossObjects, rpoSeconds });
      return system;
    } catch (thrown) {
      await system.close();
      throw thrown;
    }
  }

  /** Where each process serves its health: `coordinator`, and the sites by their names. */
  readonly health = new Map<string, string>();

  async #serveHealth(): Promise<void> {
    const files = [
      ['coordinator', this.#town.coordinatorFile] as const,
      ...[...this.sites.values()].map(({ name, configFile }) => [name, configFile] as const),
    ];
    for (const [name, file] of files) {
      const address = `127.0.0.1:${await freePort()}`;
      this.health.set(name, address);
      appendFileSync(file, `http: ${address}\n`);
    }
  }

  site(name: string): TestSite {
    const site = this.sites.get(name);
    if (site === undefined) throw new Error(`no site ${name}`);
    return site;
  }

  /** The in-process agent of a site, with what it holds. */
  agent(name: string): SiteAgent {
    const { agent } = this.site(name);
    if (agent === undefined) throw new Error(`site ${name} has no agent in this process`);
    return agent;
  }

  async startCoordinator({ asProcess = false }: { asProcess?: boolean } = {}): Promise<void> {
    if (asProcess) {
      this.coordinatorProcess = this.#town.startCoordinator({
        environment: this.#environment('coordinator', this.folder),
        main: this.#programOf('coordinator'),
      });
      return;
    }
    this.coordinator = new Coordinator({
      config: loadCoordinatorConfig(this.#town.coordinatorFile),
      log: this.log,
    });
    await this.coordinator.start();
  }

  /** Starts the coordinator of this process again, with hooks. They are a section of its configuration. */
  async withHooks(section: string): Promise<void> {
    await this.coordinator.close();
    appendFileSync(this.#town.coordinatorFile, section);
    await this.startCoordinator();
  }

  /** One of the coordinators that share servers, as a process. */
  startSharing(id: string): TownProcess {
    const { databaseUrl, redisUrl } = this.#shared!;
    const environment = { ...this.#environment(id, this.folder), DATABASE_URL: databaseUrl(id), REDIS_URL: redisUrl };
    const started = this.#town.startCoordinator({ id, environment });
    this.coordinatorProcesses.set(id, started);
    return started;
  }

  async startAgent(name: string, { asProcess = false }: { asProcess?: boolean } = {}): Promise<void> {
    const site = this.site(name);
    if (asProcess) {
      site.process = this.#town.startAgent(name, {
        environment: this.#environment(name, this.folder),
        main: this.#programOf(name),
      });
      return;
    }
    site.agent = SiteAgent.open({
      config: loadAgentConfig(site.configFile),
      log: this.log.with({ site: name }),
      clock: this.#clocks?.(name) ?? systemClock,
      prng: systemPrng,
    });
    await site.agent.start();
  }

  /** A site, or `coordinator`, runs this release or the previous one from its next start on. */
  release(name: string, which: 'this' | 'previous'): void {
    if (which === 'this') this.#behind.delete(name);
    else this.#behind.add(name);
  }

  #programOf(name: string): string | undefined {
    return this.#behind.has(name) ? mainOf(this.#previous!.root) : undefined;
  }

  async stopAgent(name: string): Promise<void> {
    const site = this.site(name);
    await site.agent?.close();
    await site.process?.killAll();
    site.agent = undefined;
    site.process = undefined;
  }

  async createGroup(
    failoverPolicy: FailoverPolicy = FailoverPolicy.AUTOMATIC,
    {
      lossObjects,
      rpoSeconds,
      movement,
    }: Pick<SystemOptions, 'lossObjects' | 'rpoSeconds'> & { readonly movement?: Movement } = {},
  ): Promise<void> {
    const spec = {
      name: GROUP,
      members: ['a', 'b', 'c'].map((name) => ({ site: name, serial: this.site(name).serial })),
      scratch: [{ site: 'c', serial: this.site('c').scratchSerial }],
      ...(this.#hasDistributor ? { distributor: { site: 'd', serial: this.site('d').serial } } : {}),
      failoverPolicy,
      ...(rpoSeconds === undefined ? {} : { rpoSeconds }),
      ...(movement === undefined ? {} : { movement }),
      ...(lossObjects === undefined ? {} : { deletions: { retentionMs: 0n, lossObjects, lossPercent: 100 } }),
    };
    // Safe to repeat: an exchange fails where an agent is not heard for a moment.
    await this.insistent('the group has its domain key', async () => {
      const { operationId } = await this.operator.createGroup({ spec });
      // Empty where it was declared before and nothing is to be done.
      if (operationId !== '') await this.ended(operationId);
    });
  }

  replicate(sites: readonly string[] = ['b', 'c']): Promise<Round> {
    return replicateOnce(this.operator, GROUP, { timeoutMs: this.#timeoutMs, sites });
  }

  /** Until each of the sites has acknowledged a generation of that number or a higher one. */
  untilAcknowledged(number: number, sites: readonly string[]): Promise<GroupState> {
    return this.until(`${sites.join(', ')} have acknowledged ${number}`, async () => {
      const { group } = await this.operator.getGroup({ group: GROUP });
      const acknowledged = (name: string) =>
        Number(group?.members.find(({ site }) => site === name)?.acknowledgedGeneration ?? 0);
      return sites.every((name) => acknowledged(name) >= number) && group;
    });
  }

  untilActive(name: string): Promise<true> {
    return this.until(
      `site ${name} is active`,
      async () => (await this.operator.resolve({ group: GROUP })).site === name || undefined,
    ) as Promise<true>;
  }

  /** Until `status` would say so of the group. It says otherwise while a site is not heard for a moment. */
  untilProtection(protection: string): Promise<GroupState> {
    return this.until(`the group is ${protection}`, async () => {
      const { group } = await this.operator.getGroup({ group: GROUP });
      return group?.protection === protection && group;
    });
  }

  /** An operation when it has ended well. @throws its own error */
  ended(operationId: string): Promise<Operation> {
    return follow(this.operator, operationId, { timeoutMs: this.#timeoutMs });
  }

  /** The newest failover that is on record as done: the role is seen to have moved a moment before. */
  failedOver(): Promise<Operation> {
    return this.until('the failover is on record as done', async () => {
      const { operations } = await this.operator.listOperations({ group: GROUP, limit: 50 });
      return operations.find(({ kind, status }) => kind === 'failover' && status === 'done');
    });
  }

  /** Moves the active role by order. It is ordered again where a site did not answer in time. */
  moveTo(site: string): Promise<void> {
    return this.insistent(`site ${site} is active by order`, async () => {
      if ((await this.operator.getGroup({ group: GROUP })).group?.activeSite === site) return;
      await this.ended((await this.operator.failover({ group: GROUP, toSite: site })).operationId);
    });
  }

  /** A client to an agent with the coordinator's certificate. Its orders have the term that the agent has heard. */
  order(name: string): ReturnType<typeof createClient<typeof SiteAgentService>> {
    const { port, site } = this.agent(name);
    const client = createClient(SiteAgentServiceDescriptor, {
      address: `localhost:${port}`,
      tls: this.coordinatorTls,
      expected: { kind: 'site', name },
    });
    return new Proxy(client, {
      get: (target, method) => {
        const call = Reflect.get(target, method) as (request?: { fence?: object }, options?: CallOptions) => unknown;
        return (request?: { fence?: object }, options?: CallOptions) => {
          const term = site.terms.highest?.term ?? 0n;
          const fence = request?.fence === undefined ? {} : { fence: { term, ...request.fence } };
          return call.call(target, request === undefined ? request : { ...request, ...fence }, options);
        };
      },
    });
  }

  /** Where one coordinator is called. */
  addressOfCoordinator(id: string): string {
    return this.#town.coordinators.find((one) => one.id === id)!.address;
  }

  /** A client to one coordinator, whether it leads or not. */
  dialCoordinator<Service extends DescService>(service: Service, id: string): Client<Service> {
    return createClient(service, {
      address: this.addressOfCoordinator(id),
      tls: this.#town.tls('operator'),
      expected: { kind: 'coordinator', name: id },
    });
  }

  /** Asks the agent of a site where groups are served, as an application does while no coordinator answers. */
  dialResolver(name: string): Client<typeof ResolverService> {
    return createClient(ResolverService, {
      address: `localhost:${this.agent(name).port}`,
      tls: this.#town.tls('operator'),
      expected: { kind: 'site', name },
    });
  }

  /** TLS of one coordinator, for orders that it might have given. */
  tlsOfCoordinator(id: string): Tls {
    return this.#town.tls(id === this.#town.coordinator.id ? 'coordinator' : `coordinator-${id}`);
  }

  async until<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
    const endMs = systemClock.monotonicMs() + this.#timeoutMs;
    let trouble: unknown;
    while (systemClock.monotonicMs() < endMs) {
      const answer = await ask().catch((thrown: unknown) => {
        trouble = thrown;
      });
      if (answer) return answer;
      const failure = this.#processes().find((one) => one.failure !== undefined)?.failure;
      if (failure !== undefined) throw failure;
      await systemClock.sleep(50);
    }
    const told = this.logLines.filter((line) => !line.includes('"level":"debug"')).slice(-TOLD_MAX);
    throw new Error(
      `waited ${this.#timeoutMs} ms until ${what}; last trouble: ${String(trouble ?? 'none')}; last told:\n${told.join('')}`,
    );
  }

  /** One of them that ended though nobody told it to has a reason, and nothing that needs it will come. */
  #processes(): TownProcess[] {
    const all = [this.coordinatorProcess, ...this.coordinatorProcesses.values()];
    return [...all, ...[...this.sites.values()].map(({ process }) => process)].filter((one) => one !== undefined);
  }

  /** Repeats an order that a busy machine had refused, and that is safe to repeat. @returns its result */
  async insistent<T>(what: string, work: () => Promise<T>): Promise<T> {
    const { made } = await this.until(what, async () => ({ made: await work() }));
    return made;
  }

  /** One more key at a site. Coordinator and agents in this process go on meanwhile, and with them their leases. */
  makeKey(name: string, id: string): Promise<void> {
    return this.site(name).token.makeAesAsync(id);
  }

  /** Deletes the secret keys of that id at a site. */
  async deleteKey(name: string, id: string): Promise<void> {
    await this.site(name).token.toolAsync('--delete-object', '--type', 'secrkey', '--id', id);
  }

  /** The labels `key <id>` of the secret keys at a site, as pkcs11-tool lists them, in order. */
  async keysAt(name: string): Promise<string[]> {
    const listed = await this.site(name).token.toolAsync('--list-objects', '--type', 'secrkey');
    return [...listed.matchAll(/label: +(key \S+)$/gm)].map(([, label]) => label!).sort();
  }

  /** Ends everything that runs, and leaves the folders. */
  async stop(): Promise<void> {
    this.operator?.close();
    await closeAll([...this.sites.keys()].map((name) => ({ close: () => this.stopAgent(name) })));
    await this.coordinator?.close();
    await this.coordinatorProcess?.killAll();
    for (const one of this.coordinatorProcesses.values()) await one.killAll();
    await closeAll(this.links);
  }

  async close(): Promise<void> {
    await this.stop();
    for (const { token, scratch } of this.sites.values()) {
      token.remove();
      scratch?.remove();
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #setUp(
    links: Links,
    {
      officerKeys,
      distributor,
      spare,
      delayMs,
      timings,
      tokens,
      disguise,
    }: { officerKeys: boolean; distributor: boolean; spare: boolean } & Required<
      Pick<SystemOptions, 'delayMs' | 'timings' | 'tokens'>
    > & { disguise: NonNullable<SystemOptions['disguise']> },
  ): Promise<void> {
    this.#hasDistributor = distributor;
    this.#town = await Town.found({
      folder: this.folder,
      trustDomain: 'test.antipode',
      operator: 'test',
      timings,
      ...(this.#shared === undefined ? {} : { coordinators: COORDINATORS }),
      network: this.#network,
    });
    this.coordinatorTls = this.#town.tls('coordinator');
    const { address } = this.#town.coordinator;
    const finder = new LeaderFinder({
      coordinators: this.#town.coordinators,
      patienceMs: this.#timeoutMs,
      dial: (service, coordinator) => this.dialCoordinator(service, coordinator.id),
    });
    this.operator = patient(finder.client(OperatorService), { timeoutMs: this.#timeoutMs });
    const prepared = new Map<string, ReadonlyMap<string, Start>>();
    for (const name of ['a', 'b', 'c', ...(distributor || spare ? ['d'] : [])]) {
      const { label, pin } = tokens(name);
      const role = distributor && name === 'd' ? 'distributor' : 'member';
      // The keys of a site of the previous release are made by that release, and are kept for nobody.
      const release = this.#behind.has(name) ? ['previous release'] : [];
      const main = new PreparedPartition(name, role, { label, pin, officerKeys }, ...release);
      const token = disguise(name, makeToken(label, { pin, fill: main.fill }));
      const other = new PreparedPartition(name, 'scratch', { officerKeys }, ...release);
      const scratch =
        name === 'c' || (spare && name === 'd')
          ? disguise(name, makeToken(`scratch-${name}`, { fill: other.fill }))
          : undefined;
      prepared.set(
        name,
        new Map([
          ['main', { start: main, token }],
          ...(scratch === undefined ? [] : [['scratch', { start: other, token: scratch }] as const]),
        ]),
      );
      const partition = (one: TestToken, partitionName: string, role: PartitionPlan['role']): PartitionPlan => ({
        name: partitionName,
        module: one.config.module,
        tokenLabel: one.label,
        pinFile: one.config.pinFile,
        environment: one.environment,
        role,
        ...(officerKeys ? { officerKey: true } : {}),
      });
      const port = links === 'none' ? 0 : await freePort();
      const inbound =
        links === 'none' ? undefined : await openLink(port, { delayMs, isRecording: links === 'recorded' });
      const outbound = links === 'everywhere' ? await openLink(parseAddress(address)!.port, { delayMs }) : undefined;
      this.links.push(...[inbound, outbound].filter((link) => link !== undefined));
      const { folder, configFile } = await this.#town.settle({
        name,
        listen: inbound === undefined ? undefined : `localhost:${port}`,
        advertise: inbound?.address,
        coordinatorAddress: outbound?.address,
        partitions: [
          partition(token, 'main', role),
          ...(scratch === undefined ? [] : [partition(scratch, 'scratch', 'scratch')]),
        ],
      });
      this.sites.set(name, {
        name,
        folder,
        configFile,
        token,
        scratch,
        serial: '',
        scratchSerial: '',
        agent: undefined,
        process: undefined,
        inbound,
        outbound,
      });
    }
    const dataOf = (site: string): string => loadAgentConfig(this.site(site).configFile).dataFolder;
    for (const [site, partitions] of prepared) {
      if (this.#behind.has(site)) continue;
      const journal = Journal.open(dataOf(site), { site });
      for (const [partition, { start }] of partitions)
        if (start.identity !== undefined) journal.identities.add(partition, start.identity.record);
      journal.close();
    }
    const known = (site: string, partition: string) =>
      this.#behind.has(site)
        ? this.#initialiseBehind(this.site(site), partition)
        : prepared.get(site)?.get(partition)?.start.identity?.known;
    for (const { site, partition, role, serial, identitySha256, pin } of await this.#town.introduce(GROUP, known)) {
      if (role === 'scratch') this.site(site).scratchSerial = serial;
      else this.site(site).serial = serial;
      const { start, token } = prepared.get(site)!.get(partition)!;
      if (start.identity !== undefined || this.#behind.has(site)) continue;
      const journal = Journal.open(dataOf(site), { site });
      const record = journal.identities.of(partition)!;
      journal.close();
      start.keep(join(token.folder, 'tokens'), { record, known: { serial, identitySha256, pin } });
    }
  }

  /** The previous release makes the identity of a partition, in its own journal. */
  #initialiseBehind({ configFile }: TestSite, partition: string): KnownIdentity {
    const words = ['partition', 'init', partition, '--config', configFile, '--yes', '--json'];
    return JSON.parse(this.#previous!.run(words)) as KnownIdentity;
  }
}
