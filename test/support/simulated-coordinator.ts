/**
 * One life of a coordinator in a simulated system: from its start to its end. It can be killed right after any durable
 * step. The rest of its work is then never done.
 */
import {
  buildCoordinator,
  type CoordinatorGraph,
  type CoordinatorPorts,
  type InProcessStore,
  PROFILES,
  Timeline,
} from '@antipode/coordinator/testing';
import { type Client, CoordinatorService, OperatorService, SiteAgentService } from '@antipode/protocol';
import type { MemoryNetwork, Party } from '@antipode/protocol/testing';
import { AntipodeError, type Clock, type Log, seededPrng } from '@antipode/runtime';

export interface CoordinatorLifeOptions {
  readonly party: Party;
  readonly seed: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: InProcessStore;
  readonly network: MemoryNetwork;
  /** Called right after each durable step: a write of the store, or an order that a site has answered. */
  readonly onStep?: (step: string) => void;
}

/** They change nothing anywhere. */
const QUESTIONS: ReadonlySet<string> = new Set(['describe', 'tellGroups', 'ping', 'probePeer', 'matchFilter', 'close']);

/** Nobody waits for it who is alive. */
const NEVER = new Promise<never>(() => {});

export class CoordinatorLife {
  readonly graph: CoordinatorGraph;
  readonly #stop = new AbortController();
  readonly #leave: readonly (() => void)[];
  readonly #onStep: (step: string) => void;

  constructor({ party, seed, clock, log, store, network, onStep = () => {} }: CoordinatorLifeOptions) {
    this.#onStep = onStep;
    const gated = this.#gated(store);
    const tell = (thrown: unknown): void => {
      const error = AntipodeError.from(thrown);
      log.at(error.disposition === 'defect' ? 'error' : 'debug', 'run ended', { error });
    };
    this.graph = buildCoordinator({
      id: party.name,
      timings: PROFILES.default,
      clock,
      timeline: new Timeline({ clock, log, boot: () => undefined }),
      prng: seededPrng(seed),
      log: log.with({ coordinator: party.name }),
      store: gated,
      renewals: gated,
      dial: ({ site }) => {
        const ends = { caller: party, callee: { kind: 'site', name: site }, life: this.#stop.signal } as const;
        return this.#steps(network.client(SiteAgentService, ends), site);
      },
      wakeUps: {
        enqueue: async (intentId) => void this.graph.run(intentId).catch(tell),
        isUp: () => true,
        lead: () => {},
        standDown: () => {},
        close: async () => {},
      },
      loopDelayMs: () => 0,
    });
    this.#leave = [
      network.serve(party, CoordinatorService, this.graph.handlers.coordinator),
      network.serve(party, OperatorService, this.graph.handlers.operator),
    ];
  }

  /** As SIGKILL does. */
  kill(): void {
    this.#stop.abort();
    for (const leave of this.#leave) leave();
  }

  get isOver(): boolean {
    return this.#stop.signal.aborted;
  }

  async close(): Promise<void> {
    if (!this.isOver) await this.graph.close();
  }

  /** Work under way when the life ends may have its effect. Nobody hears of it. */
  async #alive<T>(work: () => Promise<T>, step?: (result: T) => string): Promise<T> {
    if (this.isOver) return NEVER;
    try {
      const result = await work();
      if (step !== undefined && !this.isOver) this.#onStep(step(result));
      return this.isOver ? NEVER : result;
    } catch (thrown) {
      if (this.isOver) return NEVER;
      throw thrown;
    }
  }

  #gated(store: InProcessStore): CoordinatorPorts['store'] {
    return {
      examine: () => this.#alive(() => store.examine()),
      migrate: (leaderEpoch) => this.#alive(() => store.migrate(leaderEpoch)),
      query: (look) => this.#alive(() => store.query(look)),
      snapshot: (look) => this.#alive(() => store.snapshot(look)),
      write: (leaderEpoch, change) => {
        const kinds: string[] = [];
        return this.#alive(
          () =>
            store.write(leaderEpoch, (trx, record) =>
              change(trx, (event) => {
                kinds.push(event.kind);
                record(event);
              }),
            ),
          () => `write ${kinds.join(' ')}`,
        );
      },
    };
  }

  #steps(client: Client<typeof SiteAgentService>, site: string): Client<typeof SiteAgentService> {
    return new Proxy(client, {
      get: (target, name) => {
        const call: unknown = Reflect.get(target, name, target);
        if (typeof call !== 'function' || QUESTIONS.has(String(name))) return call;
        return (...args: unknown[]) =>
          this.#alive(
            () => call.apply(target, args) as Promise<unknown>,
            () => `${String(name)} of ${site}`,
          );
      },
    });
  }
}
