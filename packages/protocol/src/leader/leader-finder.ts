/**
 * Finds the coordinator that leads, among those of a configuration, and calls that one. Agents, operators and
 * applications use it. A coordinator that does not lead does nothing of a call and says so, so the call is made again
 * elsewhere. A call whose outcome is unknown is never repeated here: its caller decides. With one coordinator nobody is
 * asked who leads.
 */
import { AntipodeError, type Clock, type Closeable, hasCode, systemClock } from '@antipode/runtime';
import type { DescService } from '@bufbuild/protobuf';
import type { CallOptions, Client } from '../client.ts';
import { CoordinatorService } from '../gen/antipode/v1/coordinator_pb.ts';
import { linkLimits, ROUND_TRIP_MS_MAX } from '../limits/link-limits.ts';
import { isUnreachable } from '../status.ts';
import {
  type CoordinatorObservation,
  CoordinatorObservations,
  type CoordinatorOutcome,
} from './coordinator-observations.ts';
import type { CoordinatorAddress } from './coordinators.ts';

export interface LeaderFinderOptions {
  readonly coordinators: readonly CoordinatorAddress[];
  /** Makes a connection to a coordinator. It opens when it is first used. */
  readonly dial: <Service extends DescService>(service: Service, coordinator: CoordinatorAddress) => Client<Service>;
  /** How long a call waits for a leader while coordinators answer that they do not lead. Default 0. */
  readonly patienceMs?: number;
  readonly clock?: Clock;
}

interface Leader {
  readonly coordinator: CoordinatorAddress;
  readonly term: bigint;
  /** Aborted when another one leads: a call to a coordinator that is silent must not hold up its caller. */
  readonly over: AbortController;
}

/** The last answer of one coordinator; undefined while it has not answered. */
type Said = { readonly leads: false } | { readonly error: AntipodeError } | undefined;

/** A connection on the longest link takes no longer. */
const ASK_MS = linkLimits(ROUND_TRIP_MS_MAX).connectMs;
const AGAIN_MS = 200;

export class LeaderFinder implements Closeable {
  readonly #options: LeaderFinderOptions;
  readonly #clock: Clock;
  readonly #asking = new Map<string, Client<typeof CoordinatorService>>();
  readonly #open: { close(): void }[] = [];
  readonly #observations: CoordinatorObservations;
  #leader: Leader | undefined;

  constructor(options: LeaderFinderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#observations = new CoordinatorObservations({ coordinators: options.coordinators, clock: this.#clock });
  }

  get coordinators(): readonly CoordinatorAddress[] {
    return this.#options.coordinators;
  }

  /** The outcome of the last call to each coordinator that was called. */
  get observed(): readonly CoordinatorObservation[] {
    return this.#observations.all;
  }

  /** The coordinator that led when it was last asked; undefined if that is not known. */
  get leader(): CoordinatorAddress | undefined {
    return this.#only ?? this.#leader?.coordinator;
  }

  /** Calls of this client go to the coordinator that leads. `close` closes its own connections only. */
  client<Service extends DescService>(service: Service): Client<Service> {
    const clients = new Map<string, Client<Service>>();
    const at = (coordinator: CoordinatorAddress): Client<Service> => {
      const made = clients.get(coordinator.id) ?? this.#options.dial(service, coordinator);
      clients.set(coordinator.id, made);
      return made;
    };
    const calls = service.methods.map(({ localName }) => [
      localName,
      (request: never, options: CallOptions = {}) =>
        this.#call(options, (coordinator, limits) => {
          const call = Reflect.get(at(coordinator), localName) as Unary;
          return call(request, { ...options, ...limits });
        }),
    ]);
    const close = (): void => {
      for (const client of clients.values()) client.close();
      clients.clear();
    };
    this.#open.push({ close });
    return { ...Object.fromEntries(calls), close } as Client<Service>;
  }

  /**
   * Asks the coordinators that are not taken for the leader whether one of them leads by now. An agent does that all the
   * time: a leader that is silent does not say that it leads no longer.
   */
  async look({ timeoutMs = ASK_MS, signal }: CallOptions = {}): Promise<void> {
    if (this.#only !== undefined) return;
    const others = this.coordinators.filter(({ id }) => id !== this.#leader?.coordinator.id);
    await Promise.all(
      others.map(async (coordinator) => {
        try {
          const { term } = await this.#ask(coordinator, timeoutMs, signal);
          if (term > (this.#leader?.term ?? 0n)) this.#learn(coordinator, term);
        } catch (thrown) {
          // A coordinator that is away does not lead.
          if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
        }
      }),
    );
  }

  async close(): Promise<void> {
    for (const one of [...this.#open, ...this.#asking.values()]) one.close();
    this.#asking.clear();
  }

  get #only(): CoordinatorAddress | undefined {
    const [first, ...more] = this.coordinators;
    return more.length === 0 ? first : undefined;
  }

  async #call<T>(
    { timeoutMs, signal }: CallOptions,
    work: (coordinator: CoordinatorAddress, limits: CallOptions) => Promise<T>,
  ): Promise<T> {
    const startedMs = this.#clock.monotonicMs();
    const leftMs = (): number => (timeoutMs ?? Number.POSITIVE_INFINITY) - (this.#clock.monotonicMs() - startedMs);
    for (let attempt = 0; ; attempt += 1) {
      const leader = this.#only ?? (await this.#find({ startedMs, leftMs, signal }));
      const over = this.#leader?.over.signal;
      const signals = [signal, over].filter((one) => one !== undefined);
      try {
        const answer = await work(leader, {
          ...(timeoutMs === undefined ? {} : { timeoutMs: Math.max(1, leftMs()) }),
          ...(signals.length === 0 ? {} : { signal: AbortSignal.any(signals) }),
        });
        this.#observations.note(leader.id, 'leads');
        return answer;
      } catch (thrown) {
        if (!signals.some(({ aborted }) => aborted)) this.#observations.note(leader.id, outcomeOf(thrown));
        const isElsewhere = hasCode(thrown, 'NOT_LEADER');
        if (isElsewhere || hasCode(thrown, 'LEADERSHIP_LOST') || isUnreachable(thrown)) this.#forget(leader);
        const isOver = attempt > 0 && this.#clock.monotonicMs() - startedMs >= this.#patienceMs;
        if (!isElsewhere || this.#only !== undefined || isOver || leftMs() <= 0) throw thrown;
      }
    }
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? 0;
  }

  /** All are asked at once, and each of them again while it does not lead. The first that leads is the answer. */
  #find({
    startedMs,
    leftMs,
    signal,
  }: {
    startedMs: number;
    leftMs: () => number;
    signal: AbortSignal | undefined;
  }): Promise<CoordinatorAddress> {
    if (this.#leader !== undefined) return Promise.resolve(this.#leader.coordinator);
    const said = new Map<string, Said>();
    const { promise, resolve, reject } = Promise.withResolvers<CoordinatorAddress>();
    const stop = new AbortController();
    const ended = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const isOver = (): boolean =>
      leftMs() <= 0 ||
      (said.size === this.coordinators.length &&
        (this.#clock.monotonicMs() - startedMs >= this.#patienceMs ||
          ![...said.values()].some((one) => one !== undefined && 'leads' in one)));
    const ask = async (coordinator: CoordinatorAddress): Promise<void> => {
      while (!ended.aborted) {
        try {
          const { term } = await this.#ask(coordinator, Math.min(ASK_MS, Math.max(1, leftMs())), ended);
          if (term > 0n) {
            this.#learn(coordinator, term);
            return resolve(coordinator);
          }
          said.set(coordinator.id, { leads: false });
        } catch (thrown) {
          said.set(coordinator.id, { error: AntipodeError.from(thrown) });
        }
        if (ended.aborted || isOver()) return reject(this.#nobody(said));
        await this.#clock.sleep(AGAIN_MS, ended);
      }
      reject(this.#nobody(said));
    };
    return Promise.race([promise, ...this.coordinators.map((one) => ask(one).then(() => promise))]).finally(() =>
      stop.abort(),
    );
  }

  /** As the one coordinator of a single address fails, if it is the same with all of them. */
  #nobody(said: ReadonlyMap<string, Said>): AntipodeError {
    const each = this.coordinators.map(({ id, address }) => ({ id, address, said: said.get(id) }));
    const errors = each.flatMap((one) => (one.said !== undefined && 'error' in one.said ? [one.said.error] : []));
    const [first] = errors;
    const whole = each
      .map(({ id, address, said: one }) => {
        if (one === undefined) return `${id} at ${address} has not answered`;
        return 'error' in one
          ? `${id} at ${address}: ${one.error.message.replace(`[${one.error.code}] `, '')}`
          : `${id} at ${address} does not lead`;
      })
      .join('; ');
    if (first !== undefined && errors.length === each.length)
      return new AntipodeError(first.code, whole, { details: first.details, cause: first, hint: first.ownHint });
    return new AntipodeError('NOT_LEADER', `no coordinator leads: ${whole}`, {
      details: { coordinators: each.map(({ id }) => id).join(',') },
      hint: 'Wait a moment: after the loss of a coordinator another one takes over within seconds. If none does, check the coordinators and their database.',
      ...(first === undefined ? {} : { cause: first }),
    });
  }

  async #ask(coordinator: CoordinatorAddress, timeoutMs: number, signal: AbortSignal | undefined) {
    const { id } = coordinator;
    const client = this.#asking.get(id) ?? this.#options.dial(CoordinatorService, coordinator);
    this.#asking.set(id, client);
    const coordinators = this.coordinators.map((one) => ({ coordinator: one.id, address: one.address }));
    try {
      const answer = await client.getLeader(
        { coordinators },
        { timeoutMs, ...(signal === undefined ? {} : { signal }) },
      );
      this.#observations.note(id, answer.term > 0n ? 'leads' : 'stands-by');
      return answer;
    } catch (thrown) {
      // A question that was withdrawn says nothing of the coordinator.
      if (signal?.aborted !== true) this.#observations.note(id, outcomeOf(thrown));
      throw thrown;
    }
  }

  #learn(coordinator: CoordinatorAddress, term: bigint): void {
    if (this.#leader?.coordinator.id === coordinator.id) {
      this.#leader = { ...this.#leader, term };
      return;
    }
    this.#leader?.over.abort();
    this.#leader = { coordinator, term, over: new AbortController() };
  }

  #forget({ id }: CoordinatorAddress): void {
    if (this.#leader?.coordinator.id === id) this.#leader = undefined;
  }
}

/** An error that the coordinator itself gave is an answer. */
function outcomeOf(thrown: unknown): CoordinatorOutcome {
  if (hasCode(thrown, 'NOT_LEADER', 'LEADERSHIP_LOST')) return 'stands-by';
  return isUnreachable(thrown) ? 'silent' : 'leads';
}

type Unary = (request: never, options: CallOptions) => Promise<never>;
