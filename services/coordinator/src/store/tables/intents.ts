/**
 * Intents: the operations that the coordinator means to do. Each is recorded as one row before anything is done. At
 * most one is open per group, kind and site.
 */
import { AntipodeError } from '@antipode/runtime';
import type { IntentKind, IntentStatus, OrderFailure } from '../../model.ts';
import { fixed } from '../fixed-statement.ts';
import type { Schema } from '../schema.ts';
import { type Read, toJson, type Write } from '../store.ts';
import type { OnUnreadable } from './groups.ts';
import { kindFrom } from './kind-names.ts';

export interface Intent {
  readonly id: string;
  readonly kind: IntentKind;
  readonly group: string;
  /** For whom; empty where it has no site of its own. */
  readonly site: string;
  readonly state: { readonly phase: string };
  readonly status: IntentStatus;
  readonly attempts: number;
  /** Counts the effects that were begun. An effect that goes on after a crash or under the next leader keeps its number. */
  readonly performing: number;
  /** Names the order of the effect at an agent: the id of the intent, and which of its effects. */
  readonly requestId: string;
  readonly nextAttemptMs: number;
  readonly errorCode: string;
  readonly errorMessage: string;
  /** The last order of it that failed. */
  readonly failure?: OrderFailure | undefined;
  readonly trace: Readonly<Record<string, string>>;
  readonly createdMs: number;
  readonly updatedMs: number;
}

export interface NewIntent {
  readonly id: string;
  readonly kind: IntentKind;
  readonly group: string;
  readonly site: string;
  readonly state: { readonly phase: string };
  readonly trace: Readonly<Record<string, string>>;
}

const OPEN = ['open', 'parked'];
const HISTORY_MAX = 200;
const LIST_MAX = 500;
const RECENT_MAX = 50;

/**
 * Inserts unless one of its kind is open already; returns the id of the one that is open then. One that is parked is
 * opened again: whoever asks for the same has removed the cause, or wants to see it.
 */
export async function insertIntent(
  trx: Write,
  { id, kind, group, site, state, trace }: NewIntent,
  nowMs: number,
): Promise<{ id: string; isNew: boolean }> {
  const inserted = await trx
    .insertInto('intent')
    .values({
      id,
      kind,
      grp: group,
      site,
      state: encodeState(state),
      phase: state.phase,
      status: 'open',
      attempts: 0,
      performing: 0,
      next_attempt_ms: BigInt(nowMs),
      error_code: '',
      error_message: '',
      failure: '',
      trace: toJson(trace),
      created_ms: BigInt(nowMs),
      updated_ms: BigInt(nowMs),
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if (inserted.numInsertedOrUpdatedRows === 1n) return { id, isNew: true };
  const open = await trx
    .selectFrom('intent')
    .select('id')
    .where('grp', '=', group)
    .where('kind', '=', kind)
    .where('site', '=', site)
    .where('status', 'in', OPEN)
    .executeTakeFirst();
  if (open === undefined) return { id, isNew: false };
  await trx
    .updateTable('intent')
    .set({ status: 'open', attempts: 0, next_attempt_ms: BigInt(nowMs), updated_ms: BigInt(nowMs) })
    .where('id', '=', open.id)
    .where('status', '=', 'parked')
    .execute();
  return { id: open.id, isNew: false };
}

export async function readIntent(db: Read, id: string): Promise<Intent | undefined> {
  const [row] = (await withId(db, { id })).rows;
  return row && intentFrom(row);
}

const withId = fixed((db, { id }: { id: string }) => db.selectFrom('intent').selectAll().where('id', '=', id));

/** @throws NOT_FOUND */
export async function requireIntent(db: Read, id: string): Promise<Intent> {
  const intent = await readIntent(db, id);
  if (intent === undefined)
    throw new AntipodeError('NOT_FOUND', `operation does not exist: ${id}`, { details: { operation: id } });
  return intent;
}

/** For a step that must not follow what a person has ended meanwhile. @throws ROLE_REFUSED */
export async function requireOpen(trx: Write, { id }: Pick<Intent, 'id'>): Promise<void> {
  const [row] = (await statusOf(trx, { id })).rows;
  if (row?.status === 'open') return;
  throw new AntipodeError('ROLE_REFUSED', `operation ${id} has ended in the meantime`, { details: { operation: id } });
}

const statusOf = fixed((db, { id }: { id: string }) =>
  db.selectFrom('intent').select('status').where('id', '=', id).forShare(),
);

/** Of one group, or of all. */
export async function readOpenIntents(
  db: Read,
  { group, onUnreadable }: { group?: string; onUnreadable?: OnUnreadable } = {},
): Promise<Intent[]> {
  const { rows } = await (group === undefined ? allOpen(db, {}) : openOf(db, { group }));
  return rows.flatMap((row) => {
    try {
      return [intentFrom(row)];
    } catch (error) {
      if (onUnreadable === undefined) throw error;
      onUnreadable(row.grp, error);
      return [];
    }
  });
}

const openRows = (db: Read) =>
  db.selectFrom('intent').selectAll().where('status', 'in', OPEN).orderBy('created_ms').orderBy('id');
const allOpen = fixed((db) => openRows(db));
const openOf = fixed((db, { group }: { group: string }) => openRows(db).where('grp', '=', group));

/** The open operations by kind and status, and when the oldest of each was ordered. */
export async function readQueue(
  db: Read,
): Promise<{ kind: string; status: string; count: number; oldestMs: number }[]> {
  const { rows } = await queueOf(db, {});
  return rows.map(({ kind, status, count, oldest }) => ({
    kind,
    status,
    count: Number(count),
    oldestMs: Number(oldest),
  }));
}

const queueOf = fixed((db) =>
  db
    .selectFrom('intent')
    .select(['kind', 'status'])
    .select(({ fn }) => [fn.countAll().as('count'), fn.min('created_ms').as('oldest')])
    .where('status', 'in', OPEN)
    .groupBy(['kind', 'status']),
);

/** Whether the active role of the group is about to move: from the order on, until it has moved or that was given up. */
export async function isMoveOpen(db: Read, group: string): Promise<boolean> {
  const row = await db
    .selectFrom('intent')
    .select('id')
    .where('grp', '=', group)
    .where('kind', '=', 'failover')
    .where('status', 'in', OPEN)
    .executeTakeFirst();
  return row !== undefined;
}

/** Whatever is under way or waits for a person, and what was meant lately, newest first. */
export async function readRecent(db: Read): Promise<Intent[]> {
  // Two questions, each answered by its own index; asked as one, PostgreSQL would read the whole table.
  const open = (await newestOpen(db, {})).rows;
  const lately = (await newestMeant(db, {})).rows;
  const rows = new Map([...lately, ...open].map((row) => [row.id, row]));
  return [...rows.values()].map(intentFrom).sort((a, b) => b.createdMs - a.createdMs);
}

const newestOpen = fixed((db) =>
  db.selectFrom('intent').selectAll().where('status', 'in', OPEN).orderBy('created_ms', 'desc').limit(HISTORY_MAX),
);
const newestMeant = fixed((db) => db.selectFrom('intent').selectAll().orderBy('created_ms', 'desc').limit(RECENT_MAX));

/** The latest that failed in one group, newest first. Another group's failures do not crowd them out. */
export async function readFailed(db: Read, group: string): Promise<Intent[]> {
  return (await failedOf(db, { group })).rows.map(intentFrom);
}

const failedOf = fixed((db, { group }: { group: string }) =>
  db
    .selectFrom('intent')
    .selectAll()
    .where('grp', '=', group)
    .where('status', '=', 'failed')
    .orderBy('created_ms', 'desc')
    .limit(RECENT_MAX),
);

/** Intents of some kinds that were made since `sinceMs` and ended well. */
export async function readDone(
  db: Read,
  { group, kinds, sinceMs }: { group: string; kinds: readonly IntentKind[]; sinceMs: number },
): Promise<Intent[]> {
  const rows = await db
    .selectFrom('intent')
    .selectAll()
    .where('grp', '=', group)
    .where('kind', 'in', kinds)
    .where('status', '=', 'done')
    .where('created_ms', '>=', BigInt(Math.round(sinceMs)))
    .execute();
  return rows.map(intentFrom);
}

/** Failovers of all groups that ended since then, well or not, the oldest first. */
export async function readEndedFailovers(db: Read, { sinceMs }: { sinceMs: number }): Promise<Intent[]> {
  const rows = await db
    .selectFrom('intent')
    .selectAll()
    .where('kind', '=', 'failover')
    .where('status', 'in', ['done', 'failed'])
    .where('updated_ms', '>=', BigInt(Math.round(sinceMs)))
    .orderBy('updated_ms')
    .limit(LIST_MAX)
    .execute();
  return rows.map(intentFrom);
}

/** The newest of one kind that ended well, newest first. */
export async function readNewestDone(
  db: Read,
  { group, kind, limit }: { group: string; kind: IntentKind; limit: number },
): Promise<Intent[]> {
  const rows = await db
    .selectFrom('intent')
    .selectAll()
    .where('grp', '=', group)
    .where('kind', '=', kind)
    .where('status', '=', 'done')
    .orderBy('created_ms', 'desc')
    .limit(limit)
    .execute();
  return rows.map(intentFrom);
}

/** For people: newest first. */
export async function readIntents(db: Read, { group, limit }: { group?: string; limit: number }): Promise<Intent[]> {
  const all = db.selectFrom('intent').selectAll().orderBy('created_ms', 'desc').limit(Math.min(limit, LIST_MAX));
  const rows = await (group === undefined ? all : all.where('grp', '=', group)).execute();
  return rows.map(intentFrom);
}

/** By its id or the beginning of it. @throws NOT_FOUND, REQUEST_INVALID where several begin so */
export async function findIntent(db: Read, beginning: string): Promise<Intent> {
  const pattern = `${beginning.replace(/[\\%_]/g, '\\$&')}%`;
  const rows = await db.selectFrom('intent').selectAll().where('id', 'like', pattern).limit(2).execute();
  const [row, other] = rows;
  if (row === undefined || beginning === '')
    throw new AntipodeError('NOT_FOUND', `operation does not exist: ${beginning}`, {
      details: { operation: beginning },
    });
  if (other !== undefined)
    throw new AntipodeError('REQUEST_INVALID', `several operations begin with ${beginning}, expected one`, {
      details: { field: 'operation_id' },
      hint: 'Give more digits of the id. `antipode operation list` shows the ids.',
    });
  return intentFrom(row);
}

/** Ends an operation for a person, unless it has ended or moved on by itself. @returns whether it did */
export async function endIntent(
  trx: Write,
  { id, state }: Intent,
  { status, from }: { status: IntentStatus; from: readonly IntentStatus[] },
  nowMs: number,
): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable('intent')
    .set({ status, updated_ms: BigInt(nowMs) })
    .where('id', '=', id)
    .where('phase', '=', state.phase)
    .where('status', 'in', from)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** @returns false where a person has ended it meanwhile: then nothing was changed */
export async function updateIntent(
  trx: Write,
  id: string,
  change: Partial<
    Pick<
      Intent,
      'state' | 'status' | 'attempts' | 'performing' | 'nextAttemptMs' | 'errorCode' | 'errorMessage' | 'failure'
    >
  >,
  nowMs: number,
): Promise<boolean> {
  const { state, status, attempts, performing, nextAttemptMs, errorCode, errorMessage, failure } = change;
  const { numUpdatedRows } = await trx
    .updateTable('intent')
    .set({
      updated_ms: BigInt(nowMs),
      ...(state === undefined ? {} : { state: encodeState(state), phase: state.phase }),
      ...(status === undefined ? {} : { status }),
      ...(attempts === undefined ? {} : { attempts }),
      ...(performing === undefined ? {} : { performing }),
      ...(nextAttemptMs === undefined ? {} : { next_attempt_ms: BigInt(Math.round(nextAttemptMs)) }),
      ...(errorCode === undefined ? {} : { error_code: errorCode }),
      ...(errorMessage === undefined ? {} : { error_message: errorMessage }),
      ...(failure === undefined ? {} : { failure: toJson(failure) }),
    })
    .where('id', '=', id)
    .where('status', 'in', OPEN)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

export const requestIdOf = ({ id, performing }: { id: string; performing: number }): string => `${id}.${performing}`;

/** BigInts survive as `{"$n":"12"}`. */
function encodeState(state: unknown): string {
  return JSON.stringify(state, (_key, member: unknown) =>
    typeof member === 'bigint' ? { $n: member.toString() } : member,
  );
}

function decodeState(text: string): { phase: string } {
  return JSON.parse(text, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && '$n' in member && typeof member.$n === 'string'
      ? BigInt(member.$n)
      : member,
  ) as { phase: string };
}

export function intentFrom(row: Schema['intent']): Intent {
  return {
    id: row.id,
    kind: kindFrom(row.kind),
    group: row.grp,
    site: row.site,
    state: decodeState(row.state),
    status: row.status as IntentStatus,
    attempts: row.attempts,
    performing: row.performing,
    requestId: requestIdOf(row),
    nextAttemptMs: Number(row.next_attempt_ms),
    errorCode: row.error_code,
    errorMessage: row.error_message,
    failure: row.failure === '' ? undefined : (JSON.parse(row.failure) as OrderFailure),
    trace: JSON.parse(row.trace) as Record<string, string>,
    createdMs: Number(row.created_ms),
    updatedMs: Number(row.updated_ms),
  };
}
