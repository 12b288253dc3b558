/**
 * A whole system in one process: a coordinator and site agents on one clock and one network in memory, over simulated
 * HSMs and a database in memory. Every event is a line of the log. Chance comes from the seed, so that a system of the
 * same seed and script has the same lines.
 */
import {
  buildCoordinator,
  type CoordinatorGraph,
  InProcessStore,
  PROFILES,
  Timeline,
} from '@antipode/coordinator/testing';
import { type Client, CoordinatorService, type Operation, OperatorService, SiteAgentService } from '@antipode/protocol';
import { MemoryNetwork, type Party } from '@antipode/protocol/testing';
import { AntipodeError, Log, seededPrng } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { LivingSite } from '@antipode/site-agent/testing';

const COORDINATOR: Party = { kind: 'coordinator', name: 'main' };
const OPERATOR: Party = { kind: 'operator', name: 'olga' };
const LATENCY_MS_MAX = 50;
const STEP_MS = 10;
/** Long enough for every operation of a script; of the simulated time. */
const PATIENCE_MS = 10 * 60_000;
const LOOK_MS = 200;

export interface SimulatedSystemOptions {
  readonly seed: string;
  /** How many turns of the event loop due work gets before time goes on (FakeClock). */
  readonly turnsToSettle?: number;
}

export class SimulatedSystem {
  readonly clock: FakeClock;
  readonly lines: string[] = [];
  readonly sites = new Map<string, LivingSite>();
  readonly operator: Client<typeof OperatorService>;
  readonly store: InProcessStore;
  readonly #seed: string;
  readonly #log: Log;
  readonly #network: MemoryNetwork;
  readonly #coordinator: CoordinatorGraph;

  private constructor({ seed }: SimulatedSystemOptions, { clock, store }: { clock: FakeClock; store: InProcessStore }) {
    this.#seed = seed;
    this.clock = clock;
    this.store = store;
    this.#log = new Log({ level: 'debug', format: 'json', clock, write: (line) => this.lines.push(line) });
    const log = this.#log;
    const latency = seededPrng(`${seed} latency`);
    this.#network = new MemoryNetwork({
      clock,
      log,
      latencyMs: () => 1 + Math.floor(latency.fraction() * LATENCY_MS_MAX),
    });
    const network = this.#network;
    this.#coordinator = buildCoordinator({
      id: COORDINATOR.name,
      timings: PROFILES.default,
      clock,
      timeline: new Timeline({ clock, log, boot: () => undefined }),
      prng: seededPrng(`${seed} coordinator`),
      log: log.with({ coordinator: COORDINATOR.name }),
      store,
      renewals: store,
      dial: ({ site }) =>
        network.client(SiteAgentService, { caller: COORDINATOR, callee: { kind: 'site', name: site } }),
      wakeUps: {
        enqueue: async (intentId) => void this.#coordinator.run(intentId).catch((thrown) => this.#tell(thrown)),
        isUp: () => true,
        lead: () => {},
        standDown: () => {},
        close: async () => {},
      },
      loopDelayMs: () => 0,
    });
    network.serve(COORDINATOR, CoordinatorService, this.#coordinator.handlers.coordinator);
    network.serve(COORDINATOR, OperatorService, this.#coordinator.handlers.operator);
    this.operator = network.client(OperatorService, { caller: OPERATOR, callee: COORDINATOR });
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
    await system.until(system.#coordinator.takePart());
    system.#coordinator.start();
    for (const name of sites) await system.#add(name);
    for (const site of system.sites.values()) for (const peer of system.sites.values()) site.pin(group, peer);
    for (const name of witnesses) await system.#add(name, { isWitness: true });
    await clock.advance(3 * PROFILES.default.heartbeatMs);
    return system;
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
  async ended(operationId: string): Promise<Operation> {
    const startedMs = this.clock.monotonicMs();
    for (;;) {
      const { operation } = await this.operator.getOperation({ operationId });
      if (operation !== undefined && operation.status !== 'open') return operation;
      if (this.clock.monotonicMs() - startedMs > PATIENCE_MS)
        throw new AntipodeError('INVARIANT_BROKEN', `the operation is still in phase ${operation?.phase}`);
      await this.clock.sleep(LOOK_MS);
    }
  }

  note(message: string, fields: Record<string, unknown>): void {
    this.#log.info(message, fields);
  }

  async close(): Promise<void> {
    await this.until(
      (async () => {
        await this.#coordinator.close();
        for (const site of this.sites.values()) await site.close();
      })(),
    );
    await this.store.close();
  }

  /** A site is gone: its agent and its HSM. */
  async lose(name: string): Promise<void> {
    const site = this.sites.get(name)!;
    this.sites.delete(name);
    await this.until(site.close());
  }

  /** Looks again and again, and lets time pass meanwhile. @throws INVARIANT_BROKEN after ten simulated minutes */
  seen<T>(look: () => Promise<T | undefined | false>): Promise<T> {
    return this.until(
      (async () => {
        const endMs = this.clock.monotonicMs() + PATIENCE_MS;
        while (this.clock.monotonicMs() < endMs) {
          const found = await look();
          if (found) return found;
          await this.clock.sleep(LOOK_MS);
        }
        throw new AntipodeError('INVARIANT_BROKEN', 'it was not seen in ten minutes');
      })(),
    );
  }

  async #add(name: string, { isWitness = false }: { isWitness?: boolean } = {}): Promise<void> {
    const { clock } = this;
    const options = {
      name,
      seed: this.#seed,
      clock,
      network: this.#network,
      coordinators: [COORDINATOR.name],
      log: this.#log,
    };
    this.sites.set(name, await LivingSite.start({ ...options, isWitness }));
  }

  #tell(thrown: unknown): void {
    const error = AntipodeError.from(thrown);
    this.#log.at(error.disposition === 'defect' ? 'error' : 'debug', 'run ended', { error });
  }
}
