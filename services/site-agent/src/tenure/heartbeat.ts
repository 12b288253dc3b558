/**
 * Signs of life to the coordinator that leads. Its answers renew leases, counted from when we asked, and end stale
 * tenures. The other coordinators are asked all the time whether one of them leads by now.
 */
import {
  type Client,
  CoordinatorService,
  DescribeResponseSchema,
  type HeartbeatRequest,
  HeartbeatRequestSchema,
  type HeartbeatResponse,
  type LeaderFinder,
  SentHeartbeats,
} from '@antipode/protocol';
import { type Closeable, elapsedMs, every, hasCode, type LoopWatch } from '@antipode/runtime';
import { create } from '@bufbuild/protobuf';
import { describe } from '../orders/describe.ts';
import type { Link } from '../peers/link.ts';
import type { Site } from '../site.ts';
import { type ClockOffset, clockOffset } from './clock-offset.ts';
import { HeartbeatAnswers } from './heartbeat-answers.ts';

/** Until the coordinator has said otherwise. */
const FIRST_INTERVAL_MS = 500;

/** Closed by the heartbeat, when its last call has ended. */
export type Coordinators = Pick<LeaderFinder, 'client' | 'look' | 'observed' | 'close'>;

export class Heartbeat implements Closeable {
  readonly #site: Site;
  readonly #answers: HeartbeatAnswers;
  readonly #coordinators: Coordinators;
  readonly #leader: Client<typeof CoordinatorService>;
  readonly #advertise: () => string;
  readonly #link: Link;
  readonly #watch: LoopWatch | undefined;
  readonly #stop = new AbortController();
  readonly #sent = new SentHeartbeats();
  #intervalMs = FIRST_INTERVAL_MS;
  #running: Promise<unknown> | undefined;
  #beats = 0n;
  lastSuccessMs: number | undefined;
  /** By the last answer; undefined for a coordinator that does not tell its time. */
  clockOffset: ClockOffset | undefined;

  constructor(options: {
    site: Site;
    coordinators: Coordinators;
    advertise: () => string;
    link: Link;
    watch?: LoopWatch | undefined;
  }) {
    this.#watch = options.watch;
    this.#link = options.link;
    this.#site = options.site;
    this.#answers = new HeartbeatAnswers(options.site);
    this.#advertise = options.advertise;
    this.#coordinators = options.coordinators;
    this.#leader = options.coordinators.client(CoordinatorService);
  }

  /** As the coordinator has said. */
  get intervalMs(): number {
    return this.#intervalMs;
  }

  start(): void {
    const { clock, prng, log } = this.#site;
    const { signal } = this.#stop;
    const loop = (name: string, work: () => Promise<void>): Promise<void> =>
      every({
        name,
        clock,
        prng,
        log,
        intervalMs: () => this.#intervalMs,
        backoffIntervalsMax: 2,
        signal,
        watch: this.#watch,
        work,
      });
    this.#running = Promise.all([
      loop('heartbeat', () => this.#beat()),
      loop('leader', () => this.#coordinators.look({ timeoutMs: this.#link.limits.answerMs, signal })),
      this.#site.vouched.run(signal),
    ]);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#coordinators.close();
  }

  async #beat(): Promise<void> {
    const { clock, clockRates } = this.#site;
    const { answer, sentAtMs } = await this.#ask();
    this.#link.learn(answer.roundTripMsMax);
    if (answer.clock !== undefined)
      clockRates.compared({ ...answer.clock, sentMs: sentAtMs, receivedMs: elapsedMs(clock) });
    const theirsMs = answer.clock?.wallMs;
    this.clockOffset =
      theirsMs === undefined
        ? undefined
        : clockOffset({ theirsMs, receivedMs: clock.wallMs(), roundTripMs: elapsedMs(clock) - sentAtMs });
    this.#answers.take(answer, { sentAtMs });
    if (answer.intervalMs > 0) this.#intervalMs = answer.intervalMs;
    this.lastSuccessMs = clock.monotonicMs();
  }

  /** Sends what has changed. If the coordinator does not know since when, the agent sends everything at once. */
  async #ask(): Promise<{ answer: HeartbeatResponse; sentAtMs: number }> {
    const sentAtMs = elapsedMs(this.#site.clock);
    const whole = await this.#account();
    const request = this.#sent.shortened(whole);
    const isPartial = request !== whole;
    const calling = this.#leader.heartbeat(request, {
      signal: this.#stop.signal,
      timeoutMs: this.#link.limits.answerMs,
    });
    try {
      return { answer: this.#sent.completed(await calling), sentAtMs };
    } catch (thrown) {
      // A coordinator of an earlier release says PEER_REFUSED: it finds no account.
      if (isPartial && hasCode(thrown, 'HEARTBEAT_PARTIAL', 'PEER_REFUSED', 'REQUEST_INVALID')) {
        this.#sent.forget();
        return this.#ask();
      }
      // It leads, and says that this process must not speak for the site.
      if (hasCode(thrown, 'ALREADY_EXISTS', 'PEER_REFUSED', 'CERTIFICATE_REVOKED')) this.#site.vouched.refused();
      throw thrown;
    }
  }

  async #account(): Promise<HeartbeatRequest> {
    const { clockRates, loopDelay, journal, places, terms, observations, vouches, vouched } = this.#site;
    const groupsWithoutSeat = places.groups.filter((group) => journal.tenure.seat(group) === undefined);
    const rate = clockRates.bounds;
    const { term = 0n, coordinator: termHolder = '' } = terms.highest ?? {};
    this.#beats += 1n;
    const state = create(DescribeResponseSchema, await describe(this.#site));
    // The rest of a lease is another one each time.
    for (const seat of state.members) seat.leaseRemainingMs = 0n;
    return create(HeartbeatRequestSchema, {
      state,
      address: this.#advertise(),
      loopDelayMs: loopDelay.maxMs(),
      groupsWithoutSeat,
      ...(rate === undefined ? {} : { clockRate: rate }),
      term,
      termHolder,
      observations: [...observations.all],
      beat: this.#beats,
      coordinators: this.#coordinators.observed.map(({ id, address, outcome, sinceMs, answeredMs }) => ({
        coordinator: id,
        address,
        reached: outcome !== 'silent',
        leads: outcome === 'leads',
        sinceMs: BigInt(sinceMs),
        ...(answeredMs === undefined ? {} : { answeredMs: BigInt(answeredMs) }),
      })),
      vouchees: [...vouches.vouchees],
      vouchSilentMs: BigInt(Math.floor(vouches.silentMs)),
      vouchedGroups: vouched.groups,
    });
  }
}
