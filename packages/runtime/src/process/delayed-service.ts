/** A service that cannot be made before something outside has come about: a clock that is set, say. Stopped at any moment. */
import { HealthServer } from './health.ts';
import type { Service } from './lifecycle.ts';

export interface DelayedServiceOptions {
  /** Resolves when the service can be made, or `signal` aborts. An error ends the start. */
  readonly ready: (signal: AbortSignal, onWaiting: (why: Error | undefined) => void) => Promise<void>;
  readonly make: () => Service;
  /** Where the service will tell its health: meanwhile it is said there that it waits. */
  readonly http?: string | undefined;
}

export class DelayedService implements Service {
  readonly #options: DelayedServiceOptions;
  readonly #stop = new AbortController();
  #service: Service | undefined;
  #health: HealthServer | undefined;
  #starting: Promise<void> = Promise.resolve();

  constructor(options: DelayedServiceOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  async settled(): Promise<void> {
    await this.#service?.settled?.();
  }

  status(): string {
    return this.#service?.status?.() ?? '';
  }

  async close(): Promise<void> {
    this.#stop.abort();
    if (this.#service !== undefined) return this.#service.close();
    await this.#starting.catch(() => 'see the process that started it');
    await this.#closeHealth();
  }

  async #start(): Promise<void> {
    const { ready, make } = this.#options;
    try {
      await ready(this.#stop.signal, (why) => void (why === undefined ? undefined : this.#tell(why)));
    } finally {
      await this.#closeHealth();
    }
    if (this.#stop.signal.aborted) return;
    this.#service = make();
    await this.#service.start();
  }

  /** An address that cannot be had is the service's own trouble, when it starts. */
  #tell({ message }: Error): void {
    const { http } = this.#options;
    if (this.#health !== undefined || http === undefined) return;
    const checks = { waiting: message };
    this.#health = new HealthServer({ live: () => ({ ok: true, checks }), ready: () => ({ ok: false, checks }) });
    this.#health.listen(http).catch(() => 'see above');
  }

  async #closeHealth(): Promise<void> {
    const health = this.#health;
    this.#health = undefined;
    await health?.close();
  }
}
