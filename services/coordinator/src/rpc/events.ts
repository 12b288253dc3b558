/**
 * The log of events for operators, page by page. A number is drawn before its transaction ends, so a higher one may be
 * seen first. A reader who went on from there would miss the lower one for ever. So a page ends where no lower number can
 * appear any more. The cost of an answer does not depend on the length of the log.
 */
import {
  type EventSchema,
  type Handlers,
  isName,
  type ListEventsRequest,
  type ListEventsResponseSchema,
  type OperatorService,
} from '@antipode/protocol';
import { AntipodeError, type Clock } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Store } from '../store/store.ts';
import {
  type EventRow,
  isOnRecord,
  numberBefore,
  readEvents,
  readEventWriters,
  readNewestEvents,
} from '../store/tables/events.ts';

/** Rows that one answer reads, whatever it looks for. */
export const PAGE_ROWS = 1_000;
/** Rows that are looked through for the newest events that fit. */
export const NEWEST_ROWS = 10_000;
const NEWEST_MAX = 1_000;
const KINDS_MAX = 50;
const KIND = /^[a-z0-9][a-z0-9-]{0,62}\*?$|^\*$/;
/** Of a page, in characters of details: far below the limit of a message. */
const PAGE_CHARACTERS = 2_000_000;
/** A transaction takes milliseconds. One that hangs holds up what comes behind its numbers, and nothing before them. */
const SETTLE_MS_MAX = 2_000;
const SETTLE_AGAIN_MS = 20;
/** Clocks step, and transactions overlap: numbers are in the order of time only so far. */
const CLOCK_SLACK_MS = 600_000n;

export interface EventPorts {
  readonly store: Pick<Store, 'query'>;
  readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
}

type Answer = MessageInitShape<typeof ListEventsResponseSchema>;
type Fits = (row: EventRow) => boolean;

export function eventHandlers(ports: EventPorts): Pick<Handlers<typeof OperatorService>, 'listEvents'> {
  return {
    listEvents: async (request, { signal }) => {
      const fits = fitsOf(request);
      const cursor = cursorOf(request.cursor);
      if (cursor === undefined && request.newest > 0)
        return newestPage(ports, { newest: Math.min(request.newest, NEWEST_MAX), fits, signal });
      const isReplaced = cursor !== undefined && !(await ports.store.query((db) => isOnRecord(db, cursor)));
      const after = await beginningOf(ports, { request, cursor, isReplaced });
      return { ...(await page(ports, { request, after, fits, signal })), isReplaced };
    },
  };
}

/** The number that the page begins behind. */
async function beginningOf(
  { store }: EventPorts,
  { request, cursor, isReplaced }: { request: ListEventsRequest; cursor: Cursor | undefined; isReplaced: boolean },
): Promise<bigint> {
  if (cursor !== undefined) return isReplaced ? store.query((db) => numberBefore(db, cursor.atMs + 1n)) : cursor.id;
  const { sinceMs } = request;
  return sinceMs === undefined ? 0n : store.query((db) => numberBefore(db, sinceMs - CLOCK_SLACK_MS));
}

async function page(
  ports: EventPorts,
  { request, after, fits, signal }: { request: ListEventsRequest; after: bigint; fits: Fits; signal: AbortSignal },
): Promise<Answer> {
  const { store } = ports;
  const read = (end: bigint) => store.query((db) => readEvents(db, { after, end, limit: PAGE_ROWS }));
  const seen = await read(ID_MAX);
  const last = seen.at(-1);
  if (last === undefined) return { events: [], cursor: request.cursor, hasMore: false };
  const whole = wholeFrom(after, seen);
  const isSettled = whole === last.id || (await settles(ports, signal));
  const rows = withinRoom(whole === last.id ? seen : await read(isSettled ? last.id : whole));
  const end = rows.at(-1);
  const { untilMs } = request;
  return {
    events: rows.filter(fits).map(eventMessage),
    cursor: end === undefined ? request.cursor : cursorAt(end),
    hasMore:
      end !== undefined &&
      (seen.length === PAGE_ROWS || end.id < last.id) &&
      (untilMs === undefined || end.atMs < untilMs + CLOCK_SLACK_MS),
  };
}

/** @throws DATABASE_UNAVAILABLE where a transaction hangs: what its numbers are, nobody knows */
async function newestPage(
  ports: EventPorts,
  { newest, fits, signal }: { newest: number; fits: Fits; signal: AbortSignal },
): Promise<Answer> {
  const { store } = ports;
  const read = (end: bigint) => store.query((db) => readNewestEvents(db, { end, limit: PAGE_ROWS }));
  const last = (await read(ID_MAX)).at(-1);
  if (last === undefined) return { events: [], cursor: '', hasMore: false };
  if (!(await settles(ports, signal)))
    throw new AntipodeError('DATABASE_UNAVAILABLE', 'a transaction that writes events has not ended for some seconds', {
      hint: 'Try again. If this goes on, look for the transaction in pg_stat_activity of the database.',
    });
  const found: EventRow[] = [];
  let rows = await read(last.id);
  let looked = rows.length;
  for (;;) {
    found.unshift(...rows.filter(fits));
    const first = rows[0];
    if (found.length >= newest || rows.length < PAGE_ROWS || looked >= NEWEST_ROWS || first === undefined) break;
    rows = await read(first.id - 1n);
    looked += rows.length;
  }
  return {
    events: found.slice(-newest).map(eventMessage),
    cursor: cursorAt(last),
    hasMore: false,
    isCut: found.length < newest && looked >= NEWEST_ROWS,
  };
}

/** The last number up to which none is missing. */
function wholeFrom(after: bigint, rows: readonly EventRow[]): bigint {
  let whole = after;
  for (const { id } of rows) if (id === whole + 1n) whole = id;
  return whole;
}

/** Whether all transactions have ended that could still show a number below one that was seen before this call. */
async function settles({ store, clock }: EventPorts, signal: AbortSignal): Promise<boolean> {
  const endMs = clock.monotonicMs() + SETTLE_MS_MAX;
  const open = await store.query(readEventWriters);
  while (open.size > 0) {
    if (clock.monotonicMs() >= endMs || signal.aborted) return false;
    await clock.sleep(SETTLE_AGAIN_MS, signal);
    const now = await store.query(readEventWriters);
    for (const writer of open) if (!now.has(writer)) open.delete(writer);
  }
  return true;
}

/** At least one. */
function withinRoom(rows: readonly EventRow[]): readonly EventRow[] {
  let room = PAGE_CHARACTERS;
  const over = rows.findIndex(({ details }, at) => {
    room -= details.length;
    return room < 0 && at > 0;
  });
  return over < 0 ? rows : rows.slice(0, over);
}

const ID_MAX = 2n ** 63n - 1n;

/** The last event of a page, and its time: another log has another event of this number. */
interface Cursor {
  readonly id: bigint;
  readonly atMs: bigint;
}

const cursorAt = ({ id, atMs }: Cursor): string => `${id}.${atMs}`;

/** @throws REQUEST_INVALID */
function cursorOf(text: string): Cursor | undefined {
  if (text === '') return undefined;
  const [, id, atMs] = /^(\d{1,18})\.(\d{1,18})$/.exec(text) ?? [];
  if (id === undefined || atMs === undefined) throw invalid('cursor', 'is not one of an earlier answer');
  return { id: BigInt(id), atMs: BigInt(atMs) };
}

/** @throws REQUEST_INVALID */
function fitsOf({ group, site, kinds, sinceMs, untilMs }: ListEventsRequest): Fits {
  for (const [field, name] of Object.entries({ group, site }))
    if (name !== '' && !isName(name)) throw invalid(field, 'is not a name');
  if (kinds.length > KINDS_MAX) throw invalid('kinds', `has ${kinds.length} entries, expected at most ${KINDS_MAX}`);
  if (!kinds.every((kind) => KIND.test(kind)))
    throw invalid('kinds', 'must be lower-case letters, digits and dashes, with a * at the end at most');
  const isKind = kinds.map((kind) =>
    kind.endsWith('*') ? (one: string) => one.startsWith(kind.slice(0, -1)) : (one: string) => one === kind,
  );
  return (row) =>
    (group === '' || row.group === group) &&
    (site === '' || row.site === site) &&
    (sinceMs === undefined || row.atMs >= sinceMs) &&
    (untilMs === undefined || row.atMs < untilMs) &&
    (isKind.length === 0 || isKind.some((is) => is(row.kind)));
}

const invalid = (field: string, why: string): AntipodeError =>
  new AntipodeError('REQUEST_INVALID', `${field} ${why}`, { details: { field } });

const eventMessage = ({ id, atMs, kind, group, site, details }: EventRow): MessageInitShape<typeof EventSchema> => ({
  id,
  atMs,
  kind,
  group,
  site,
  details: detailsOf(details),
});

/** None where the text is not one of ours: one odd row must not hide those behind it. */
function detailsOf(text: string): Record<string, string> {
  try {
    const read = JSON.parse(text) as Record<string, unknown> | null;
    return Object.fromEntries(Object.entries(read ?? {}).map(([name, value]) => [name, String(value)]));
  } catch {
    return {};
  }
}
