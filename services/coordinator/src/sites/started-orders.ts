/**
 * Long orders are started once and then polled. To a caller they look like one call. Behind it, the same request is
 * repeated until the agent says that the order has ended, across reconnects and restarts of the agent. The agent is
 * free between two calls. It joins an order that it knows, and runs one again that it does not know (I9).
 *
 * An unknown outcome is not a failure: a call without an answer is repeated, for as long as a site may be silent before
 * it is suspect.
 */
import { type CallOptions, isUnreachable, type JournalMark, type OrderState } from '@antipode/protocol';
import { AntipodeError, type Clock, hasCode } from '@antipode/runtime';
import type { Agent } from './agents.ts';

/** Shorter than any maximum age of a connection, longer than most orders. */
export const WAIT_MS = 15_000;
/** A link that was cut is there again, or the site is gone: in between it is not worth hammering. */
const AGAIN_MS = 200;
/** Of an order whose caller names no limit. */
const ORDER_MS_MAX = 30 * 60_000;

export interface AskingOptions {
  readonly clock: Clock;
  /** How long an answer may take beyond the time that the agent holds it back: a round trip, and a connection for it. */
  readonly callMs: number;
  /** For how long a call without an answer is repeated. Afterwards the site is somebody else's question. */
  readonly patienceMs: number;
  /** Aborted when this coordinator closes its connections: the order goes on, and the next leader joins it. */
  readonly closed: AbortSignal;
  /** Told how far the journal had come in which the outcome of an order is on record, before the caller has the answer. */
  readonly onJournal?: (mark: JournalMark) => void;
}

/** An agent whose long orders are started and asked for; everything else is called as it is. */
export function startingOrders(agent: Agent, options: AskingOptions): Agent {
  const asked = <Request extends OrderRequest, Answer extends OrderAnswer>(
    name: string,
    call: Call<Request, Answer>,
  ): Call<Request, Answer> => asking({ name, call, cancel: agent.cancelOrder }, options);
  return {
    ...agent,
    promote: asked('promote', agent.promote),
    distributeDomainKey: asked('distributeDomainKey', agent.distributeDomainKey),
    capture: asked('capture', agent.capture),
    apply: asked('apply', agent.apply),
    verify: asked('verify', agent.verify),
    scrub: asked('scrub', agent.scrub),
    offerDivergence: asked('offerDivergence', agent.offerDivergence),
    mergeDivergence: asked('mergeDivergence', agent.mergeDivergence),
    retireDomainKeys: asked('retireDomainKeys', agent.retireDomainKeys),
    drill: asked('drill', agent.drill),
  };
}

interface OrderRequest {
  readonly fence?: Parameters<Agent['cancelOrder']>[0]['fence'];
  readonly waitMs?: number | undefined;
}
interface OrderAnswer {
  readonly order?: OrderState | undefined;
}
type Call<Request, Answer> = (request: Request, options?: CallOptions) => Promise<Answer>;

function asking<Request extends OrderRequest, Answer extends OrderAnswer>(
  { name, call, cancel }: { name: string; call: Call<Request, Answer>; cancel: Agent['cancelOrder'] },
  { clock, callMs, patienceMs, closed, onJournal }: AskingOptions,
): Call<Request, Answer> {
  return async (request, { timeoutMs = ORDER_MS_MAX, signal } = {}) => {
    const endMs = clock.monotonicMs() + timeoutMs;
    const giveUp = (): void =>
      void cancel({ fence: request.fence }, { timeoutMs: callMs }).catch(() => 'it ends unasked');
    let troubleMs: number | undefined;
    for (;;) {
      const sentMs = clock.monotonicMs();
      const waitMs = Math.floor(Math.min(WAIT_MS, endMs - sentMs));
      if (waitMs < 1) {
        giveUp();
        throw new AntipodeError('TIMED_OUT', `the order did not end within ${timeoutMs} ms`, {
          details: { order: name, timeoutMs },
        });
      }
      try {
        const options = { timeoutMs: waitMs + callMs, ...(signal === undefined ? {} : { signal }) };
        const answer = await call({ ...request, waitMs }, options);
        if (answer.order?.running !== true) {
          if (answer.order?.journal !== undefined) onJournal?.(answer.order.journal);
          return { ...answer, ...agedBy(answer, clock.monotonicMs() - sentMs) };
        }
        troubleMs = undefined;
      } catch (thrown) {
        const nowMs = clock.monotonicMs();
        troubleMs ??= nowMs;
        if (signal?.aborted) giveUp();
        // An agent that was started again is known by its next heartbeat.
        const mayPass = isUnreachable(thrown) || hasCode(thrown, 'OTHER_PROCESS_ANSWERS');
        if (signal?.aborted || closed.aborted || !mayPass || nowMs - troubleMs >= patienceMs) throw thrown;
        await clock.sleep(AGAIN_MS, signal === undefined ? closed : AbortSignal.any([signal, closed]));
      }
    }
  };
}

/** The age that the agent gives is of when the request arrived: at least as old as when it left, now is later by the call. */
function agedBy({ order }: OrderAnswer, callMs: number): OrderAnswer {
  return order === undefined ? {} : { order: { ...order, ageMs: order.ageMs + BigInt(Math.ceil(callMs)) } };
}
