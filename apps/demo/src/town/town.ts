/**
 * Sites and a coordinator on one machine. The town makes an authority, certificates, configuration, identities and pins,
 * each in the folder that its place would have. It makes no token. It starts a process only when asked.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CoordinatorAddress, Tls } from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import {
  makeAuthority,
  makeCoordinatorFolder,
  makeOperatorFolder,
  makeSiteFolder,
  type PartitionDraft,
} from '@antipode/setup';
import {
  initialisePartition,
  loadAgentConfig,
  type PartitionIdentity,
  type Pin,
  pinPartitions,
} from '@antipode/site-agent';
import { freePort, TownProcess, type TownProcessOptions } from './processes.ts';

const COORDINATORS: readonly string[] = ['main'];

/** Others may pass through, whatever the umask: where we are root, PostgreSQL is another user. */
const PASSABLE = 0o711;

export type PartitionPlan = PartitionDraft;

export interface SitePlan {
  readonly name: string;
  readonly partitions: readonly PartitionPlan[];
  /** Where its agent listens; by default on a port that the system chooses as it starts. */
  readonly listen?: string | undefined;
  /** Where others reach it, where that differs. */
  readonly advertise?: string | undefined;
  /** Where it reaches the first coordinator, where that differs. */
  readonly coordinatorAddress?: string | undefined;
}

export interface TownSite {
  readonly name: string;
  readonly folder: string;
  readonly configFile: string;
}

/** The part of an identity that other sites must know. */
export type KnownIdentity = Pick<PartitionIdentity, 'serial' | 'identitySha256' | 'pin'>;

/** A partition that has its identity. */
export interface TownIdentity extends KnownIdentity {
  readonly site: string;
  /** Its name within the site. */
  readonly partition: string;
  readonly role: PartitionPlan['role'];
}

/** Where the places of a town are on the network, and how their processes are started there. */
export interface TownNetwork {
  /** The host at which others reach a place: a coordinator or a site, by its name. */
  host(place: string): string;
  /** Words in front of the command of a process of that place. */
  within(place: string): readonly string[];
}

const LOOPBACK: TownNetwork = { host: () => 'localhost', within: () => [] };

type ProcessOptions = Pick<TownProcessOptions, 'temporaryFolder' | 'environment' | 'main'>;

export class Town {
  readonly folder: string;
  /** The first of them is `main`. */
  readonly coordinators: readonly CoordinatorAddress[];
  readonly sites = new Map<string, TownSite>();
  readonly #network: TownNetwork;

  private constructor(folder: string, coordinators: readonly CoordinatorAddress[], network: TownNetwork) {
    this.folder = folder;
    this.coordinators = coordinators;
    this.#network = network;
  }

  /** In a folder that is there: the authority, the folders of the coordinators and an operator's. */
  static async found(options: {
    folder: string;
    trustDomain: string;
    operator: string;
    timings?: 'fast' | 'default' | 'wan';
    /** Names of the coordinators. Several share one database and one Redis, which the town does not run. */
    coordinators?: readonly string[];
    servers?: { readonly databaseUrl: string; readonly redisUrl?: string };
    /** Default: everything on loopback. */
    network?: TownNetwork | undefined;
  }): Promise<Town> {
    const { folder, trustDomain, operator, timings, servers, network = LOOPBACK } = options;
    chmodSync(folder, PASSABLE);
    const coordinators: CoordinatorAddress[] = [];
    for (const id of options.coordinators ?? COORDINATORS)
      coordinators.push({ id, address: `${network.host(id)}:${await freePort()}` });
    const town = new Town(folder, coordinators, network);
    const { authority } = town;
    await makeAuthority({ folder: authority, trustDomain });
    for (const { id, address: listen } of coordinators)
      await makeCoordinatorFolder({
        folder: town.#folderOfCoordinator(id),
        authority,
        id,
        listen,
        timings,
        ...servers,
      });
    await makeOperatorFolder({ folder: join(folder, 'operator'), authority, name: operator, coordinators });
    return town;
  }

  get coordinator(): CoordinatorAddress {
    return this.coordinators[0]!;
  }

  get authority(): string {
    return join(this.folder, 'authority');
  }

  get coordinatorFile(): string {
    return this.fileOfCoordinator(this.coordinator.id);
  }

  fileOfCoordinator(id: string): string {
    return join(this.#folderOfCoordinator(id), 'coordinator.yaml');
  }

  #folderOfCoordinator(id: string): string {
    return join(this.folder, id === this.coordinator.id ? 'coordinator' : `coordinator-${id}`);
  }

  get operatorFile(): string {
    return join(this.folder, 'operator', 'operator.yaml');
  }

  site(name: string): TownSite {
    const site = this.sites.get(name);
    if (site === undefined) throw new Error(`there is no site ${name}`);
    return site;
  }

  /** TLS of the process whose folder this is: `coordinator`, `operator` or `site-a`. */
  tls(place: string): Tls {
    return new Tls({
      caFile: join(this.folder, place, 'ca.crt'),
      certificateFile: join(this.folder, place, 'tls.crt'),
      keyFile: join(this.folder, place, 'tls.key'),
    });
  }

  /** The folder of a site that is to be settled; it may be there before, with the tokens in it. */
  folderOf(name: string): string {
    const folder = join(this.folder, `site-${name}`);
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  /** A site on tokens that are initialised. */
  async settle({ name, partitions, listen, advertise, coordinatorAddress }: SitePlan): Promise<TownSite> {
    const folder = this.folderOf(name);
    const [first, ...others] = this.coordinators as readonly [CoordinatorAddress, ...CoordinatorAddress[]];
    await makeSiteFolder({
      folder,
      authority: this.authority,
      site: name,
      listen: listen ?? `${this.#network.host(name)}:0`,
      advertise,
      coordinators: [{ ...first, address: coordinatorAddress ?? first.address }, ...others],
      partitions,
    });
    const site = { name, folder, configFile: join(folder, 'agent.yaml') };
    this.sites.set(name, site);
    return site;
  }

  /**
   * Gives every partition its identity, and pins them all at every site. No agent runs yet.
   * @param group whose members they are
   * @param known what a partition is that has its identity, of which the journal of its site knows
   */
  async introduce(
    group: string,
    known: (site: string, partition: string) => KnownIdentity | undefined = () => undefined,
  ): Promise<TownIdentity[]> {
    const pins: Pin[] = [];
    const identities: TownIdentity[] = [];
    for (const { name: site, configFile } of this.sites.values()) {
      const config = loadAgentConfig(configFile);
      for (const { name: partition, role } of config.partitions) {
        const { serial, identitySha256, pin } =
          known(site, partition) ?? (await initialisePartition({ config, name: partition, log: silentLog }));
        pins.push(pin);
        identities.push({ site, partition, role, serial, identitySha256, pin });
      }
    }
    for (const { configFile } of this.sites.values())
      pinPartitions({ config: loadAgentConfig(configFile), group, pins });
    return identities;
  }

  /** A coordinator as a process of its own; the first one if none is named. */
  startCoordinator({ id = this.coordinator.id, ...options }: ProcessOptions & { id?: string } = {}): TownProcess {
    const name = id === this.coordinator.id ? 'coordinator' : `coordinator-${id}`;
    return new TownProcess({
      ...options,
      name,
      within: this.#network.within(id),
      args: ['coordinator', 'run', '--config', this.fileOfCoordinator(id)],
      logFile: join(this.folder, `${name}.log`),
    });
  }

  /** The agent of a site as a process of its own. */
  startAgent(name: string, options: ProcessOptions = {}): TownProcess {
    return new TownProcess({
      ...options,
      within: this.#network.within(name),
      name: `agent of site ${name}`,
      args: ['agent', 'run', '--config', this.site(name).configFile],
      logFile: join(this.folder, `site-${name}.log`),
    });
  }
}
