/** The places of a demonstration: its town, with tokens and an agent at each site, and its coordinators. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError, systemClock, temporaryBase } from '@antipode/runtime';
import type { DemoCommands } from './commands.ts';
import type { DemoToken } from './token.ts';
import type { TownProcess } from './town/processes.ts';
import { softhsmModule } from './town/softhsm.ts';
import { type PartitionPlan, Town, type TownIdentity } from './town/town.ts';

export const SITES = ['a', 'b', 'c'] as const;
export type SiteName = (typeof SITES)[number];
const POLL_MS = 100;
const PASSABLE = 0o711;

/** The HSMs of a site. */
export interface SiteTokens {
  /** Its member partition; absent at a witness. */
  readonly token?: DemoToken;
  readonly scratch?: DemoToken;
  /** Adds to the configuration of its agent. */
  readonly configured?: (agentYaml: string) => string;
}

/** The settings in which demonstrations differ. */
export interface PlacesOptions {
  /** Names of the coordinators; the first one is `main`. They share a database. */
  readonly coordinators: readonly string[];
  /** Makes the tokens of all sites. `root` is the folder of everything, `folderOf` that of a site. */
  readonly makeTokens: (place: {
    root: string;
    folderOf: (site: SiteName) => string;
  }) => Readonly<Record<SiteName, SiteTokens>>;
}

export interface DemoSite {
  readonly name: SiteName;
  readonly folder: string;
  serial: string;
  agent: TownProcess | undefined;
}

export class Places {
  readonly #options: PlacesOptions;
  readonly #sites = new Map<SiteName, DemoSite>();
  readonly #tokens = new Map<SiteName, DemoToken>();
  #root = '';
  #isClosing = false;
  #town!: Town;
  readonly #coordinators = new Map<string, TownProcess>();
  #database: { close(): Promise<void> } | undefined;
  #scratchSerial = '';

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /** Empty before anything is made. */
  get folder(): string {
    return this.#root;
  }

  get operatorFile(): string {
    return this.#town.operatorFile;
  }

  get scratchSerial(): string {
    return this.#scratchSerial;
  }

  site(name: string): DemoSite {
    const site = this.#sites.get(name as SiteName);
    if (site === undefined) throw new AntipodeError('NOT_FOUND', `the demonstration has no site ${name}`);
    return site;
  }

  /** The token of its member partition. */
  token(name: string): DemoToken {
    const token = this.#tokens.get(name as SiteName);
    if (token === undefined) throw new AntipodeError('NOT_FOUND', `site ${name} of the demonstration has no token`);
    return token;
  }

  /** Folders, tokens, certificates, configuration. The coordinators run, the agents do not yet. */
  async make({ serveDatabase }: Pick<DemoCommands, 'serveDatabase'>): Promise<void> {
    this.#root = mkdtempSync(join(temporaryBase(), 'antipode-demo-'));
    // Where we are root, PostgreSQL is another user, and passes through.
    chmodSync(this.#root, PASSABLE);
    const database = await serveDatabase(join(this.#root, 'database'));
    this.#database = database;
    const { coordinators, makeTokens } = this.#options;
    const town = await Town.found({
      folder: this.#root,
      trustDomain: 'demo.antipode',
      operator: 'demo',
      timings: 'fast',
      coordinators,
      servers: { databaseUrl: database.databaseUrl },
    });
    this.#town = town;
    const tokens = makeTokens({ root: this.#root, folderOf: (name) => town.folderOf(name) });
    for (const name of SITES) await this.#settle(name, tokens[name]);
    this.requireOpen();
    for (const id of coordinators)
      this.#coordinators.set(id, town.startCoordinator({ id, temporaryFolder: this.#root }));
  }

  async #settle(name: SiteName, { token, scratch, configured }: SiteTokens): Promise<void> {
    const partitions = [
      ...(token === undefined ? [] : [partition('main', token, 'member')]),
      ...(scratch === undefined ? [] : [partition('scratch', scratch, 'scratch')]),
    ];
    const { folder, configFile } = await this.#town.settle({ name, partitions });
    if (configured !== undefined) writeFileSync(configFile, configured(readFileSync(configFile, 'utf8')));
    this.#sites.set(name, { name, folder, serial: '', agent: undefined });
    if (token !== undefined) this.#tokens.set(name, token);
  }

  /** Gives every partition its identity, and pins them all at every site. */
  async introduce(group: string): Promise<readonly TownIdentity[]> {
    const identities = await this.#town.introduce(group);
    for (const { site, role, serial } of identities) {
      if (role === 'member') this.site(site).serial = serial;
      else this.#scratchSerial = serial;
    }
    return identities;
  }

  /** Kills a coordinator with everything that it has started. */
  async killCoordinator(id: string): Promise<void> {
    await this.#coordinators.get(id)?.killAll();
  }

  startAgents(names: readonly SiteName[] = SITES): void {
    for (const name of names) {
      this.requireOpen();
      this.site(name).agent = this.#town.startAgent(name, { temporaryFolder: this.#root });
    }
  }

  /** Nothing is started once it is to end, since nobody would end it. */
  requireOpen(): void {
    if (this.#isClosing) throw new AntipodeError('TIMED_OUT', 'interrupted');
  }

  /** Why one of the processes has ended though nobody told it to; undefined where all run. */
  endedProcess(): AntipodeError | undefined {
    const processes = [...this.#coordinators.values(), ...[...this.#sites.values()].map(({ agent }) => agent)];
    return processes.map((one) => one?.failure).find((failure) => failure !== undefined);
  }

  /** Asks until there is an answer. A coordinator that is still starting is not a failure. */
  async until<T>(what: string, timeoutMs: number, ask: () => Promise<T | undefined | false>): Promise<T> {
    const endMs = systemClock.monotonicMs() + timeoutMs;
    let last: unknown;
    while (systemClock.monotonicMs() < endMs) {
      try {
        const answer = await ask();
        if (answer) return answer;
      } catch (thrown) {
        if (AntipodeError.from(thrown).disposition !== 'retry') throw thrown;
        last = thrown;
      }
      const ended = this.endedProcess();
      if (ended !== undefined) throw ended;
      await systemClock.sleep(POLL_MS);
    }
    throw new AntipodeError('TIMED_OUT', `waited ${timeoutMs / 1_000} s until ${what}`, {
      details: { what },
      cause: last,
    });
  }

  /** Ends every process, and removes the folder unless it is to be kept. Idempotent, and may be called at any time. */
  async close({ keep }: { keep: boolean }): Promise<void> {
    this.#isClosing = true;
    await Promise.all([...this.#sites.values()].map(({ agent }) => agent?.stop()));
    await Promise.all([...this.#coordinators.values()].map((one) => one.stop()));
    await this.#database?.close();
    if (!keep && this.#root !== '') rmSync(this.#root, { recursive: true, force: true, maxRetries: 3 });
  }
}

function partition(name: string, token: DemoToken, role: PartitionPlan['role']): PartitionPlan {
  return {
    name,
    module: softhsmModule(),
    tokenLabel: token.label,
    pinFile: token.pinFile,
    role,
    environment: token.environment,
  };
}
