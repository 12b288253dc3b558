/**
 * Events page after page, and as they come. The place in the log is a cursor that any coordinator of the database
 * understands, so that the next leader goes on where the last one ended: no event twice, and none left out.
 */
import { type Event, isUnreachable, type ListEventsRequestSchema, type ListEventsResponse } from '@antipode/protocol';
import { AntipodeError, type Clock, hasCode } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';

type Request = MessageInitShape<typeof ListEventsRequestSchema>;

export interface FeedPorts {
  readonly list: (request: Request) => Promise<ListEventsResponse>;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly tell: (event: Event) => void;
  /** For people: a word about the feed itself. */
  readonly note: (text: string) => void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** A person sees an event at once, and a coordinator does not notice the load. */
const EVERY_MS = 1_000;

/** All that are on record. @throws what the coordinator answers */
export async function tellEvents(request: Request, ports: FeedPorts): Promise<number> {
  const { told } = await pages(request, ports);
  return told;
}

/** And those that come, until the signal. Errors that pass are noted once, and waited for. */
export async function followEvents(request: Request, ports: FeedPorts): Promise<void> {
  const { clock, note, signal } = ports;
  let at = request;
  let isAway = false;
  while (!signal.aborted) {
    try {
      ({ next: at } = await pages(at, ports, (next) => {
        at = next;
      }));
      if (isAway) note('A coordinator answers again. No event is left out.');
      isAway = false;
    } catch (thrown) {
      if (signal.aborted) return;
      const error = AntipodeError.from(thrown);
      if (!isPassing(error)) throw error;
      if (!isAway) note(`${error.message}\n  Events are followed on as soon as a coordinator answers.`);
      isAway = true;
    }
    await clock.sleep(EVERY_MS, signal);
  }
}

/** An error that a coordinator which restarts, or the next leader, ends. */
export const isPassing = (error: AntipodeError): boolean =>
  error.disposition === 'retry' || isUnreachable(error) || hasCode(error, 'NOT_LEADER', 'LEADERSHIP_LOST', 'TIMED_OUT');

/** @param turned is called behind each page, so that it does not come again if the next one fails */
async function pages(
  first: Request,
  { list, tell, note, signal }: FeedPorts,
  turned: (next: Request) => void = () => {},
): Promise<{ told: number; next: Request }> {
  let next = first;
  let told = 0;
  for (;;) {
    const { events, cursor, hasMore, isReplaced, isCut } = await list(next);
    if (isReplaced) note('The log of events was replaced by an older copy of it. These events are of the copy.');
    if (isCut) note('Older events that fit were not looked for. Name a time with --since to see them.');
    for (const event of events) {
      if (signal.aborted) return { told, next };
      tell(event);
      told += 1;
    }
    next = { ...next, cursor };
    turned(next);
    if (!hasMore || signal.aborted) return { told, next };
  }
}
