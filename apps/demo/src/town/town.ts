/**
 * Sites and a coordinator on one machine. The town makes an authority, certificates, configuration, identities and pins,
 * each in the folder that its place would have. It makes no token. It starts a process only when asked.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Tls } from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import {
  makeAuthority,
  makeCoordinatorFolder,
  makeOperatorFolder,
  makeSiteFolder,
  type PartitionDraft,
} from '@antipode/setup';
import { initialisePartition, loadAgentConfig, type Pin, pinPartitions } from '@antipode/site-agent';
import { freePort, TownProcess, type TownProcessOptions } from './processes.ts';

const COORDINATOR = 'main';

/** Others may pass through, whatever the umask: where we are root, PostgreSQL is another user. */
const PASSABLE = 0o711;

export type PartitionPlan = PartitionDraft;

export interface SitePlan {
  readonly name: string;
  readonly partitions: readonly PartitionPlan[];
  /** Where its agent listens; by default on a port that the system chooses as it starts. */
  readonly listen?: string;
  /** Where others reach it, where that differs. */
  readonly advertise?: string | undefined;
  /** Where it reaches the coordinator, where that differs. */
  readonly coordinatorAddress?: string | undefined;
}

export interface TownSite {
  readonly name: string;
  readonly folder: string;
  readonly configFile: string;
}

/** A partition that has its identity. */
export interface TownIdentity {
  readonly site: string;
  /** Its name within the site. */
  readonly partition: string;
  readonly role: PartitionPlan['role'];
  readonly serial: string;
  readonly identitySha256: string;
}

type ProcessOptions = Pick<TownProcessOptions, 'temporaryFolder' | 'environment'>;

export class Town {
  readonly folder: string;
  readonly coordinator: { readonly id: string; readonly address: string };
  readonly sites = new Map<string, TownSite>();

  private constructor(folder: string, coordinator: Town['coordinator']) {
    this.folder = folder;
    this.coordinator = coordinator;
  }

  /** In a folder that is there: the authority, the coordinator's folder and an operator's. */
  static async found(options: {
    folder: string;
    trustDomain: string;
    operator: string;
    timings?: 'fast' | 'default' | 'wan';
  }): Promise<Town> {
    const { folder, trustDomain, operator, timings } = options;
    chmodSync(folder, PASSABLE);
    const town = new Town(folder, { id: COORDINATOR, address: `localhost:${await freePort()}` });
    const { authority, coordinator } = town;
    await makeAuthority({ folder: authority, trustDomain });
    await makeCoordinatorFolder({
      folder: join(folder, 'coordinator'),
      authority,
      id: coordinator.id,
      listen: coordinator.address,
      timings,
    });
    await makeOperatorFolder({ folder: join(folder, 'operator'), authority, name: operator, coordinator });
    return town;
  }

  get authority(): string {
    return join(this.folder, 'authority');
  }

  get coordinatorFile(): string {
    return join(this.folder, 'coordinator', 'coordinator.yaml');
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
    const { address } = this.coordinator;
    await makeSiteFolder({
      folder,
      authority: this.authority,
      site: name,
      listen: listen ?? 'localhost:0',
      advertise,
      coordinator: { id: this.coordinator.id, address: coordinatorAddress ?? address },
      partitions,
    });
    const site = { name, folder, configFile: join(folder, 'agent.yaml') };
    this.sites.set(name, site);
    return site;
  }

  /** Gives every partition its identity, and pins them all at every site. No agent runs yet. */
  async introduce(group: string): Promise<TownIdentity[]> {
    const pins: Pin[] = [];
    const identities: TownIdentity[] = [];
    for (const { name: site, configFile } of this.sites.values()) {
      const config = loadAgentConfig(configFile);
      for (const { name: partition, role } of config.partitions) {
        const { serial, identitySha256, pin } = await initialisePartition({ config, name: partition, log: silentLog });
        pins.push(pin);
        identities.push({ site, partition, role, serial, identitySha256 });
      }
    }
    for (const { configFile } of this.sites.values())
      pinPartitions({ config: loadAgentConfig(configFile), group, pins });
    return identities;
  }

  /** The coordinator as a process of its own. */
  startCoordinator(options: ProcessOptions = {}): TownProcess {
    return new TownProcess({
      ...options,
      name: 'coordinator',
      args: ['coordinator', 'run', '--config', this.coordinatorFile],
      logFile: join(this.folder, 'coordinator.log'),
    });
  }

  /** The agent of a site as a process of its own. */
  startAgent(name: string, options: ProcessOptions = {}): TownProcess {
    return new TownProcess({
      ...options,
      name: `agent of site ${name}`,
      args: ['agent', 'run', '--config', this.site(name).configFile],
      logFile: join(this.folder, `site-${name}.log`),
    });
  }
}
