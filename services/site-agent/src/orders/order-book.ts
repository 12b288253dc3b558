/**
 * The orders that were started at this site. An order is started and then asked for: it outlives the call, the
 * connection and the coordinator that started it. A repeated start with the same request id joins the running order, or
 * gets the kept result (I9). A kept result is a convenience. After a restart of the agent the same request runs the
 * order again, which every order allows.
 *
 * An order still ends when nobody asks for it any more. One that waits for its turn is dropped. One that has begun goes
 * on to its end, but a promotion takes no role (promote.ts). The book does not decide who may order what: the fence has
 * done that.
 */
import { type Fence, fenceOf, type JournalMarkSchema, type OrderState } from '@antipode/protocol';
import { AntipodeError, type Clock, type Closeable, hex, sha256 } from '@antipode/runtime';
import { type DescMessage, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { callerGone } from '../partition/turns.ts';

/** Longer than any change of the coordinators' leader takes, or of the database's primary: the next leader joins the order. */
export const UNASKED_MS_MAX = 60_000;
/**
 * How long a result waits to be fetched. A coordinator that was away asks again within minutes, or starts the order
 * again.
 */
export const KEPT_MS = 10 * 60_000;
/** Keeps results from filling the memory; the oldest goes first. */
export const KEPT_MAX = 256;
/** Far above what the groups of one site need: one order for each group and kind. */
export const RUNNING_MAX = 128;
/** No answer is held back for longer: links between sites forget a silent connection. */
const WAIT_MS_MAX = 60_000;

type JournalMark = MessageInitShape<typeof JournalMarkSchema>;
export type Answer<Response> = Response & {
  readonly order: Pick<OrderState, 'running' | 'ageMs'> & { readonly journal?: JournalMark };
};
type Outcome<Response> = { readonly response: Response } | { readonly failure: AntipodeError };

interface Order<Response = object> {
  readonly fence: Pick<Fence, 'group' | 'epoch' | 'requestId'>;
  readonly sinceMs: number;
  readonly stop: AbortController;
  /** Never rejects. */
  readonly outcome: Promise<Outcome<Response>>;
  /** How many calls wait for it now. */
  asking: number;
  /** Ends the wait for the next call. */
  unasked: AbortController | undefined;
  endedMs: number | undefined;
}

/** The fields that the request of every order has. */
interface OrderRequest {
  readonly fence?: Fence | undefined;
  readonly waitMs: number;
}

export interface Started<Schema extends DescMessage> {
  readonly method: string;
  readonly schema: Schema;
  readonly request: MessageShape<Schema> & OrderRequest;
  /** The signal of the call. The order has a signal of its own. */
  readonly signal: AbortSignal;
}

export class OrderBook implements Closeable {
  readonly #clock: Clock;
  readonly #mark: () => JournalMark | undefined;
  readonly #orders = new Map<string | symbol, Order>();
  #isClosed = false;

  /** @param options `mark` says how far the journal has come. Called when an order has ended, after its last write. */
  constructor({ clock, mark }: { clock: Clock; mark: () => JournalMark | undefined }) {
    this.#clock = clock;
    this.#mark = mark;
  }

  /**
   * Starts the order, or joins it, and answers when it has ended or `waitMs` have passed. A call with 0 is held to the end,
   * and is an order of its own that leaves nothing behind: its caller does not ask again.
   * @param work runs once for a request; its signal says that nobody wants the outcome any more, and why
   * @throws what the order ended in; HSM_UNAVAILABLE when too many orders run, TIMED_OUT when the caller has gone
   */
  run<Schema extends DescMessage, Response extends object>(
    { method, schema, request, signal }: Started<Schema>,
    work: (signal: AbortSignal) => Promise<Response>,
  ): Promise<Answer<Response>> {
    const isHeld = request.waitMs === 0;
    const key = isHeld ? Symbol(method) : keyOf(method, schema, request);
    this.#forgetOld();
    const order = (this.#orders.get(key) ?? this.#start(key, fenceOf(request), work)) as Order<Response>;
    return this.#ask(key, order, { waitMs: Math.min(request.waitMs, WAIT_MS_MAX), signal });
  }

  /** Ends the wait for every order of this name. Returns whether one had not ended. */
  cancel({ group, requestId }: Pick<Fence, 'group' | 'requestId'>): boolean {
    const reason = new AntipodeError('TIMED_OUT', 'the order was cancelled', { details: { group, requestId } });
    return this.#stopWhere((fence) => fence.group === group && fence.requestId === requestId, reason);
  }

  /**
   * Ends orders of a tenure that is over, since they act for nobody. The fence stops an order that has begun before its
   * next write.
   */
  overtaken({ group, epoch }: Pick<Fence, 'group' | 'epoch'>): void {
    const reason = new AntipodeError('EPOCH_STALE', `group ${group} is at epoch ${epoch} meanwhile`, {
      details: { group, epoch },
    });
    this.#stopWhere((fence) => fence.group === group && fence.epoch < epoch, reason);
  }

  /** Takes no more; what waits for its turn is dropped. Resolves when no order runs. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const orders = [...this.#orders.values()];
    for (const { stop, unasked } of orders) {
      unasked?.abort();
      stop.abort(new AntipodeError('HSM_UNAVAILABLE', 'the agent is stopping'));
    }
    await Promise.all(orders.map(({ outcome }) => outcome));
    this.#orders.clear();
  }

  #start<Response extends object>(
    key: string | symbol,
    { group, epoch, requestId }: Fence,
    work: (signal: AbortSignal) => Promise<Response>,
  ): Order<Response> {
    const running = [...this.#orders.values()].filter(({ endedMs }) => endedMs === undefined).length;
    if (this.#isClosed || running >= RUNNING_MAX)
      throw new AntipodeError('HSM_UNAVAILABLE', `${running} orders already run at this site`, {
        details: { group, running },
      });
    const stop = new AbortController();
    const outcome = work(stop.signal).then(
      (response): Outcome<Response> => ({ response }),
      (thrown: unknown): Outcome<Response> => ({ failure: AntipodeError.from(thrown) }),
    );
    const order: Order<Response> = {
      fence: { group, epoch, requestId },
      sinceMs: this.#clock.monotonicMs(),
      stop,
      outcome,
      asking: 0,
      unasked: undefined,
      endedMs: undefined,
    };
    void outcome.then(() => {
      order.endedMs = this.#clock.monotonicMs();
      order.unasked?.abort();
    });
    this.#orders.set(key, order);
    return order;
  }

  async #ask<Response extends object>(
    key: string | symbol,
    order: Order<Response>,
    { waitMs, signal }: { waitMs: number; signal: AbortSignal },
  ): Promise<Answer<Response>> {
    const ageMs = BigInt(Math.round(this.#clock.monotonicMs() - order.sinceMs));
    order.unasked?.abort();
    order.asking += 1;
    const isHeld = waitMs === 0;
    const leave = new AbortController();
    const gone = (): void => (isHeld ? order.stop.abort(callerGone()) : leave.abort());
    signal.addEventListener('abort', gone);
    if (signal.aborted) gone();
    try {
      const outcome = await (isHeld
        ? order.outcome
        : Promise.race([order.outcome, this.#clock.sleep(waitMs, leave.signal).then(() => undefined)]));
      if (outcome === undefined) {
        if (signal.aborted) throw callerGone();
        return { order: { running: true, ageMs } } as Answer<Response>;
      }
      const isFailure = 'failure' in outcome;
      // A failure is answered once. A caller that asks again wants the order to be tried again.
      if ((isHeld || isFailure) && this.#orders.get(key) === order) this.#orders.delete(key);
      if (isFailure) throw outcome.failure;
      const journal = this.#mark();
      return { ...outcome.response, order: { running: false, ageMs, ...(journal === undefined ? {} : { journal }) } };
    } finally {
      signal.removeEventListener('abort', gone);
      leave.abort();
      order.asking -= 1;
      if (order.asking === 0 && order.endedMs === undefined) void this.#awaitAsking(order);
    }
  }

  async #awaitAsking(order: Order): Promise<void> {
    const unasked = new AbortController();
    order.unasked = unasked;
    await this.#clock.sleep(UNASKED_MS_MAX, unasked.signal);
    if (!unasked.signal.aborted) order.stop.abort(callerGone());
  }

  #stopWhere(isMeant: (fence: Order['fence']) => boolean, reason: AntipodeError): boolean {
    const meant = [...this.#orders.values()].filter(({ fence, endedMs }) => endedMs === undefined && isMeant(fence));
    for (const { stop } of meant) stop.abort(reason);
    return meant.length > 0;
  }

  /** Forgets results that are too old, and then the oldest beyond the limit. */
  #forgetOld(): void {
    const nowMs = this.#clock.monotonicMs();
    const kept = [...this.#orders].flatMap(([key, { endedMs }]) => (endedMs === undefined ? [] : [{ key, endedMs }]));
    kept.sort((one, other) => one.endedMs - other.endedMs);
    for (const [index, { key, endedMs }] of kept.entries())
      if (nowMs - endedMs > KEPT_MS || kept.length - index > KEPT_MAX) this.#orders.delete(key);
  }
}

/**
 * Two requests are one order if their methods and fields are the same. Five fields do not count: how long to wait, the
 * term of the leader, the process that is meant, who may hold a copy, and the number that a new generation would get.
 * The next leader joins the order of the one before. It may know of other members that hold a copy, and reserves
 * another number.
 */
function keyOf<Schema extends DescMessage>(
  method: string,
  schema: Schema,
  request: MessageShape<Schema> & OrderRequest,
): string {
  const fence = { ...fenceOf(request), term: 0n, instance: '' };
  const said = { ...request, fence, waitMs: 0, sources: [], reservedGeneration: 0n } as MessageShape<Schema>;
  return `${method} ${hex(sha256(toBinary(schema, said)))}`;
}
