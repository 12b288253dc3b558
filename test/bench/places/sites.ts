/**
 * Two sites as in production: agents in processes of their own, with journal, store, worker and mutual TLS. This file
 * is their coordinator, and grants every lease.
 */
import type { ChildProcess } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, Town } from '@antipode/demo/town';
import {
  type Client,
  CoordinatorService,
  createClient,
  MemberRole,
  RpcServer,
  SiteAgentService,
  type Tls,
} from '@antipode/protocol';
import { bytesEqual, silentLog, systemClock } from '@antipode/runtime';
import { SOFTHSM_MODULE, type TestToken } from '../../support/tokens.ts';
import { residentMiB } from './machine.ts';
import type { Workspace } from './workspace.ts';

const ANTIPODE = fileURLToPath(new URL('../../../bin/antipode', import.meta.url));
export const GROUP = 'bench';
const LEASE_MS = 600_000n;
const ORDER_TIMEOUT_MS = 30 * 60_000;
/** As in earnest. */
const HEARTBEAT_MS = 1_000;
/** An agent that is held up for long is to be measured, not dropped. */
const KEEPALIVE = { timeMs: 60_000, timeoutMs: 60_000 };
const START_TIMEOUT_MS = 60_000;

export interface Captured {
  readonly ms: number;
  readonly isNew: boolean;
  readonly manifestDigest: Uint8Array;
  readonly contentDigest: Uint8Array;
}

export class BenchSite {
  readonly name: string;
  readonly token: TestToken;
  readonly folder: string;
  readonly configFile: string;
  readonly port: number;
  readonly tls: { readonly caFile: string; readonly certificateFile: string; readonly keyFile: string };
  serial = '';
  /** The longest that the agent's event loop was held up, by its own account. */
  loopDelayMs = 0;
  agent: ChildProcess | undefined;
  client: Client<typeof SiteAgentService> | undefined;

  constructor(options: { name: string; token: TestToken; folder: string; port: number }) {
    this.name = options.name;
    this.token = options.token;
    this.folder = options.folder;
    this.port = options.port;
    this.configFile = join(this.folder, 'agent.yaml');
    this.tls = {
      caFile: join(this.folder, 'ca.crt'),
      certificateFile: join(this.folder, 'tls.crt'),
      keyFile: join(this.folder, 'tls.key'),
    };
  }

  /** Of the agent alone: its worker is another process. */
  residentMiB(): { now: number; peak: number } {
    return residentMiB(this.agent?.pid ?? 0);
  }
}

export class BenchSites {
  readonly #workspace: Workspace;
  readonly #folder: string;
  /** The cache that an agent finds on every start except the first. */
  readonly #cache: string;
  /** For profiling the agents. */
  readonly #agentEnvironment: Readonly<Record<string, string>>;
  #server: RpcServer | undefined;
  #tls: Tls | undefined;
  #requests = 0;
  /** Of site a. */
  #heartbeats = 0;
  a!: BenchSite;
  b!: BenchSite;
  /** Where site b is kept as it was when it had its domain key and nothing else. */
  #empty = '';

  private constructor(workspace: Workspace, agentEnvironment: Readonly<Record<string, string>>) {
    this.#workspace = workspace;
    this.#agentEnvironment = agentEnvironment;
    this.#folder = workspace.folder('sites');
    this.#cache = workspace.folder('cache');
  }

  /** @param source a filled token: site a is active on it. Site b stands by with an empty one */
  static async start(
    workspace: Workspace,
    { source, agentEnvironment }: { source: TestToken; agentEnvironment: Readonly<Record<string, string>> },
  ): Promise<BenchSites> {
    const sites = new BenchSites(workspace, agentEnvironment);
    await sites.#start(source);
    return sites;
  }

  async #start(source: TestToken): Promise<void> {
    const town = await Town.found({ folder: this.#folder, trustDomain: 'bench.antipode', operator: 'bench' });
    this.#tls = town.tls('coordinator');
    this.#server = new RpcServer({ tls: this.#tls, log: silentLog });
    this.#server.add(CoordinatorService, {
      getLeader: async () => ({ coordinator: town.coordinator.id, term: 1n, leader: town.coordinator.id }),
      heartbeat: async ({ state, loopDelayMs }) => {
        if (state?.site === 'a') this.#heartbeats += 1;
        const site = [this.a, this.b].find(({ name }) => name === state?.site);
        if (site !== undefined) site.loopDelayMs = Math.max(site.loopDelayMs, loopDelayMs);
        return {
          intervalMs: HEARTBEAT_MS,
          leases: [{ group: GROUP, epoch: 1n, leaseMs: LEASE_MS, selfStopMs: LEASE_MS }],
        };
      },
    });
    await this.#server.listen(town.coordinator.address);
    this.a = await settle(town, { name: 'a', token: source });
    this.b = await settle(town, { name: 'b', token: this.#workspace.token('bench-b') });
    for (const { site, serial } of await town.introduce(GROUP)) (site === 'a' ? this.a : this.b).serial = serial;
    for (const site of [this.a, this.b]) await this.startAgent(site);
    const roles = [
      [this.a, MemberRole.ACTIVE],
      [this.b, MemberRole.STANDBY],
    ] as const;
    for (const [site, role] of roles)
      await this.#order(site).setRole({ fence: this.#fence(), serial: site.serial, role });
    const { failures } = await this.#order(this.a).distributeDomainKey({
      fence: this.#fence(),
      version: 1,
      members: [this.a, this.b].map((site) => ({ site: this.addressOf(site), serial: site.serial })),
    });
    if (failures.length > 0) throw new Error(`the domain key did not arrive: ${failures[0]?.message}`);
    await this.stopAgent(this.b);
    // Site b is started again for every round; site a as well, so that both have been started before.
    await this.stopAgent(this.a);
    await this.startAgent(this.a);
    await this.#untilLeased();
    this.#empty = this.#workspace.folder('empty');
    for (const [name, from] of this.#partsOf(this.b)) cpSync(from, join(this.#empty, name), { recursive: true });
  }

  /** Site b as it was before its first generation; its agent is stopped. */
  async emptyStandby(): Promise<void> {
    await this.stopAgent(this.b);
    for (const [name, to] of this.#partsOf(this.b)) {
      rmSync(to, { recursive: true, force: true });
      cpSync(join(this.#empty, name), to, { recursive: true });
    }
  }

  async startAgent(site: BenchSite): Promise<void> {
    const agent = this.#workspace.spawn(ANTIPODE, ['agent', 'run', '--config', site.configFile], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        ...process.env,
        ...this.#agentEnvironment,
        ANTIPODE_LOG_LEVEL: 'error',
        XDG_CACHE_HOME: this.#cache,
      },
    });
    site.agent = agent;
    site.client = createClient(SiteAgentService, {
      address: this.addressOf(site).address,
      tls: this.#tls!,
      expected: { kind: 'site', name: site.name },
      defaultTimeoutMs: ORDER_TIMEOUT_MS,
      keepalive: KEEPALIVE,
    });
    const endMs = systemClock.monotonicMs() + START_TIMEOUT_MS;
    for (;;) {
      if (agent.exitCode !== null)
        throw new Error(`the agent of site ${site.name} ended (exit code ${agent.exitCode})`);
      const described = await this.#order(site)
        .describe({}, { timeoutMs: 2_000 })
        .catch(() => undefined);
      if (described?.partitions.some(({ serial }) => serial === site.serial)) return;
      if (systemClock.monotonicMs() > endMs) throw new Error(`the agent of site ${site.name} does not answer`);
      await systemClock.sleep(100);
    }
  }

  async stopAgent(site: BenchSite): Promise<void> {
    const { agent } = site;
    site.client?.close();
    site.agent = undefined;
    if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
    const ended = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill('SIGTERM');
    await ended;
  }

  async capture(): Promise<Captured> {
    const startMs = systemClock.monotonicMs();
    const { generation, isNew } = await this.#order(this.a).capture({ fence: this.#fence(), domainKeyVersion: 1 });
    if (generation === undefined) throw new Error('the capture gave no generation');
    const { manifestDigest, contentDigest } = generation;
    return { ms: systemClock.monotonicMs() - startMs, isNew, manifestDigest, contentDigest };
  }

  /** Pulls, restores and reads back at site b. @param address how site b reaches site a */
  async acknowledge(
    { manifestDigest, contentDigest }: Captured,
    address = this.addressOf(this.a).address,
  ): Promise<{ totalMs: number; applyMs: number; verifyMs: number }> {
    const generation = { manifestDigest };
    const startMs = systemClock.monotonicMs();
    await this.apply(generation, address);
    const appliedMs = systemClock.monotonicMs();
    const verified = await this.#order(this.b).verify({ fence: this.#fence(), generation });
    const endMs = systemClock.monotonicMs();
    if (!bytesEqual(verified.contentDigest, contentDigest) || verified.proof?.failed !== 0)
      throw new Error('the standby is not equal');
    return { totalMs: endMs - startMs, applyMs: appliedMs - startMs, verifyMs: endMs - appliedMs };
  }

  /** The order alone: site b pulls from site a, and restores. */
  async apply(
    generation: { readonly manifestDigest: Uint8Array },
    address = this.addressOf(this.a).address,
  ): Promise<void> {
    await this.#order(this.b).apply({ fence: this.#fence(), generation, sources: [{ site: 'a', address }] });
  }

  addressOf({ name, port }: BenchSite): { site: string; address: string } {
    return { site: name, address: `localhost:${port}` };
  }

  async close(): Promise<void> {
    for (const site of [this.a, this.b]) await this.stopAgent(site);
    await this.#server?.close(0);
  }

  #order({ name, client }: BenchSite): Client<typeof SiteAgentService> {
    if (client === undefined) throw new Error(`the agent of site ${name} was not started`);
    return client;
  }

  /** A lease comes with the answer to a heartbeat that began under the epoch; the one after it shows that it has come. */
  async #untilLeased(): Promise<void> {
    const wanted = this.#heartbeats + 2;
    while (this.#heartbeats <= wanted) await systemClock.sleep(HEARTBEAT_MS / 5);
  }

  #fence() {
    this.#requests += 1;
    return { group: GROUP, epoch: 1n, owner: 'a', requestId: `bench-${this.#requests}` };
  }

  #partsOf({ folder, token }: BenchSite): [string, string][] {
    return [
      ['data', join(folder, 'data')],
      ['tokens', join(token.folder, 'tokens')],
    ];
  }
}

async function settle(town: Town, { name, token }: { name: string; token: TestToken }): Promise<BenchSite> {
  const port = await freePort();
  const { folder } = await town.settle({
    name,
    listen: `localhost:${port}`,
    partitions: [
      {
        name: 'main',
        module: SOFTHSM_MODULE,
        tokenLabel: token.label,
        pinFile: token.config.pinFile,
        environment: token.environment,
        role: 'member',
      },
    ],
  });
  return new BenchSite({ name, token, folder, port });
}
