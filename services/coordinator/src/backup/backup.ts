/** Copies the database of a coordinator into one file, of one moment, while everything goes on. */
import { AntipodeError, VERSION } from '@antipode/runtime';
import type { CoordinatorConfig } from '../config.ts';
import { type CheckedBackup, writeBackup } from '../store/backup/backup-file.ts';
import { countRows, readSchemaVersion, readSummary, rowsOf, type TableName } from '../store/backup/rows.ts';
import type { Read } from '../store/store.ts';
import { type CommandPorts, openUsed } from './database-at-hand.ts';

export interface BackedUp extends CheckedBackup {
  readonly path: string;
}

/** @throws FILE_EXISTS, NOT_FOUND, DATABASE_UNAVAILABLE, FILE_UNWRITABLE; nothing is left then */
export async function backUpCoordinator(
  config: CoordinatorConfig,
  { to, ...ports }: CommandPorts & { to: string },
): Promise<BackedUp> {
  const database = await openUsed(config, ports);
  try {
    const takenAt = new Date(ports.clock.wallMs()).toISOString();
    const checked = await database.store.snapshot(async (db) => {
      const schema = await readSchemaVersion(db);
      if (schema === 0)
        throw new AntipodeError('NOT_FOUND', 'the database has no tables: no coordinator has worked with it yet', {
          hint: 'Check `databaseUrl` or `dataFolder` in the configuration, and the environment (`DATABASE_URL`).',
        });
      const tables = await countRows(db);
      const facts = { ...(await readSummary(db)), version: VERSION, coordinator: config.id, takenAt, schema };
      return writeBackup(to, { ...facts, tables: Object.fromEntries(tables) }, allRows(db, [...tables.keys()]));
    });
    return { path: to, ...checked };
  } finally {
    await database.close();
  }
}

async function* allRows(
  db: Read,
  tables: readonly TableName[],
): AsyncGenerator<readonly [TableName, readonly string[]]> {
  for (const table of tables) for await (const rows of rowsOf(db, table)) yield [table, rows];
}
