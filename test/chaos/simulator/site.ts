/**
 * A site: a machine with a disk, an HSM with two partitions, and the process of its agent, which may end and start again.
 * A witness site has no HSM.
 */
import { type MemberCopy, SimulatedMember } from '@antipode/hsm-core/testing';
import { LeaderFinder, SiteAgentService } from '@antipode/protocol';
import { hasCode, type Log } from '@antipode/runtime';
import {
  AgentLoops,
  ApprovalRules,
  type ApprovalSettings,
  buildSite,
  GenerationStore,
  GRACE_MS,
  Heartbeat,
  Journal,
  Link,
  Partitions,
  type Pin,
  type Site,
  siteAgentHandlers,
} from '@antipode/site-agent/testing';
import { Chance } from './chance.ts';
import { MachineClock, ProcessClock, SimulatedProcess, type WorldClock } from './clock.ts';
import { type DiskCopy, ProcessEnded, SimulatedDisk } from './disk.ts';
import { GROUP } from './groups.ts';
import { SimulatedPartition } from './hsm.ts';
import type { SimulatedNetwork } from './network.ts';

/** How long a call to an HSM takes. */
const CALL_MS = 0.4;
const RETENTION_MS_MIN = 7 * 86_400_000;

/** The parts of a site that outlive its processes. */
export interface SiteCopy {
  readonly disk: DiskCopy;
  /** Absent at a witness, as the other one is. */
  readonly member?: MemberCopy;
  readonly scratch?: MemberCopy;
  /** Absent where no other group is. */
  readonly bystander?: MemberCopy | undefined;
}

export interface SimulatedSiteOptions {
  readonly name: string;
  readonly seed: string;
  readonly world: WorldClock;
  readonly network: SimulatedNetwork;
  readonly coordinators: readonly string[];
  readonly isWitness?: boolean;
  /** It has a partition of another group too. */
  readonly hasBystander?: boolean;
  /** With them the agent guards its groups. */
  readonly approvals?: ApprovalSettings | undefined;
  /** Begins with this, and not with nothing. */
  readonly copy?: SiteCopy | undefined;
  readonly logOf: (who: string, process: SimulatedProcess) => Log;
}

export class SimulatedSite {
  readonly name: string;
  readonly disk: SimulatedDisk;
  readonly machine: MachineClock;
  /** A witness has neither of them. */
  member!: SimulatedMember;
  scratch!: SimulatedMember;
  readonly isWitness: boolean;
  /** Its partition of another group. */
  bystander: SimulatedMember | undefined;
  process: SimulatedProcess;
  site!: Site;
  clock!: ProcessClock;
  /** The machine has no power. */
  isOff = false;
  /** After so many changes of a token, or halves of one, the process ends in the middle of a call. */
  crashInSteps: number | undefined;
  /** Told after each call of the agent to its HSM. */
  onCallBegins: () => void = () => {};
  onToken: () => void = () => {};
  onScratch: () => void = () => {};
  readonly #options: SimulatedSiteOptions;
  readonly #pins = new Map<string, Pin[]>();
  #starts = 0;
  /** Calls to the address of the site arrive at its own agent. */
  #serve = (): void => {};

  private constructor(options: SimulatedSiteOptions) {
    this.#options = options;
    this.name = options.name;
    this.isWitness = options.isWitness ?? false;
    this.disk = new SimulatedDisk(options.copy?.disk);
    this.machine = new MachineClock(options.world);
    this.process = new SimulatedProcess(`site ${options.name}`, options.world);
    this.process.end();
  }

  /** Its member partition is `<name>-1`, and its scratch partition `<name>-2`. The agent does not run yet. */
  static async make(options: SimulatedSiteOptions): Promise<SimulatedSite> {
    const site = new SimulatedSite(options);
    if (site.isWitness) return site;
    // The HSM counts its own time by the machine of the agent, and outlives the process.
    const { world } = options;
    const clock = new ProcessClock(world, site.machine, new SimulatedProcess('hsm', world));
    const time = {
      wallMs: () => clock.wallMs(),
      monotonicMs: () => clock.monotonicMs(),
      sleep: (ms: number, signal?: AbortSignal) => (site.clock ?? clock).sleep(ms, signal),
      isSliceOver: () => false,
      makeWay: () => (site.clock ?? clock).makeWay(),
    };
    const { copy, name, seed } = options;
    const made = async (role: 'member' | 'scratch' | 'bystander', serial: string): Promise<SimulatedMember> => {
      const before = copy?.[role];
      if (before === undefined) return SimulatedMember.make(serial, { clock: time });
      return SimulatedMember.from(before, { clock: time, prng: new Chance(`${seed} hsm ${serial}`) });
    };
    site.member = await made('member', `${name}-1`);
    // Every call takes some time, so that a process can end between two of them.
    site.member.hsm.faults.callMs = CALL_MS;
    site.scratch = await made('scratch', `${name}-2`);
    if (options.hasBystander === true) {
      site.bystander = await made('bystander', `${name}-3`);
      site.bystander.hsm.faults.callMs = CALL_MS;
    }
    return site;
  }

  copy(): SiteCopy {
    const disk = this.disk.copy();
    if (this.isWitness) return { disk };
    const { member, scratch, bystander } = this;
    return { disk, member: member.copy(), scratch: scratch.copy(), bystander: bystander?.copy() };
  }

  get isRunning(): boolean {
    return this.process.state === 'running';
  }

  start(): void {
    const { name, network, world } = this.#options;
    if (!this.process.hasEnded || this.isOff) return;
    const launched = this.#launch(this.disk, { place: this.#starts === 0 ? name : '' });
    // Its disk is full or locked: the supervisor of the machine tries again.
    if (launched === undefined) {
      world.after(1_000, () => this.start());
      return;
    }
    const { process, clock, site } = launched;
    this.process = process;
    this.clock = clock;
    this.site = site;
    this.#serve = () => network.serve(this.#party, SiteAgentService, { process, handlers: launched.handlers });
    this.#serve();
  }

  /**
   * Starts a second agent on a copy of the disk, at another machine with the same HSM. Calls to the address of the site
   * arrive there.
   * @returns stops it again
   */
  startCopy(copy: DiskCopy): () => void {
    const { name, network } = this.#options;
    const disk = new SimulatedDisk(copy);
    const launched = this.#launch(disk, { place: `a copy of ${name}` });
    if (launched === undefined) return () => {};
    const { process, handlers } = launched;
    network.serve(this.#party, SiteAgentService, { process, handlers });
    return () => {
      process.end();
      disk.endTransactions();
      network.reset(name);
      this.#serve();
    };
  }

  /** @returns undefined where the disk refuses */
  #launch(disk: SimulatedDisk, { place }: { place: string }) {
    const { name, seed, world, network, logOf } = this.#options;
    this.#starts += 1;
    const process = new SimulatedProcess(`site ${name}`, world);
    const clock = new ProcessClock(world, this.machine, process);
    const prng = new Chance(`${seed} site ${name} ${this.#starts}`);
    const log = logOf(`site ${name}`, process);
    let journal: Journal;
    let store: GenerationStore;
    try {
      journal = Journal.inMemory({ prng, connect: () => disk.open('journal', process) });
      // It holds the lock of this disk, so the run before has ended.
      journal.beginRun({ place });
      store = GenerationStore.inMemory({ clock, connect: () => disk.open('store', process) });
    } catch (thrown) {
      process.end();
      if (hasCode(thrown, 'FILE_BUSY', 'FILE_UNWRITABLE')) return undefined;
      throw thrown;
    }
    disk.sync();
    const caller = { party: this.#party, process, clock };
    const partition = (member: SimulatedMember, role: 'member' | 'scratch') =>
      new SimulatedPartition({
        member,
        journal,
        role,
        process,
        log,
        beforeCall: () => {
          if (member === this.member) this.onCallBegins();
        },
        afterCall: () => this.#onCall(member),
        interrupt: () => this.#interrupt(process),
      });
    const partitions = this.isWitness
      ? []
      : [
          partition(this.member, 'member'),
          partition(this.scratch, 'scratch'),
          ...(this.bystander === undefined ? [] : [partition(this.bystander, 'member')]),
        ];
    const site = buildSite({
      name,
      instance: `${name} ${this.#starts}`,
      version: '0',
      clock,
      prng,
      log,
      journal,
      store,
      partitions: new Partitions(partitions),
      peers: {
        client: ({ site: peer }) => network.client(SiteAgentService, caller, { kind: 'site', name: peer }),
        learn: () => {},
        keepWarm: async () => {},
        close: async () => {},
      },
      approvalRules: new ApprovalRules(this.#options.approvals),
      pins: { of: (group) => this.#pins.get(group) ?? [] },
      loopDelay: { maxMs: () => 0 },
      collectGarbage: () => {},
      deletedRetentionMsMin: RETENTION_MS_MIN,
      eraseGraceMs: GRACE_MS,
    });
    const heartbeat = new Heartbeat({
      site,
      coordinators: new LeaderFinder({
        coordinators: this.#options.coordinators.map((id) => ({ id, address: `${id}:1` })),
        clock,
        dial: (service, { id }) => network.client(service, caller, { kind: 'coordinator', name: id }),
      }),
      advertise: () => `${name}:1`,
      link: new Link(),
    });
    const loops = new AgentLoops({ site });
    heartbeat.start();
    loops.start();
    return { process, clock, site, handlers: siteAgentHandlers(site) };
  }

  get #party() {
    return { kind: 'site', name: this.name } as const;
  }

  #onCall(member: SimulatedMember): void {
    if (member === this.member) this.onToken();
    else if (member === this.scratch) this.onScratch();
  }

  #interrupt(process: SimulatedProcess): void {
    if (this.crashInSteps === undefined || process.hasEnded) return;
    this.crashInSteps -= 1;
    if (this.crashInSteps > 0) return;
    this.crashInSteps = undefined;
    this.kill();
    throw new ProcessEnded();
  }

  /** SIGKILL: nothing of the process goes on. Its machine says so to whoever is connected. */
  kill(): void {
    if (this.process.hasEnded) return;
    this.process.end();
    this.disk.endTransactions();
    this.#options.network.reset(this.name);
  }

  pause(): void {
    this.process.pause();
    this.#options.network.stalled();
  }

  resume(): void {
    this.process.resume();
  }

  /** The whole site: no power, and its HSM with it. */
  switchOff(): void {
    this.isOff = true;
    this.process.end();
    this.disk.failPower();
    this.#options.network.switchOff(this.name);
  }

  switchOn(): void {
    this.isOff = false;
    this.#options.network.switchOn(this.name);
    this.start();
  }

  /** Trusts the partitions of another site for a group. */
  pin(group: string, { name: site, member, scratch, bystander }: SimulatedSite): void {
    const pin = ({ serial, fingerprint }: SimulatedMember, role: Pin['role']): Pin => ({
      site,
      serial,
      identity: fingerprint,
      role,
    });
    const own = group === GROUP ? [pin(member, 'member'), pin(scratch, 'scratch')] : [];
    const other = group === GROUP || bystander === undefined ? [] : [pin(bystander, 'member')];
    this.#pins.set(group, [...(this.#pins.get(group) ?? []), ...own, ...other]);
  }
}
