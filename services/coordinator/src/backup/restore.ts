/**
 * Puts a backup of the database back, into a database in which no coordinator has worked. Then asks the agents what they
 * know beyond it. It overwrites nothing: the coordinator's own cluster is moved aside.
 *
 * An older copy is safe because agents remember. They refuse lower epochs and terms, and a coordinator that meets a
 * contradiction orders nothing (ADR 0012). The only thing that only the database remembers is how long a lease may last:
 * after a restore that is the longest of all profiles.
 */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Tls } from '@antipode/protocol';
import { type Closeable, closeAll, lockFolder, makeFolder } from '@antipode/runtime';
import type { CoordinatorConfig } from '../config.ts';
import { EmbeddedPostgres } from '../embedded/postgres.ts';
import { dialOverTls } from '../sites/agents.ts';
import { type CheckedBackup, checkBackup, readBackup } from '../store/backup/backup-file.ts';
import { continueEvents, insertRows } from '../store/backup/rows.ts';
import { externalDatabase } from '../store/postgres/external-database.ts';
import { PostgresStore } from '../store/postgres/postgres-store.ts';
import type { Refill } from '../store/sql-store.ts';
import { dropUnusedSiteTokens } from '../store/tables/certificates/site-tokens.ts';
import { readNewest } from '../store/tables/generations.ts';
import { readGroups } from '../store/tables/groups.ts';
import { raiseLeaseLength } from '../store/tables/leadership/lease-length.ts';
import { readSites } from '../store/tables/sites/sites.ts';
import { PROFILES } from '../timings.ts';
import type { CommandPorts } from './database-at-hand.ts';
import { type Learned, learnedFrom } from './learned.ts';
import { askSites } from './survey.ts';

export interface RestorePlan extends CheckedBackup {
  readonly path: string;
  /** The cluster of the coordinator is there, and is moved to this folder. */
  readonly movedTo: string | undefined;
}

export interface Restored extends RestorePlan {
  readonly learned: Learned;
}

type Config = Pick<CoordinatorConfig, 'id' | 'dataFolder' | 'databaseUrl' | 'tls' | 'timings'>;

const LEASE_MS_MAX = Math.max(...Object.values(PROFILES).map(({ leaseMs }) => leaseMs));

/** Changes nothing. @throws BACKUP_INVALID, FILE_UNWRITABLE */
export async function planRestore(config: Config, path: string): Promise<RestorePlan> {
  const checked = await checkBackup(path);
  const cluster = join(config.dataFolder, 'postgres');
  return {
    path,
    ...checked,
    movedTo: config.databaseUrl === undefined && existsSync(cluster) ? freeName(`${cluster}.replaced`) : undefined,
  };
}

/**
 * @throws FILE_EXISTS while a coordinator runs on the data folder, RESTORE_REFUSED where an external database is not
 * empty, BACKUP_INVALID, CONFIG_INVALID; then everything is as it was before
 */
export async function restoreCoordinator(
  config: Config,
  { path, ...ports }: CommandPorts & { path: string },
): Promise<Restored> {
  makeFolder(config.dataFolder);
  const owned: Closeable[] = [lockFolder(config.dataFolder, { program: 'coordinator' })];
  try {
    const plan = await planRestore(config, path);
    const opened = await openEmpty(config, plan, ports);
    owned.push(opened);
    try {
      await opened.store.refill(contentsOf(plan));
    } catch (thrown) {
      await opened.giveUp();
      throw thrown;
    }
    return { ...plan, learned: await learn(opened.store, config, ports) };
  } finally {
    await closeAll(owned.reverse());
  }
}

async function openEmpty(
  { dataFolder, databaseUrl }: Config,
  { movedTo }: RestorePlan,
  ports: CommandPorts,
): Promise<Closeable & { readonly store: PostgresStore; giveUp(): Promise<void> }> {
  const { clock, log } = ports;
  if (databaseUrl !== undefined) {
    const store = new PostgresStore({ connection: externalDatabase(databaseUrl), clock, log });
    return { store, close: () => store.close(), giveUp: async () => {} };
  }
  const cluster = join(dataFolder, 'postgres');
  if (movedTo !== undefined) renameSync(cluster, movedTo);
  const server = new EmbeddedPostgres({ dataFolder, ...ports });
  const putBack = (): void => {
    rmSync(cluster, { recursive: true, force: true });
    if (movedTo !== undefined) renameSync(movedTo, cluster);
  };
  try {
    const store = new PostgresStore({ connection: await server.start(), clock, log });
    const close = () => closeAll([store, server]);
    return {
      store,
      close,
      giveUp: async () => {
        await close();
        putBack();
      },
    };
  } catch (thrown) {
    await server.close();
    putBack();
    throw thrown;
  }
}

/** The file is read again, and compared again with its end: it may have changed since it was looked at. */
function contentsOf({ path, manifest, sha256 }: RestorePlan): Refill {
  return {
    schema: manifest.schema,
    fill: async (trx) => {
      for await (const part of readBackup(path))
        if (part.rows !== undefined) await insertRows(trx, part.table, part.rows);
      await continueEvents(trx);
    },
    end: async (trx, record) => {
      // Leases may have been longer since: only the database knows how long they were.
      await raiseLeaseLength(trx, LEASE_MS_MAX);
      // Since then some were used or revoked, and nobody here knows which.
      await dropUnusedSiteTokens(trx);
      record({ kind: 'database-restored', details: { takenAt: manifest.takenAt, sha256, term: manifest.term } });
    },
  };
}

async function learn(
  store: PostgresStore,
  { id, tls, timings }: Config,
  { clock, log }: CommandPorts,
): Promise<Learned> {
  const [sites, groups] = await store.query(async (db) => {
    const all = await readGroups(db);
    const newest = await Promise.all(all.map(({ spec }) => readNewest(db, spec.name)));
    return [await readSites(db), all.map((group, at) => ({ group, newest: newest[at] }))] as const;
  });
  const own = new Tls(
    { caFile: tls.ca, certificateFile: tls.certificate, keyFile: tls.key },
    { clock, log: log.with({ coordinator: id }) },
  );
  return learnedFrom(groups, await askSites(sites, { dial: dialOverTls(own), timings }));
}

/** Numbers, so that a second restore keeps what the first one has moved. */
function freeName(base: string): string {
  for (let number = 1; ; number += 1) if (!existsSync(`${base}-${number}`)) return `${base}-${number}`;
}
