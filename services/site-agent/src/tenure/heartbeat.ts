/** Signs of life to the coordinator. What comes back renews leases, counted from when we asked, and ends stale tenures. */
import { type Client, CoordinatorService, createClient, type Tls } from '@antipode/protocol';
import type { LoopDelay } from '@antipode/runtime';
import { type Closeable, every } from '@antipode/runtime';
import { describe } from '../orders/describe.ts';
import type { Link } from '../peers/link.ts';
import type { Site } from '../site.ts';
import { HeartbeatAnswers } from './heartbeat-answers.ts';

/** Until the coordinator has said otherwise. */
const FIRST_INTERVAL_MS = 500;

export class Heartbeat implements Closeable {
  readonly #site: Site;
  readonly #answers: HeartbeatAnswers;
  readonly #client: Client<typeof CoordinatorService>;
  readonly #advertise: () => string;
  readonly #loopDelay: LoopDelay;
  readonly #link: Link;
  readonly #stop = new AbortController();
  #intervalMs = FIRST_INTERVAL_MS;
  #running: Promise<void> | undefined;
  lastSuccessMs: number | undefined;

  constructor(options: {
    site: Site;
    tls: Tls;
    coordinator: { id: string; address: string };
    advertise: () => string;
    loopDelay: LoopDelay;
    link: Link;
  }) {
    this.#link = options.link;
    this.#site = options.site;
    this.#answers = new HeartbeatAnswers(options.site);
    this.#advertise = options.advertise;
    this.#loopDelay = options.loopDelay;
    this.#client = createClient(CoordinatorService, {
      address: options.coordinator.address,
      tls: options.tls,
      expected: { kind: 'coordinator', name: options.coordinator.id },
      link: () => options.link.limits,
    });
  }

  start(): void {
    const { clock, prng, log } = this.#site;
    this.#running = every({
      name: 'heartbeat',
      clock,
      prng,
      log,
      intervalMs: () => this.#intervalMs,
      backoffIntervalsMax: 2,
      signal: this.#stop.signal,
      work: () => this.#beat(),
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#client.close();
  }

  async #beat(): Promise<void> {
    const { clock } = this.#site;
    const sentAtMs = clock.monotonicMs();
    const answer = await this.#client.heartbeat(
      { state: await describe(this.#site), address: this.#advertise(), loopDelayMs: this.#loopDelay.maxMs() },
      { signal: this.#stop.signal, timeoutMs: this.#link.limits.answerMs },
    );
    this.#link.learn(answer.roundTripMsMax);
    this.#answers.take(answer, { sentAtMs });
    if (answer.intervalMs > 0) this.#intervalMs = answer.intervalMs;
    this.lastSuccessMs = clock.monotonicMs();
  }
}
