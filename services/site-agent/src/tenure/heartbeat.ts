/** Signs of life to the coordinator. Its answers renew leases, counted from when we asked, and end stale tenures. */
import type { Client, CoordinatorService } from '@antipode/protocol';
import { type Closeable, elapsedMs, every } from '@antipode/runtime';
import { describe } from '../orders/describe.ts';
import type { Link } from '../peers/link.ts';
import type { Site } from '../site.ts';
import { HeartbeatAnswers } from './heartbeat-answers.ts';

/** Until the coordinator has said otherwise. */
const FIRST_INTERVAL_MS = 500;

/** Called by one heartbeat at a time; closed by the heartbeat, when its last call has ended. */
export type Coordinator = Pick<Client<typeof CoordinatorService>, 'heartbeat' | 'close'>;

export class Heartbeat implements Closeable {
  readonly #site: Site;
  readonly #answers: HeartbeatAnswers;
  readonly #coordinator: Coordinator;
  readonly #advertise: () => string;
  readonly #link: Link;
  readonly #stop = new AbortController();
  #intervalMs = FIRST_INTERVAL_MS;
  #running: Promise<void> | undefined;
  lastSuccessMs: number | undefined;

  constructor(options: {
    site: Site;
    coordinator: Coordinator;
    advertise: () => string;
    link: Link;
  }) {
    this.#link = options.link;
    this.#site = options.site;
    this.#answers = new HeartbeatAnswers(options.site);
    this.#advertise = options.advertise;
    this.#coordinator = options.coordinator;
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
    this.#coordinator.close();
  }

  async #beat(): Promise<void> {
    const { clock, clockRates, loopDelay, journal, places } = this.#site;
    const groupsWithoutSeat = places.groups.filter((group) => journal.tenure.seat(group) === undefined);
    const rate = clockRates.bounds;
    const sentAtMs = elapsedMs(clock);
    const answer = await this.#coordinator.heartbeat(
      {
        state: await describe(this.#site),
        address: this.#advertise(),
        loopDelayMs: loopDelay.maxMs(),
        groupsWithoutSeat,
        ...(rate === undefined ? {} : { clockRate: rate }),
      },
      { signal: this.#stop.signal, timeoutMs: this.#link.limits.answerMs },
    );
    this.#link.learn(answer.roundTripMsMax);
    if (answer.clock !== undefined)
      clockRates.compared({ ...answer.clock, sentMs: sentAtMs, receivedMs: elapsedMs(clock) });
    this.#answers.take(answer, { sentAtMs });
    if (answer.intervalMs > 0) this.#intervalMs = answer.intervalMs;
    this.lastSuccessMs = clock.monotonicMs();
  }
}
