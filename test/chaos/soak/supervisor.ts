/**
 * Restarts a process that has ended, as a service manager does. A process with a wrong clock finds its certificate not
 * valid yet, and one with a stalled database gives up. A process that a fault holds down stays down.
 */
import { type Closeable, systemClock } from '@antipode/runtime';
import type { TestSystem } from '../../support/system.ts';

const LOOK_MS = 1_000;

export class Supervisor implements Closeable {
  readonly #system: TestSystem;
  readonly #tell: (text: string) => void;
  readonly #stop = new AbortController();
  /** How many faults hold a process down. */
  readonly #down = new Map<string, number>();
  #running: Promise<void> | undefined;

  constructor(system: TestSystem, tell: (text: string) => void) {
    this.#system = system;
    this.#tell = tell;
  }

  start(): void {
    this.#running = this.#watch();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Kills every process of a site, or of the coordinator. @returns what lets it start again */
  async takeDown(name: string): Promise<() => Promise<void>> {
    this.#down.set(name, (this.#down.get(name) ?? 0) + 1);
    await this.#processOf(name)?.killAll();
    return async () => {
      this.#down.set(name, (this.#down.get(name) ?? 1) - 1);
      await this.#startIfEnded(name);
    };
  }

  async #watch(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await systemClock.sleep(LOOK_MS, this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      for (const name of [...this.#system.sites.keys(), 'coordinator']) {
        const failure = this.#processOf(name)?.failure;
        if (failure !== undefined) this.#tell(`  ${failure.message}`);
        await this.#startIfEnded(name);
      }
    }
  }

  async #startIfEnded(name: string): Promise<void> {
    if ((this.#down.get(name) ?? 0) > 0 || this.#processOf(name)?.pid !== undefined) return;
    if (name === 'coordinator') await this.#system.startCoordinator({ asProcess: true });
    else await this.#system.startAgent(name, { asProcess: true });
  }

  #processOf(name: string) {
    return name === 'coordinator' ? this.#system.coordinatorProcess : this.#system.site(name).process;
  }
}
