/**
 * Which PostgreSQL to talk to: the first of the configured servers that answers and takes writes, as libpq's
 * `target_session_attrs=read-write` has it. A server that a failover of the database has left behind is read-only, and is
 * passed over. Knows nothing of pools.
 */
import { AntipodeError, type Log, silentLog, systemClock } from '@antipode/runtime';
import pg from 'pg';

export interface ConnectionLimits {
  /** For one server: its name, TCP, TLS, login, and the first question. */
  readonly connectMs: number;
  /** A statement ends by itself at the server after this long, and a moment later here: a silent server never answers. */
  readonly statementMs: number;
  /** Waiting for a row that somebody else has locked. */
  readonly lockMs: number;
  /** A coordinator that is frozen inside a write gives its locks back after this long: its successor waits for them. */
  readonly idleInTransactionMs: number;
}

export const LIMITS: ConnectionLimits = {
  connectMs: 3_000,
  statementMs: 15_000,
  lockMs: 5_000,
  idleInTransactionMs: 5_000,
};

/** How much longer than the server we wait for a statement: its own word on the matter is the better error. */
const STATEMENT_GRACE_MS = 500;
/** No more than four attempts a second while the database is away, whoever asks. */
const RETRY_MS = 250;
/** The server notices a client that has vanished without a word, and frees what it held. */
const KEEPALIVES: Readonly<Record<string, string>> = {
  tcp_keepalives_idle: '5',
  tcp_keepalives_interval: '2',
  tcp_keepalives_count: '3',
  tcp_user_timeout: '11000',
};
const INT8 = 20;

export class Servers {
  readonly #servers: readonly pg.ClientConfig[];
  readonly #log: Log;
  #preferred = 0;
  #awaySinceMs: number | undefined;
  #lastFailure: { error: unknown; atMs: number } | undefined;
  #isTrying = false;
  #suspectedMs = Number.NEGATIVE_INFINITY;

  constructor({ servers, log = silentLog }: { servers: readonly pg.ClientConfig[]; log?: Log }) {
    this.#servers = servers;
    this.#log = log;
  }

  /** When something last went wrong. A connection that was sound before that is asked again. */
  get suspectedMs(): number {
    return this.#suspectedMs;
  }

  /** Called for whatever a server or the way to it did: a time-out, a lost connection, a refusal to write. */
  suspect(): void {
    this.#suspectedMs = systemClock.monotonicMs();
  }

  /** A connection that takes writes. @throws what the last server of the list gave as its reason */
  async open(limits: ConnectionLimits): Promise<pg.Client> {
    const last = this.#lastFailure;
    if (last !== undefined && (this.#isTrying || systemClock.monotonicMs() - last.atMs < RETRY_MS)) throw last.error;
    this.#isTrying = true;
    try {
      const client = await this.#openAny(limits);
      this.#lastFailure = undefined;
      this.#isBack();
      return client;
    } catch (error) {
      this.#lastFailure = { error, atMs: systemClock.monotonicMs() };
      if (this.#awaySinceMs === undefined) {
        this.#awaySinceMs = systemClock.monotonicMs();
        this.#log.warn('no database server is usable', { servers: this.#servers.map(nameOf), error });
      }
      throw error;
    } finally {
      this.#isTrying = false;
    }
  }

  /** Whether the connection still answers and still takes writes. @throws what it gave as its reason */
  async validate(client: pg.Client, limits: ConnectionLimits): Promise<void> {
    const { rows } = await client.query<{ is_read_only: boolean }>(preparation(limits));
    if (rows[0]?.is_read_only !== false)
      throw new AntipodeError('DATABASE_UNAVAILABLE', 'the database server accepts no writes');
  }

  async #openAny(limits: ConnectionLimits): Promise<pg.Client> {
    let failure: unknown;
    for (let count = 0; count < this.#servers.length; count += 1) {
      const at = (this.#preferred + count) % this.#servers.length;
      const server = this.#servers[at]!;
      const client = new pg.Client({
        ...server,
        connectionTimeoutMillis: limits.connectMs,
        query_timeout: limits.statementMs + STATEMENT_GRACE_MS,
        keepAlive: true,
        keepAliveInitialDelayMillis: 5_000,
        types: TYPES,
      });
      // The query gives its user the error. The event must have a listener too, or it ends the process.
      client.on('error', () => {});
      try {
        await client.connect();
        await this.validate(client, limits);
        if (at !== this.#preferred) this.#log.info('the database server has changed', { server: nameOf(server) });
        this.#preferred = at;
        return client;
      } catch (error) {
        discard(client);
        failure = error;
      }
    }
    throw failure;
  }

  #isBack(): void {
    if (this.#awaySinceMs === undefined) return;
    const awayMs = Math.round(systemClock.monotonicMs() - this.#awaySinceMs);
    this.#awaySinceMs = undefined;
    this.#log.info('the database is back', { server: nameOf(this.#servers[this.#preferred]!), awayMs });
  }
}

/** `pg` has its socket there, and does not say so in its types. */
type WithSocket = pg.Client & { readonly connection: { readonly stream: { destroy(): void } } };

/** Without a word of farewell, which a silent server would never take. */
export function discard(client: pg.Client): void {
  (client as WithSocket).connection.stream.destroy();
  client.end().catch(() => {});
}

/** Sets what the session must keep to, as far as this version of PostgreSQL knows it, and asks whether it takes writes. */
function preparation(limits: ConnectionLimits) {
  const settings = Object.entries({
    statement_timeout: String(limits.statementMs),
    lock_timeout: String(limits.lockMs),
    idle_in_transaction_session_timeout: String(limits.idleInTransactionMs),
    ...KEEPALIVES,
  });
  return {
    text: `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS is_read_only,
      (SELECT count(set_config(known.name, wanted.value, false)) FROM unnest($1::text[], $2::text[]) wanted (name, value)
        JOIN pg_settings known ON known.name = wanted.name) AS settings`,
    values: [settings.map(([name]) => name), settings.map(([, value]) => value)],
    query_timeout: limits.connectMs,
  };
}

/** For people; without user and password. */
function nameOf({ connectionString, host, port }: pg.ClientConfig): string {
  const url = connectionString !== undefined && URL.canParse(connectionString) ? new URL(connectionString) : undefined;
  return url?.host ?? `${host ?? 'localhost'}${port === undefined ? '' : `:${port}`}`;
}

/** Numbers of eight bytes are BigInts; everything else is as `pg` has it. */
const getTypeParser = ((oid: number, format: 'text') =>
  oid === INT8 ? BigInt : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser;

export const TYPES: pg.CustomTypesConfig = { getTypeParser };
