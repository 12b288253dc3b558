/** A PostgreSQL that several coordinators of one machine share, as the demonstration has it. Production has its own. */
import { type Closeable, type Log, systemClock, systemPrng } from '@antipode/runtime';
import { EmbeddedPostgres } from './postgres.ts';

export interface DatabaseServer extends Closeable {
  /** For `databaseUrl` of the coordinators. */
  readonly databaseUrl: string;
}

/** @throws PROGRAM_MISSING, CONFIG_INVALID */
export async function serveDatabase({ dataFolder, log }: { dataFolder: string; log: Log }): Promise<DatabaseServer> {
  const server = new EmbeddedPostgres({ dataFolder, clock: systemClock, prng: systemPrng, log });
  const { host, user, database } = await server.start();
  return {
    databaseUrl: `postgres://${user}@localhost/${database}?host=${encodeURIComponent(String(host))}`,
    close: () => server.close(),
  };
}
