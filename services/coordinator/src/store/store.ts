/**
 * The port to the truth: the promises of a transaction, and not where it runs. `postgres/` has the connections of
 * production. Tests run the same statements in their own process (src/testing). One conformance suite tries both.
 */
import type { Kysely, Transaction } from 'kysely';
import type { Schema } from './schema.ts';

export type Write = Transaction<Schema>;
export type Read = Kysely<Schema>;

export interface EventRecord {
  readonly kind: string;
  readonly group?: string;
  readonly site?: string;
  /** Ids, epochs and counts; never a label. */
  readonly details?: Readonly<Record<string, string | number | bigint | boolean>>;
}

/** The work of one transaction, and the events that it records with it. */
export type Change<T> = (trx: Write, record: (event: EventRecord) => void) => Promise<T>;
export type Look<T> = (db: Read) => Promise<T>;

export interface Store {
  /**
   * One change of state by the leader of `leaderEpoch`, with the events that tell of it. Durable when it resolves.
   * `change` awaits nothing but its own statements: its transaction may hold up every other one.
   * @throws LEADERSHIP_LOST, ALREADY_EXISTS (nothing is written), DATABASE_UNAVAILABLE (the outcome is unknown: read again)
   */
  write<T>(leaderEpoch: bigint, change: Change<T>): Promise<T>;

  /** Several reads that see the same moment, whatever is written meanwhile. @throws DATABASE_UNAVAILABLE */
  snapshot<T>(look: Look<T>): Promise<T>;

  /** Reads, and the leader election's own compare-and-set. @throws DATABASE_UNAVAILABLE */
  query<T>(look: Look<T>): Promise<T>;
}

/** The tables themselves, which each release has as it needs them. */
export interface Tables {
  /**
   * Makes the tables of a new database.
   * @throws CONFIG_INVALID where a later release has changed them, DATABASE_UNAVAILABLE
   */
  found(): Promise<void>;

  /** @throws CONFIG_INVALID where a later release has changed the tables, DATABASE_UNAVAILABLE */
  examine(): Promise<void>;

  /**
   * Brings the tables to this release, as the leader of this epoch.
   * @throws LEADERSHIP_LOST, CONFIG_INVALID, DATABASE_UNAVAILABLE
   */
  migrate(leaderEpoch: bigint): Promise<void>;
}

/** JSON in which BigInts are strings. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => (typeof member === 'bigint' ? member.toString() : member));
}
