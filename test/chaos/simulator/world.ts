/**
 * A whole system in one process: sites, coordinators, their network, database and queue, and an operator, on one clock.
 * Its seed, and the acts of a scenario, decide everything that happens in it. It knows no faults and no rules: scenarios
 * bring the faults, and checkers the rules.
 */
import { PROFILES, type Timings } from '@antipode/coordinator/testing';
import { type Client, OperatorService } from '@antipode/protocol';
import { AntipodeError, Log, type LogLevel } from '@antipode/runtime';
import type { ApprovalSettings } from '@antipode/site-agent/testing';
import { Chance } from './chance.ts';
import { MachineClock, ProcessClock, SimulatedProcess, WorldClock } from './clock.ts';
import { SimulatedCoordinator } from './coordinator-process.ts';
import { SimulatedDatabase } from './database.ts';
import { isOfEndedProcess } from './disk.ts';
import { EventLog } from './event-log.ts';
import type { GivenOrders } from './given-orders.ts';
import { GROUP, OTHER_GROUP } from './groups.ts';
import { SimulatedNetwork } from './network.ts';
import { SimulatedQueue } from './queue.ts';
import { SimulatedSite, type SiteCopy } from './site.ts';

export { GROUP, OTHER_GROUP } from './groups.ts';

/** In proportion as by default, with short leases: a failover takes some fifteen seconds, with a pass each second. */
export const TIMINGS: Timings = {
  ...PROFILES.default,
  heartbeatMs: 1_000,
  suspectMs: 2_500,
  probeTimeoutMs: 800,
  probeRounds: 2,
  leaseMs: 8_000,
  selfStopMs: 6_000,
  roundTripMsMax: 400,
  hangMs: 6_000,
  hsmLostMs: 6_000,
  planMs: 1_250,
  leaderMs: 4_000,
  automaticFailoverGapMs: 20_000,
  parkedRetryMs: 4_000,
};

/** A line of a log: its level, its message, and its fields, as JSON. */
const LINE = /^\{"time":"[^"]*","level":"(\w+)","message":("(?:[^"\\]|\\.)*"),?(.*)\}$/;

/** The parts of a world that outlive its processes. Another world can begin with them. */
export interface WorldCopy {
  readonly nowMs: number;
  readonly database: Uint8Array;
  readonly sites: ReadonlyMap<string, SiteCopy>;
  /** The orders that the sites have got. */
  readonly orders: ReturnType<GivenOrders['copy']>;
}

export interface WorldOptions {
  readonly seed: string;
  readonly sites?: readonly string[];
  /** Sites without an HSM that vote. */
  readonly witnesses?: readonly string[];
  /** The sites have another group too. */
  readonly hasBystanders?: boolean;
  /** With them the agents guard their groups. */
  readonly approvals?: ApprovalSettings | undefined;
  readonly coordinators?: readonly string[];
  readonly timings?: Timings;
  readonly logLevel?: LogLevel;
  /** Begins with this, and not with nothing. */
  readonly copy?: WorldCopy | undefined;
}

export class World {
  readonly seed: string;
  readonly clock: WorldClock;
  /** By its clock, which goes on where the one of a copied world has stopped. */
  readonly beganMs: number;
  readonly log: EventLog;
  readonly network: SimulatedNetwork;
  readonly database: SimulatedDatabase;
  readonly queue: SimulatedQueue;
  readonly sites = new Map<string, SimulatedSite>();
  readonly coordinators = new Map<string, SimulatedCoordinator>();
  readonly timings: Timings;
  /** Told of what no process may do: a defect that would end it. */
  onDefect: (error: unknown) => void = () => {};
  /** Called after each event. Returns whether the run is over. */
  afterStep: () => boolean = () => false;
  readonly #logLevel: LogLevel;
  readonly #operatorNamed = new Map<string, Client<typeof OperatorService>>();
  readonly #operatorClock: ProcessClock;
  readonly #operatorProcess: SimulatedProcess;

  private constructor({ seed, coordinators = ['main'], timings = TIMINGS, logLevel = 'info', copy }: WorldOptions) {
    this.seed = seed;
    this.timings = timings;
    this.#logLevel = logLevel;
    const clock = new WorldClock(new Chance(`${seed} order`), { nowMs: copy?.nowMs ?? 0 });
    this.clock = clock;
    this.beganMs = clock.nowMs;
    this.log = new EventLog(clock);
    this.#operatorProcess = new SimulatedProcess('operator', clock);
    this.#operatorClock = new ProcessClock(clock, new MachineClock(clock), this.#operatorProcess);
    const { log } = this;
    this.network = new SimulatedNetwork({
      clock,
      chance: new Chance(`${seed} network`),
      log,
      time: this.#operatorClock,
    });
    if (copy !== undefined) this.network.orders.begin(copy.orders);
    const bytes = copy?.database;
    this.database = new SimulatedDatabase({ clock, chance: new Chance(`${seed} database`), bytes });
    this.queue = new SimulatedQueue({ clock, chance: new Chance(`${seed} queue`) });
    for (const name of coordinators)
      this.coordinators.set(
        name,
        new SimulatedCoordinator({
          name,
          seed,
          world: clock,
          network: this.network,
          database: this.database,
          queue: this.queue,
          timings,
          logOf: (who, process) => this.#logOf(who, process),
        }),
      );
  }

  /** Sites and coordinators that have begun to run. Each site trusts the partitions of all for the group. */
  static async start(options: WorldOptions): Promise<World> {
    const world = new World(options);
    const { sites = ['a', 'b', 'c'], witnesses = [], hasBystanders = false } = options;
    for (const name of [...sites, ...witnesses]) {
      const site = await SimulatedSite.make({
        name,
        isWitness: witnesses.includes(name),
        hasBystander: hasBystanders,
        approvals: options.approvals,
        seed: world.seed,
        world: world.clock,
        network: world.network,
        coordinators: [...world.coordinators.keys()],
        copy: options.copy?.sites.get(name),
        logOf: (who, process) => world.#logOf(who, process),
      });
      world.sites.set(name, site);
      site.disk.onCrash = () => world.network.reset(name);
    }
    for (const site of world.members)
      for (const peer of world.members) for (const group of [GROUP, OTHER_GROUP]) site.pin(group, peer);
    for (const site of world.sites.values()) site.start();
    for (const coordinator of world.coordinators.values()) void coordinator.start();
    return world;
  }

  site(name: string): SimulatedSite {
    const found = this.sites.get(name);
    if (found === undefined) throw new Error(`no site ${name}`);
    return found;
  }

  /** The sites that have an HSM. */
  get members(): readonly SimulatedSite[] {
    return [...this.sites.values()].filter(({ isWitness }) => !isWitness);
  }

  coordinator(name: string): SimulatedCoordinator {
    const found = this.coordinators.get(name);
    if (found === undefined) throw new Error(`no coordinator ${name}`);
    return found;
  }

  /** Every machine that has a name on the network. */
  get machines(): readonly string[] {
    return [...this.sites.keys(), ...this.coordinators.keys()];
  }

  machine(name: string): MachineClock {
    return (this.sites.get(name) ?? this.coordinator(name)).machine;
  }

  /** A call of an operator, at the coordinator that leads. One that answers without leading is not believed. */
  async operate<T>(call: (client: Client<typeof OperatorService>) => Promise<T>): Promise<T> {
    let failure: unknown = new AntipodeError('LEADERSHIP_LOST', 'no coordinator leads');
    for (const name of this.coordinators.keys()) {
      try {
        const answer = await call(this.#operatorAt(name));
        if ((answer as { isLeader?: boolean }).isLeader !== false) return answer;
      } catch (thrown) {
        failure = thrown;
        const { code } = AntipodeError.from(thrown);
        if (!['LEADERSHIP_LOST', 'NOT_LEADER', 'SITE_UNREACHABLE', 'TIMED_OUT'].includes(code)) throw thrown;
      }
    }
    throw failure;
  }

  sleep(ms: number): Promise<void> {
    return this.clock.sleep(ms);
  }

  async run(ms: number): Promise<void> {
    await this.clock.runUntil(this.clock.nowMs + ms, () => this.afterStep());
  }

  /** Lets time pass until the work is done. @throws what it throws, or an error after `limitMs` */
  async until<T>(work: Promise<T>, limitMs = 120_000): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    const endMs = this.clock.nowMs + limitMs;
    await this.clock.runUntil(endMs, () => this.afterStep() || isDone);
    if (!isDone) throw new Error(`it has not ended after ${limitMs} ms of simulated time`);
    return done;
  }

  /** Nobody waits for anything any more. */
  close(): void {
    for (const { process } of [...this.sites.values(), ...this.coordinators.values()]) process.end();
  }

  /** Everything that outlives the processes, which must have ended. */
  copy(): WorldCopy {
    return {
      nowMs: this.clock.nowMs,
      database: this.database.copy(),
      sites: new Map([...this.sites].map(([name, site]) => [name, site.copy()])),
      orders: this.network.orders.copy(),
    };
  }

  /** Gives the memory of disks and tables back. Nobody looks at this world any more. */
  forget(): void {
    this.database.close();
    for (const { disk } of this.sites.values()) disk.close();
  }

  #operatorAt(name: string): Client<typeof OperatorService> {
    const known = this.#operatorNamed.get(name);
    if (known !== undefined) return known;
    const caller = {
      party: { kind: 'operator', name: 'olga' } as const,
      process: this.#operatorProcess,
      clock: this.#operatorClock,
    };
    const client = this.network.client(OperatorService, caller, { kind: 'coordinator', name });
    this.#operatorNamed.set(name, client);
    return client;
  }

  /** A process that has ended says nothing any more. A line of a defect is one. */
  #logOf(who: string, process: SimulatedProcess): Log {
    const clock = new ProcessClock(this.clock, new MachineClock(this.clock), process);
    return new Log({
      level: this.#logLevel,
      format: 'json',
      clock,
      write: (line) => {
        if (process.hasEnded) return;
        const [, level, message, fields] = LINE.exec(line) ?? [];
        if (level === undefined || message === undefined) throw new Error(`a line of another form: ${line}`);
        this.log.add('told', who, `${level} ${JSON.parse(message)} {${fields ?? ''}}`);
      },
    });
  }

  /** An error that nobody has caught. In production it ends the process. */
  uncaught(thrown: unknown): void {
    if (isOfEndedProcess(thrown)) return;
    this.onDefect(thrown);
  }
}
