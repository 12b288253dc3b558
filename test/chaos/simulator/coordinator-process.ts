/** A coordinator: the real one over the ports of a simulation. Its process may end and start again. */
import { buildCoordinator, type CoordinatorGraph, Timeline, type Timings } from '@antipode/coordinator/testing';
import { CoordinatorService, OperatorService, SiteAgentService } from '@antipode/protocol';
import type { Log } from '@antipode/runtime';
import { Chance } from './chance.ts';
import { MachineClock, ProcessClock, SimulatedProcess, type WorldClock } from './clock.ts';
import type { SimulatedDatabase } from './database.ts';
import type { SimulatedNetwork } from './network.ts';
import type { SimulatedQueue } from './queue.ts';

export interface SimulatedCoordinatorOptions {
  readonly name: string;
  readonly seed: string;
  readonly world: WorldClock;
  readonly network: SimulatedNetwork;
  readonly database: SimulatedDatabase;
  readonly queue: SimulatedQueue;
  readonly timings: Timings;
  readonly logOf: (who: string, process: SimulatedProcess) => Log;
}

export class SimulatedCoordinator {
  readonly name: string;
  readonly machine: MachineClock;
  process: SimulatedProcess;
  /** Of the next start: a change of profile. */
  timings: Timings;
  graph: CoordinatorGraph | undefined;
  readonly #options: SimulatedCoordinatorOptions;
  #starts = 0;

  constructor(options: SimulatedCoordinatorOptions) {
    this.#options = options;
    this.name = options.name;
    this.timings = options.timings;
    this.machine = new MachineClock(options.world);
    this.process = new SimulatedProcess(`coordinator ${options.name}`, options.world);
    this.process.end();
  }

  get isRunning(): boolean {
    return this.process.state === 'running';
  }

  get isLeading(): boolean {
    return this.isRunning && this.graph?.leadership.epoch !== undefined;
  }

  async start(): Promise<void> {
    const { name, seed, world, network, database, queue, logOf } = this.#options;
    if (!this.process.hasEnded) return;
    this.#starts += 1;
    const process = new SimulatedProcess(`coordinator ${name}`, world);
    const clock = new ProcessClock(world, this.machine, process);
    const log = logOf(`coordinator ${name}`, process);
    this.process = process;
    const party = { kind: 'coordinator', name } as const;
    const store = database.store(name, process, clock);
    const timeline = new Timeline({
      clock,
      log,
      boot: () => ({ id: `boot of ${name}`, uptimeMs: Math.round(this.machine.monotonicMs()) }),
    });
    const graph = buildCoordinator({
      id: name,
      timings: this.timings,
      clock,
      timeline,
      prng: new Chance(`${seed} coordinator ${name} ${this.#starts}`),
      log,
      store: database.store(name, process, timeline),
      renewals: store,
      dial: ({ site }) => network.client(SiteAgentService, { party, process, clock }, { kind: 'site', name: site }),
      wakeUps: queue.wakeUps({ process, run: (intentId) => graph.run(intentId) }),
      loopDelayMs: () => 0,
    });
    this.graph = graph;
    await graph.takePart();
    if (process.hasEnded) return;
    network.serve(party, CoordinatorService, { process, handlers: graph.handlers.coordinator });
    network.serve(party, OperatorService, { process, handlers: graph.handlers.operator });
    graph.start();
  }

  kill(): void {
    if (this.process.hasEnded) return;
    const { network, database, queue } = this.#options;
    this.process.end();
    database.left(this.process);
    queue.forget();
    network.reset(this.name);
  }

  pause(): void {
    this.process.pause();
    this.#options.network.stalled();
  }

  resume(): void {
    this.process.resume();
  }
}
