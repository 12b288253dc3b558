/**
 * The database of a coordinator for a command beside it: a server of `databaseUrl`, or the coordinator's own child. The
 * child is used while it runs. Where it does not, the command starts it for a while.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  AntipodeError,
  type Clock,
  type Closeable,
  closeAll,
  hasCode,
  type Log,
  lockFolder,
  type Prng,
} from '@antipode/runtime';
import type { CoordinatorConfig } from '../config.ts';
import { EmbeddedPostgres, runningPostgres } from '../embedded/postgres.ts';
import { externalDatabase } from '../store/postgres/external-database.ts';
import { PostgresStore, type PostgresStoreOptions } from '../store/postgres/postgres-store.ts';
import { type ConnectionLimits, LIMITS } from '../store/postgres/servers.ts';

export interface CommandPorts {
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
}

type Where = Pick<CoordinatorConfig, 'dataFolder' | 'databaseUrl'>;

export interface DatabaseAtHand extends Closeable {
  readonly store: PostgresStore;
}

/** Nothing else waits for a copy, and a slow disk takes its time. */
const COPY_LIMITS: ConnectionLimits = { ...LIMITS, statementMs: 120_000, idleInTransactionMs: 120_000 };

/** The one that a coordinator uses, whether it runs or not. @throws NOT_FOUND, DATABASE_UNAVAILABLE */
export async function openUsed({ dataFolder, databaseUrl }: Where, ports: CommandPorts): Promise<DatabaseAtHand> {
  const { clock, log } = ports;
  if (databaseUrl !== undefined) return atHand(externalDatabase(databaseUrl), ports);
  const version = join(dataFolder, 'postgres', 'PG_VERSION');
  try {
    readFileSync(version);
  } catch (cause) {
    throw new AntipodeError('NOT_FOUND', `found no database in ${dataFolder}`, {
      details: { path: version },
      hint: 'Check `dataFolder` in the configuration, and run the command as root or as the user of the coordinator.',
      cause,
    });
  }
  let lock: Closeable;
  try {
    lock = lockFolder(dataFolder, { program: 'coordinator' });
  } catch (thrown) {
    if (!hasCode(thrown, 'FILE_EXISTS')) throw thrown;
    return atHand(runningPostgres(dataFolder), ports);
  }
  const server = new EmbeddedPostgres({ dataFolder, ...ports });
  try {
    const store = new PostgresStore({ connection: await server.start(), clock, log, limits: COPY_LIMITS });
    return { store, close: () => closeAll([store, server, lock]) };
  } catch (thrown) {
    await closeAll([server, lock]);
    throw thrown;
  }
}

function atHand(connection: PostgresStoreOptions['connection'], { clock, log }: CommandPorts): DatabaseAtHand {
  const store = new PostgresStore({ connection, clock, log, limits: COPY_LIMITS });
  return { store, close: () => store.close() };
}
