/**
 * The journal's records for the collector (collector.ts): how long this agent has been running, which objects were
 * deleted since when, which are not needed any more since when, and which were erased.
 *
 * Times here are running times (running-time.ts): they grow only while the agent runs. No wall clock moves them.
 */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { reaching } from '../database.ts';

export const COLLECTION = `
  CREATE TABLE watch (one INTEGER PRIMARY KEY CHECK (one = 1), ms INTEGER NOT NULL) STRICT;
  CREATE TABLE buried (grp TEXT, object_id TEXT, epoch INTEGER, generation INTEGER, version INTEGER, blobs TEXT NOT NULL, retention_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL, PRIMARY KEY (grp, object_id, epoch, generation)) STRICT;
  CREATE TABLE unneeded (digest TEXT PRIMARY KEY, since_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE erasure (seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, blobs INTEGER NOT NULL, bytes INTEGER NOT NULL, object_ids TEXT NOT NULL, is_done INTEGER NOT NULL) STRICT`;

/** Deletions count by the running time from this version on. An earlier count began at the active member only. */
export const COLLECTION_UPGRADE = `DROP TABLE kept; ${COLLECTION}`;

/** As many as somebody reads. */
const ERASURES_MAX = 500;

/** One deletion of one object. The same object may be deleted again later: that is another burial. */
export interface Burial {
  readonly objectId: string;
  /** The epoch of the generation that deleted it. */
  readonly epoch: bigint;
  readonly generation: bigint;
  /** The domain key version that opens its blobs; undefined where the tombstone does not say (format 1). */
  readonly version: number | undefined;
  readonly blobs: readonly string[];
  /** As the tombstone promises it. */
  readonly retentionMs: number;
}

export interface KeptBurial extends Burial {
  /** When this agent has first seen it. */
  readonly sinceMs: number;
}

/** The objects that one pass erased. */
export interface Erasure {
  readonly atMs: number;
  readonly blobs: number;
  readonly bytes: number;
  /** Deleted objects among them, so far as they are known. */
  readonly objectIds: readonly string[];
  /** False where the agent ended in between: the next pass goes on. */
  readonly isDone: boolean;
}

export const burialKey = ({ objectId, epoch, generation }: Pick<Burial, 'objectId' | 'epoch' | 'generation'>): string =>
  `${objectId} ${epoch} ${generation}`;

export class CollectionRecords {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #write: (work: () => void) => void;

  constructor(options: { database: DatabaseSync; path: string; write: (work: () => void) => void }) {
    this.#database = options.database;
    this.#path = options.path;
    this.#write = options.write;
  }

  /** For how long this agent has been running, all its runs together, when it was last recorded. */
  get runningMs(): number {
    return Number(this.#all('SELECT ms FROM watch')[0]?.['ms'] ?? 0);
  }

  setRunningMs(ms: number): void {
    this.#write(() =>
      this.#run('INSERT INTO watch VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET ms = excluded.ms', ms),
    );
  }

  buried(group: string): KeptBurial[] {
    return this.#all('SELECT * FROM buried WHERE grp = ?', group).map((row) => ({
      objectId: String(row['object_id']),
      epoch: BigInt(row['epoch'] as number),
      generation: BigInt(row['generation'] as number),
      version: row['version'] === null ? undefined : Number(row['version']),
      blobs: JSON.parse(String(row['blobs'])) as string[],
      retentionMs: Number(row['retention_ms']),
      sinceMs: Number(row['since_ms']),
    }));
  }

  /** Groups that have any. */
  buriedGroups(): string[] {
    return this.#all('SELECT DISTINCT grp FROM buried').map((row) => String(row['grp']));
  }

  /** The time of a new burial counts from now. The retention of a known one only grows. */
  noteBuried(group: string, burials: readonly Burial[], nowMs: number): void {
    const known = new Map(this.buried(group).map((one) => [burialKey(one), one.retentionMs]));
    const fresh = burials.filter((one) => (known.get(burialKey(one)) ?? -1) < one.retentionMs);
    if (fresh.length === 0) return;
    this.#write(() => {
      for (const { objectId, epoch, generation, version, blobs, retentionMs } of fresh)
        this.#run(
          'INSERT INTO buried VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET retention_ms = excluded.retention_ms',
          ...[group, objectId, epoch, generation, version ?? null, JSON.stringify(blobs), retentionMs, nowMs],
        );
    });
  }

  forgetBuried(group: string, burials: readonly Pick<Burial, 'objectId' | 'epoch' | 'generation'>[]): void {
    if (burials.length === 0) return;
    this.#write(() => {
      for (const { objectId, epoch, generation } of burials)
        this.#run(
          'DELETE FROM buried WHERE grp = ? AND object_id = ? AND epoch = ? AND generation = ?',
          ...[group, objectId, epoch, generation],
        );
    });
  }

  /** Sealed objects and manifests that nothing needs, by digest, each with the time since when. */
  unneeded(): Map<string, number> {
    return new Map(
      this.#all('SELECT digest, since_ms FROM unneeded').map((row) => [String(row['digest']), Number(row['since_ms'])]),
    );
  }

  /** Some at a time: each call is one transaction. */
  mark({ added, removed, nowMs }: { added: readonly string[]; removed: readonly string[]; nowMs: number }): void {
    this.#write(() => {
      for (const digest of removed) this.#run('DELETE FROM unneeded WHERE digest = ?', digest);
      for (const digest of added) this.#run('INSERT OR IGNORE INTO unneeded VALUES (?, ?)', digest, nowMs);
    });
  }

  /** Recorded before anything goes. */
  beginErasure(one: Omit<Erasure, 'isDone'>): number {
    let seq = 0;
    this.#write(() => {
      const { lastInsertRowid } = this.#run(
        'INSERT INTO erasure (at_ms, blobs, bytes, object_ids, is_done) VALUES (?, ?, ?, ?, 0)',
        ...[one.atMs, one.blobs, one.bytes, JSON.stringify(one.objectIds)],
      );
      seq = Number(lastInsertRowid);
      this.#run('DELETE FROM erasure WHERE seq <= ?', seq - ERASURES_MAX);
    });
    return seq;
  }

  /** These are gone: nothing has to be remembered of them, and of what devices made of them neither. */
  endErasure(seq: number, digests: readonly string[]): void {
    this.#write(() => {
      this.#run('UPDATE erasure SET is_done = 1 WHERE seq = ?', seq);
      const gone = JSON.stringify(digests);
      this.#run('DELETE FROM unneeded WHERE digest IN (SELECT value FROM json_each(?))', gone);
      this.#run('DELETE FROM print WHERE blob IN (SELECT value FROM json_each(?))', gone);
    });
  }

  /** The latest first. */
  erasures(): Erasure[] {
    return this.#all('SELECT * FROM erasure ORDER BY seq DESC').map((row) => ({
      atMs: Number(row['at_ms']),
      blobs: Number(row['blobs']),
      bytes: Number(row['bytes']),
      objectIds: JSON.parse(String(row['object_ids'])) as string[],
      isDone: row['is_done'] === 1,
    }));
  }

  #run(sql: string, ...values: (string | number | bigint | null)[]) {
    return reaching(this.#path, () => this.#database.prepare(sql).run(...values));
  }

  #all(sql: string, ...values: string[]): Record<string, SQLOutputValue>[] {
    return reaching(this.#path, () => this.#database.prepare(sql).all(...values));
  }
}
