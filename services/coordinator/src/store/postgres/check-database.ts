/** Whether a database that somebody else runs can be used, for `antipode doctor`: tried, and left as it was. */
import { AntipodeError } from '@antipode/runtime';
import pg from 'pg';
import { externalDatabase } from './external-database.ts';

const TIMEOUT_MS = 5_000;

/** The version of the first server that accepts writes. @throws CONFIG_INVALID, DATABASE_UNAVAILABLE */
export async function checkDatabase(databaseUrl: string): Promise<string> {
  const answers: string[] = [];
  for (const server of externalDatabase(databaseUrl)) {
    const client = new pg.Client({ ...server, connectionTimeoutMillis: TIMEOUT_MS, query_timeout: TIMEOUT_MS });
    client.on('error', () => {});
    try {
      await client.connect();
      const { rows } = await client.query<{ version: string; read_only: string }>(
        "SELECT current_setting('server_version') AS version, current_setting('transaction_read_only') AS read_only",
      );
      if (rows[0]?.read_only === 'off') return `PostgreSQL ${rows[0].version}`;
      answers.push('accepts no writes');
    } catch (cause) {
      answers.push(cause instanceof Error ? cause.message || String((cause as { code?: string }).code) : String(cause));
    } finally {
      await client.end().catch(() => {});
    }
  }
  throw new AntipodeError('DATABASE_UNAVAILABLE', `no server of databaseUrl can be used: ${answers.join('; ')}`, {
    details: { servers: answers.length },
    hint: 'Check address, user, password, sslmode and pg_hba.conf. One server must accept writes.',
  });
}
