/**
 * A whole system in one process: a coordinator and site agents on one clock and one network in memory, over simulated
 * HSMs and a database in memory. Every event is a line of the log. Chance comes from the seed, so that a system of the
 * same seed and script has the same lines. Coordinator and agents can be killed after any of their durable steps, and a
 * supervisor starts them again.
 */
import { rmSync } from 'node:fs';
import { InProcessStore, PROFILES } from '@antipode/coordinator/testing';
import { type Client, type Operation, OperatorService } from '@antipode/protocol';
import type { Party } from '@antipode/protocol/testing';
import { AntipodeError, Log, seededPrng } from '@antipode/runtime';
import { FakeClock, RatedClock } from '@antipode/runtime/testing';
import { type ApprovalSettings, LivingSite } from '@antipode/site-agent/testing';
import { CuttableNetwork } from './cuttable-network.ts';
import { CoordinatorLife } from './simulated-coordinator.ts';
import { temporaryFolder } from './tokens.ts';

const COORDINATOR: Party = { kind: 'coordinator', name: 'main' };
const OPERATOR: Party = { kind: 'operator', name: 'olga' };
const LATENCY_MS_MAX = 50;
const STEP_MS = 10;
/** Long enough for every operation of a script; of the simulated time. */
const PATIENCE_MS = 10 * 60_000;
const LOOK_MS = 200;
/** How long a supervisor takes to start what has ended. */
const RESTART_MS = 500;

export interface SimulatedSystemOptions {
  readonly seed: string;
  /** How many turns of the event loop due work gets before time goes on (FakeClock). */
  readonly turnsToSettle?: number;
  /** How the agents guard their actions. */
  readonly approvals?: ApprovalSettings;
  /** The databases of the sites are files, so that agents can be killed. */
  readonly isKillable?: boolean;
}

/** A kill that waits for its step. */
export interface Kill {
  /** `coordinator`, or a site. */
  readonly party: string;
  /** How many durable steps the party has made since; the first is 1. */
  readonly after: number;
  readonly steps: string[];
  isDone: boolean;
}

export class SimulatedSystem {
  readonly clock: FakeClock;
  /** As fast as all others, until a test says otherwise. */
  readonly coordinatorClock: RatedClock;
  readonly lines: string[] = [];
  readonly sites = new Map<string, LivingSite>();
  readonly operator: Client<typeof OperatorService>;
  readonly #seed: string;
  readonly #approvals: ApprovalSettings | undefined;
  readonly #log: Log;
  readonly network: CuttableNetwork;
  readonly #folder: string | undefined;
  #store: InProcessStore;
  #coordinator: CoordinatorLife;
  #lives = 0;
  #kills: readonly Kill[] = [];

  private constructor(
    { seed, isKillable = false, approvals }: SimulatedSystemOptions,
    { clock, store }: { clock: FakeClock; store: InProcessStore },
  ) {
    this.#seed = seed;
    this.#approvals = approvals;
    this.clock = clock;
    this.coordinatorClock = new RatedClock(clock);
    this.#store = store;
    this.#folder = isKillable ? temporaryFolder('simulated') : undefined;
    this.#log = new Log({ level: 'debug', format: 'json', clock, write: (line) => this.lines.push(line) });
    const latency = seededPrng(`${seed} latency`);
    this.network = new CuttableNetwork({
      clock,
      log: this.#log,
      latencyMs: () => 1 + Math.floor(latency.fraction() * LATENCY_MS_MAX),
    });
    this.#coordinator = this.#newLife();
    this.operator = this.network.client(OperatorService, { caller: OPERATOR, callee: COORDINATOR });
  }

  /** A coordinator that leads, and these sites. Each trusts the partitions of all for the group. */
  static async start(
    options: SimulatedSystemOptions,
    { sites, witnesses = [], group }: { sites: readonly string[]; witnesses?: readonly string[]; group: string },
  ): Promise<SimulatedSystem> {
    const { turnsToSettle = 1 } = options;
    const clock = new FakeClock({ turnsToSettle });
    const store = await InProcessStore.open({ clock });
    const system = new SimulatedSystem(options, { clock, store });
    await system.until(system.#coordinator.graph.takePart());
    system.#coordinator.graph.start();
    for (const name of sites) await system.#add(name);
    for (const site of system.sites.values()) for (const peer of system.sites.values()) site.pin(group, peer);
    for (const name of witnesses) await system.#add(name, { isWitness: true });
    await clock.advance(3 * PROFILES.default.heartbeatMs);
    return system;
  }

  get store(): InProcessStore {
    return this.#store;
  }

  /** Each of these parties is killed after so many of its durable steps from now, and nobody else any more. */
  killAfter(after: number, parties: readonly string[]): readonly Kill[] {
    this.#kills = parties.map((party) => ({ party, after, steps: [], isDone: false }));
    return this.#kills;
  }

  /** The coordinator ends. The next one starts on a copy of the database that was made earlier. */
  async rollBack(copy: Blob): Promise<void> {
    this.#coordinator.kill();
    this.#store = await InProcessStore.open({ clock: this.clock, copy });
    await this.#startCoordinator();
  }

  killSite(name: string): void {
    this.sites.get(name)?.kill();
  }

  /** Lets time pass until the work is done, and not a step longer. */
  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    while (!isDone) await this.clock.advance(STEP_MS);
    return done;
  }

  /** Waits for an operation to end. @throws INVARIANT_BROKEN after ten simulated minutes */
  ended(operationId: string): Promise<Operation> {
    return this.eventually('the operation has ended', async () => {
      const { operation } = await this.operator.getOperation({ operationId });
      return operation !== undefined && operation.status !== 'open' && operation;
    });
  }

  /** Asks again and again, even if nobody answers. @throws INVARIANT_BROKEN after ten simulated minutes */
  async eventually<T>(what: string, ask: () => Promise<T | false>): Promise<T> {
    const startedMs = this.clock.monotonicMs();
    let trouble: unknown = 'none';
    for (;;) {
      const answer = await ask().catch((thrown: unknown) => {
        trouble = thrown;
        return false as const;
      });
      if (answer !== false) return answer;
      if (this.clock.monotonicMs() - startedMs > PATIENCE_MS)
        throw new AntipodeError(
          'INVARIANT_BROKEN',
          `waited ten minutes until ${what}; last trouble: ${String(trouble)}`,
        );
      await this.clock.sleep(LOOK_MS);
    }
  }

  note(message: string, fields: Record<string, unknown>): void {
    this.#log.info(message, fields);
  }

  async close(): Promise<void> {
    this.#kills = [];
    await this.until(
      (async () => {
        await this.#coordinator.close();
        for (const site of this.sites.values()) await site.close();
      })(),
    );
    await this.#store.close();
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true });
  }

  /** A site is gone: its agent and its HSM. */
  async lose(name: string): Promise<void> {
    const site = this.sites.get(name)!;
    this.sites.delete(name);
    await this.until(site.close());
  }

  /** Looks again and again, and lets time pass meanwhile. @throws INVARIANT_BROKEN after ten simulated minutes */
  seen<T>(look: () => Promise<T | undefined | false>): Promise<T> {
    return this.until(this.eventually('it is seen', async () => (await look()) || false));
  }

  async #add(name: string, { isWitness = false }: { isWitness?: boolean } = {}): Promise<void> {
    const { clock } = this;
    const options = {
      name,
      seed: this.#seed,
      clock,
      network: this.network,
      coordinators: [COORDINATOR.name],
      log: this.#log,
    };
    const folder = this.#folder;
    const killable = folder === undefined ? {} : { folder, onStep: (step: string) => this.#stepped(name, step) };
    this.sites.set(name, await LivingSite.start({ ...options, ...killable, isWitness, approvals: this.#approvals }));
  }

  #newLife(): CoordinatorLife {
    this.#lives += 1;
    return new CoordinatorLife({
      party: COORDINATOR,
      seed: `${this.#seed} coordinator${this.#lives > 1 ? ` ${this.#lives}` : ''}`,
      clock: this.coordinatorClock,
      log: this.#log,
      store: this.#store,
      network: this.network,
      onStep: (step) => this.#stepped('coordinator', step),
    });
  }

  async #startCoordinator(): Promise<void> {
    this.#coordinator = this.#newLife();
    await this.#coordinator.graph.takePart();
    this.#coordinator.graph.start();
  }

  #stepped(party: string, step: string): void {
    const kill = this.#kills.find((one) => one.party === party && !one.isDone);
    if (kill === undefined) return;
    kill.steps.push(step);
    if (kill.steps.length < kill.after) return;
    kill.isDone = true;
    this.note('killed', { party, step, after: kill.after });
    if (party === 'coordinator') this.#coordinator.kill();
    else this.killSite(party);
    void this.#restart(party);
  }

  async #restart(party: string): Promise<void> {
    await this.clock.sleep(RESTART_MS);
    if (party === 'coordinator') await this.#startCoordinator();
    else await this.sites.get(party)?.start();
  }
}
