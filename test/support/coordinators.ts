/**
 * Two coordinators over one store, and their sites, in one process on one clock. A coordinator can be killed before or
 * after any step: a write, or an order to a site, that a run of an operation makes. A write or an order that a
 * killed one had begun may take place. It hears nothing of that, and does nothing more.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  buildCoordinator,
  type CoordinatorGraph,
  InProcessStore,
  PROFILES,
  readIntent,
  type Store,
  Timeline,
} from '@antipode/coordinator/testing';
import {
  type CallOptions,
  type Client,
  CoordinatorService,
  LeaderFinder,
  OperatorService,
  SiteAgentService,
} from '@antipode/protocol';
import { MemoryNetwork, type Party } from '@antipode/protocol/testing';
import { AntipodeError, type Clock, seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { LivingSite } from '@antipode/site-agent/testing';

export const COORDINATORS = ['main', 'south'];
const OPERATOR: Party = { kind: 'operator', name: 'olga' };
const TIMINGS = PROFILES.fast;
const LATENCY_MS_MAX = 20;
const STEP_MS = 25;
const LOOK_MS = 100;
const PATIENCE_MS = 5 * 60_000;
/** Until another one leads, with a margin. */
const TAKEOVER_MS = TIMINGS.leaderMs * 4;

/** A step of a machine, as `write` or the name of the order. */
export interface Step {
  readonly kind: string;
  readonly what: string;
}

/** Where the leader is killed: at a step of one kind, counted from the moment that this was set. */
export interface Crash {
  readonly kind: string;
  readonly index: number;
  readonly when: 'before' | 'after';
}

export interface CoordinatorsOptions {
  readonly sites: readonly string[];
  readonly group: string;
  /** Serial numbers of the vaults of each site. */
  readonly vaults?: Readonly<Record<string, readonly string[]>>;
}

const never = <T>(): Promise<T> => new Promise<T>(() => {});

export class Coordinators {
  readonly clock = new FakeClock();
  readonly sites = new Map<string, LivingSite>();
  readonly store: InProcessStore;
  readonly operator: Client<typeof OperatorService>;
  /** The steps of all machines since `watch`. */
  steps: Step[] = [];
  /** Sites that nobody reaches, and that reach nobody. */
  readonly cutOff = new Set<string>();
  /** Defects, which would have ended a process. */
  readonly defects: string[] = [];
  readonly network: MemoryNetwork;
  readonly #alive = new Map<string, Killable>();
  readonly #running = new AsyncLocalStorage<string>();
  #crash: Crash | undefined;
  #starts = 0;

  private constructor(store: InProcessStore) {
    this.store = store;
    const latency = seededPrng('latency');
    const { clock } = this;
    this.network = new MemoryNetwork({
      clock,
      carry: async ({ from, to, signal }) => {
        if ([from, to].some(({ kind, name }) => kind === 'site' && this.cutOff.has(name))) return never();
        await clock.sleep(1 + Math.floor(latency.fraction() * LATENCY_MS_MAX), signal);
      },
    });
    const finder = new LeaderFinder({
      coordinators: COORDINATORS.map((id) => ({ id, address: `${id}:1` })),
      clock,
      patienceMs: TAKEOVER_MS,
      dial: (service, { id }) =>
        this.network.client(service, { caller: OPERATOR, callee: { kind: 'coordinator', name: id } }),
    });
    this.operator = finder.client(OperatorService);
  }

  static async start({ sites, group, vaults = {} }: CoordinatorsOptions): Promise<Coordinators> {
    const all = new Coordinators(await InProcessStore.open());
    for (const id of COORDINATORS) await all.revive(id);
    for (const name of sites) {
      const world = { seed: 'one', clock: all.clock, network: all.network, log: silentLog };
      all.sites.set(name, await LivingSite.start({ ...world, name, coordinators: COORDINATORS, vaults: vaults[name] }));
    }
    for (const site of all.sites.values()) for (const peer of all.sites.values()) site.pin(group, peer);
    await all.seen('all sites are up', async () => {
      const status = await all.operator.getStatus({});
      return status.sites.filter(({ state }) => state === 'up').length === sites.length;
    });
    return all;
  }

  get leader(): string | undefined {
    return [...this.#alive.values()].find(({ graph }) => graph.leadership.epoch !== undefined)?.id;
  }

  /** How many of those alive say that they lead. */
  get leaders(): number {
    return [...this.#alive.values()].filter(({ graph }) => graph.leadership.epoch !== undefined).length;
  }

  graph(id: string): CoordinatorGraph {
    return this.#alive.get(id)!.graph;
  }

  /** Forgets the steps so far, and kills the leader where the crash says. */
  watch(crash?: Crash): void {
    this.steps = [];
    this.#crash = crash;
  }

  /** A coordinator starts again, as a process does. */
  async revive(id: string): Promise<void> {
    if (this.#alive.has(id)) return;
    this.#starts += 1;
    const killable = new Killable(id, { all: this, start: this.#starts });
    this.#alive.set(id, killable);
    await this.until(killable.graph.takePart());
    killable.graph.start();
  }

  kill(id: string): void {
    this.#alive.get(id)?.kill();
    this.#alive.delete(id);
  }

  /** As a step of the machine that runs now, if one does. */
  async step<T>(member: Killable, what: string, work: () => Promise<T>): Promise<T> {
    if (member.isDead) return never();
    const kind = this.#running.getStore();
    if (kind === undefined) return member.ifAlive(work());
    const index = this.steps.filter((step) => step.kind === kind).length;
    this.steps.push({ kind, what });
    const crash = this.#crash;
    const isHere = crash?.kind === kind && crash.index === index;
    if (isHere) this.#crash = undefined;
    if (isHere && crash.when === 'before') {
      this.kill(member.id);
      return never();
    }
    const done = await work().then(
      (value) => () => value,
      (thrown: unknown) => () => {
        throw thrown;
      },
    );
    if (isHere) this.kill(member.id);
    return member.isDead ? never() : done();
  }

  /** The run of an operation by a coordinator. */
  async run(member: Killable, id: string): Promise<void> {
    const intent = await this.store.query((db) => readIntent(db, id));
    if (intent === undefined || member.isDead) return;
    await this.#running
      .run(intent.kind, () => member.graph.run(id))
      .catch((thrown: unknown) => {
        const error = AntipodeError.from(thrown);
        if (error.disposition === 'defect') this.defects.push(error.message);
      });
  }

  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    while (!isDone) await this.clock.advance(STEP_MS);
    return done;
  }

  /** As {@link sees}, and lets the time pass. */
  seen<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    return this.until(this.sees(what, look));
  }

  /** Looks again and again while the time passes. An answer that is lost with a coordinator is asked for again. */
  async sees<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    const endMs = this.clock.monotonicMs() + PATIENCE_MS;
    let last: unknown;
    while (this.clock.monotonicMs() < endMs) {
      const found = await look().catch((thrown: unknown) => {
        last = thrown;
      });
      if (found) return found;
      await this.clock.sleep(LOOK_MS);
    }
    throw new AntipodeError('INVARIANT_BROKEN', `not seen in five minutes: ${what}`, { cause: last });
  }

  async close(): Promise<void> {
    await this.until(
      (async () => {
        for (const { graph } of this.#alive.values()) await graph.close();
        for (const site of this.sites.values()) await site.close();
      })(),
    );
    await this.store.close();
  }
}

/** One process of a coordinator. */
class Killable {
  readonly id: string;
  readonly graph: CoordinatorGraph;
  readonly #dead = new AbortController();
  readonly #leave: () => void;

  constructor(id: string, { all, start }: { all: Coordinators; start: number }) {
    this.id = id;
    const party: Party = { kind: 'coordinator', name: id };
    const clock = this.#clock(all.clock);
    this.graph = buildCoordinator({
      id,
      timings: TIMINGS,
      clock,
      timeline: new Timeline({ clock, log: silentLog, boot: () => undefined }),
      prng: seededPrng(`${id} ${start}`),
      log: silentLog,
      store: this.#store(all),
      renewals: { query: (look) => this.ifAlive(all.store.query(look)) },
      dial: ({ site }) => this.#agent(all, party, site),
      wakeUps: {
        enqueue: async (intentId) => void all.run(this, intentId),
        isUp: () => true,
        lead: () => {},
        standDown: () => {},
        close: async () => {},
      },
      loopDelayMs: () => 0,
    });
    const leave = [
      all.network.serve(party, CoordinatorService, this.graph.handlers.coordinator),
      all.network.serve(party, OperatorService, this.graph.handlers.operator),
    ];
    this.#leave = () => {
      for (const one of leave) one();
    };
  }

  get isDead(): boolean {
    return this.#dead.signal.aborted;
  }

  kill(): void {
    this.#dead.abort();
    this.#leave();
  }

  /** A dead process hears of nothing. */
  async ifAlive<T>(work: Promise<T>): Promise<T> {
    try {
      const value = await work;
      return this.isDead ? never() : value;
    } catch (thrown) {
      if (this.isDead) return never();
      throw thrown;
    }
  }

  #clock(clock: FakeClock): Clock {
    const sleep = (ms: number, signal?: AbortSignal): Promise<void> => {
      const signals = [this.#dead.signal, ...(signal === undefined ? [] : [signal])];
      return this.ifAlive(clock.sleep(ms, AbortSignal.any(signals)));
    };
    return {
      wallMs: () => clock.wallMs(),
      monotonicMs: () => clock.monotonicMs(),
      sleptMs: () => clock.sleptMs(),
      isSliceOver: () => clock.isSliceOver(),
      makeWay: () => this.ifAlive(clock.makeWay()),
      sleep,
    };
  }

  /** Only `write` may write: everything else runs where PostgreSQL refuses to. */
  #store(all: Coordinators): Store & Pick<InProcessStore, 'examine' | 'migrate'> {
    const { store } = all;
    return {
      examine: () => this.ifAlive(store.examine()),
      migrate: (epoch) => this.ifAlive(store.migrate(epoch)),
      query: (look) =>
        this.isDead
          ? never()
          : this.ifAlive(store.query((db) => db.transaction().setAccessMode('read only').execute(look))),
      snapshot: (look) => (this.isDead ? never() : this.ifAlive(store.snapshot(look))),
      write: (epoch, change) => all.step(this, 'write', () => store.write(epoch, change)),
    };
  }

  #agent(all: Coordinators, caller: Party, site: string): Client<typeof SiteAgentService> {
    const client = all.network.client(SiteAgentService, { caller, callee: { kind: 'site', name: site } });
    return new Proxy(client, {
      get: (target, name) => {
        const call: unknown = Reflect.get(target, name);
        if (typeof call !== 'function' || name === 'close') return call;
        return (request: { fence?: object } = {}, { signal, ...rest }: CallOptions = {}) => {
          const signals = [this.#dead.signal, ...(signal === undefined ? [] : [signal])];
          const options = { ...rest, signal: AbortSignal.any(signals) };
          const work = (): Promise<unknown> => Reflect.apply(call, target, [request, options]);
          if (this.isDead) return never();
          return request.fence === undefined ? this.ifAlive(work()) : all.step(this, String(name), work);
        };
      },
    });
  }
}
