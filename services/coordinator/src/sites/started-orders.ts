/**
 * Orders that may take long are started and asked for. To a caller they look like one call: behind it the same request is put
 * again until the agent says that the order has ended, over reconnects and restarts of the agent. What the agent does between
 * two calls is its own: it joins an order that it knows, and runs again one that it does not (I9).
 *
 * Unknown is not failed: a call without an answer is asked again, for as long as a site may be silent before it is suspect.
 */
import { isUnreachable, type JournalMark, type SiteAgentService } from '@antipode/protocol';
import { AntipodeError, type Clock } from '@antipode/runtime';
import type { Agent } from './agents.ts';

type Methods = (typeof SiteAgentService)['method'];
const STARTED = [
  'promote',
  'distributeDomainKey',
  'capture',
  'apply',
  'verify',
  'scrub',
  'retireDomainKeys',
  'drill',
] as const satisfies readonly (keyof Methods)[];
type Started = (typeof STARTED)[number];

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
  const started = Object.fromEntries(STARTED.map((name) => [name, asking(agent, name, options)]));
  return { ...agent, ...started };
}

interface OrderRequest {
  readonly fence: {
    readonly group: string;
    readonly epoch: bigint;
    readonly owner: string;
    readonly requestId: string;
  };
}
type Call = (
  request: OrderRequest & { readonly waitMs?: number },
  options: { timeoutMs: number; signal?: AbortSignal },
) => Promise<Answer>;
interface Answer {
  readonly order?: { readonly running: boolean; readonly ageMs: bigint; readonly journal?: JournalMark };
}

function asking(agent: Agent, name: Started, { clock, callMs, patienceMs, closed, onJournal }: AskingOptions): Call {
  const call = (...[request, options]: Parameters<Call>): Promise<Answer> =>
    (agent[name] as unknown as Call)(request, options);
  return async (request, { timeoutMs = ORDER_MS_MAX, signal }) => {
    const endMs = clock.monotonicMs() + timeoutMs;
    const giveUp = (): void =>
      void agent.cancelOrder({ fence: request.fence }, { timeoutMs: callMs }).catch(() => 'it ends unasked');
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
        if (signal?.aborted || closed.aborted || !isUnreachable(thrown) || nowMs - troubleMs >= patienceMs)
          throw thrown;
        await clock.sleep(AGAIN_MS, signal === undefined ? closed : AbortSignal.any([signal, closed]));
      }
    }
  };
}

/** The age that the agent gives is of when the request arrived: at least as old as when it left, now is later by the call. */
function agedBy({ order }: Answer, callMs: number): Pick<Answer, 'order'> {
  return order === undefined ? {} : { order: { ...order, ageMs: order.ageMs + BigInt(Math.ceil(callMs)) } };
}
