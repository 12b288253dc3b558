/**
 * Sealed generations at this site: blobs by content, manifests as they were signed. A manifest is stored only when every
 * blob that it needs is here, so a generation is whole or not there at all (I4). Holds nothing that is not sealed (I5).
 */

import { join } from 'node:path';
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite';
import {
  blobsNamed,
  countSharedNames,
  findingSharedNames,
  type Generation,
  hasUnknownVersions,
  openingSigned,
  type SealedGeneration,
  type SharedNameCounts,
  versionsNeeded,
} from '@antipode/hsm-core';
import { AntipodeError, type Clock, fromHex, hasCode, hex, runInSlices, sha256Hex } from '@antipode/runtime';
import { type Connect, IN_MEMORY, reaching, transaction, untilWritable } from './database.ts';
import { InUse } from './in-use.ts';
import { OpenedGenerations } from './opened-generations.ts';
import { StoreFile } from './store-file.ts';

/** How many are known by their names and counts: those of every head, of all groups that a site may hold. */
const SUMMARIES_MAX = 1_000;

/** Some 10 ms of work: a generation of 100,000 objects must not hold up leases and heartbeats while it is checked. */
const BLOBS_A_SLICE = 500;

/** Some milliseconds of a database. */
const LISTED_A_SLICE = 2_000;

const KEY_CLASSES: ReadonlySet<string> = new Set(['private-key', 'secret-key']);

/** A generation by its names and counts, which are small however many objects it has. */
export type GenerationSummary = BriefSummary & {
  /** Objects whose names do not tell them apart. */
  readonly sharedNames: SharedNameCounts;
};

/** The part of it that costs next to nothing to find out. */
export type BriefSummary = Pick<SealedGeneration, 'digest' | 'contentDigest'> &
  Pick<Generation, 'epoch' | 'number' | 'captureStartedMs' | 'domainKeyVersion'> & {
    readonly objectCount: number;
    /** Private and secret keys among them. */
    readonly keyCount: number;
    /** Domain key versions that it names; undefined where a deletion in it does not say which one opens it. */
    readonly versions: ReadonlySet<number> | undefined;
  };

export function summaryOf({ generation, digest, contentDigest }: SealedGeneration): BriefSummary {
  const { epoch, number, captureStartedMs, domainKeyVersion, entries } = generation;
  const keyCount = entries.filter(({ objectClass }) => KEY_CLASSES.has(objectClass)).length;
  const names = { digest, contentDigest, epoch, number, captureStartedMs, domainKeyVersion };
  const versions = hasUnknownVersions(generation) ? undefined : versionsNeeded(generation);
  return { ...names, objectCount: entries.length, keyCount, versions };
}

export class GenerationStore {
  readonly #file: StoreFile;
  readonly #clock: Clock;
  #database: DatabaseSync;
  #opened = new OpenedGenerations();
  /**
   * The summary of each manifest that was opened, or the error if the disk has changed it. Kept since a heartbeat asks
   * each time.
   */
  readonly #summaries = new Map<string, GenerationSummary | AntipodeError>();
  /** Blobs that were asked for and are missing or damaged, until somebody stores them again. */
  readonly damaged = new Set<string>();
  /** Grows whenever something may need a sealed object that did not need it before: what was found before is out of date. */
  changes = 0;
  readonly inUse = new InUse(() => {
    this.changes += 1;
  });
  readonly #statements = new Map<string, StatementSync>();
  readonly #blobsOf = new WeakMap<SealedGeneration, ReadonlySet<string>>();

  private constructor({ file, database, clock }: { file: StoreFile; database: DatabaseSync; clock: Clock }) {
    this.#file = file;
    this.#clock = clock;
    this.#database = database;
  }

  /** The store in this folder; an empty one where there is none, or none that is sound. @throws FILE_UNWRITABLE, FILE_BUSY */
  static open(folder: string, { clock }: { clock: Clock }): GenerationStore {
    return GenerationStore.#of(new StoreFile(join(folder, 'generations.db')), clock);
  }

  /** A store in memory, for simulations. */
  static inMemory({ clock, connect }: { clock: Clock; connect?: Connect }): GenerationStore {
    return GenerationStore.#of(new StoreFile(IN_MEMORY, { connect }), clock);
  }

  static #of(file: StoreFile, clock: Clock): GenerationStore {
    return new GenerationStore({ file, database: file.open(), clock });
  }

  /** Where a database that was no longer sound has been put, if one was. */
  get setAside(): string | undefined {
    return this.#file.setAside;
  }

  /** Which of the digests are not here. */
  async lacking(digests: Iterable<string>): Promise<string[]> {
    return [...(await this.#inSlices(choosing(digests, (digest) => !this.hasBlob(digest))))];
  }

  /** Which of the digests are not here as they should be: absent, or changed by the disk. Reads every one of them. */
  async unsound(digests: Iterable<string>): Promise<string[]> {
    const isUnsound = (digest: string): boolean => {
      const row = this.#get('SELECT bytes FROM blob WHERE sha256 = ?', fromHex(digest));
      return row === undefined || sha256Hex(row['bytes'] as Uint8Array) !== digest;
    };
    return [...(await this.#inSlices(choosing(digests, isUnsound)))];
  }

  /** Replaces what the disk changed. Durable on return. @throws FILE_UNWRITABLE, for one on a full disk; then none is stored */
  putBlobs(blobs: Iterable<Uint8Array>): void {
    const stored: string[] = [];
    this.changes += 1;
    this.#reach(() =>
      transaction(this.#database, () => {
        const statement = this.#database.prepare(
          'INSERT INTO blob VALUES (?, ?) ON CONFLICT (sha256) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes',
        );
        for (const blob of blobs) {
          const digest = sha256Hex(blob);
          statement.run(fromHex(digest), blob);
          stored.push(digest);
        }
      }),
    );
    for (const digest of stored) this.damaged.delete(digest);
  }

  /** The same for many: some at a time, in a transaction each, so that everything else goes on. */
  async putAllBlobs(blobs: Iterable<Uint8Array>): Promise<void> {
    await this.#inSlices(
      slicing(blobs, (some) => {
        this.putBlobs(some);
      }),
    );
  }

  /** Whether a blob is here as it should be. */
  hasSoundBlob(digest: string): boolean {
    const row = this.#database.prepare('SELECT bytes FROM blob WHERE sha256 = ?').get(fromHex(digest));
    return row !== undefined && sha256Hex(row['bytes'] as Uint8Array) === digest;
  }

  /** @throws GENERATION_UNKNOWN, BLOB_INVALID when the disk changed it */
  blob(digest: string): Uint8Array {
    const row = this.#get('SELECT bytes FROM blob WHERE sha256 = ?', fromHex(digest));
    if (row === undefined) {
      this.damaged.add(digest);
      throw new AntipodeError('GENERATION_UNKNOWN', 'a sealed object is not in this store', {
        details: { blob: digest },
      });
    }
    const blob = row['bytes'] as Uint8Array;
    const found = sha256Hex(blob);
    if (found === digest) return blob;
    this.damaged.add(digest);
    throw new AntipodeError('BLOB_INVALID', 'a sealed object in the store is damaged', {
      details: { expected: digest, found },
    });
  }

  /** Makes a generation visible, as it was signed. Durable on return. @throws GENERATION_UNKNOWN when a blob is lacking */
  put(sealed: SealedGeneration): Promise<void> {
    // While its sealed objects are counted, none of them may go.
    return this.inUse.during(sealed, () => this.#put(sealed));
  }

  async #put(sealed: SealedGeneration): Promise<void> {
    const lacking = await this.lacking(blobsNamed(sealed.generation));
    if (lacking.length > 0) {
      for (const digest of lacking) this.damaged.add(digest);
      throw new AntipodeError(
        'GENERATION_UNKNOWN',
        `${lacking.length} sealed objects of the generation are not in this store`,
        { details: { generation: sealed.digest } },
      );
    }
    const { group, epoch, number } = sealed.generation;
    this.changes += 1;
    this.#reach(() =>
      transaction(this.#database, () => {
        this.#database
          .prepare(
            'INSERT INTO manifest VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET signed = excluded.signed WHERE signed <> excluded.signed',
          )
          .run(fromHex(sealed.digest), group, epoch, number, sealed.signed);
      }),
    );
    this.#opened.keep(sealed);
    await this.#summarise(sealed);
  }

  /** Takes a manifest away. Its sealed objects stay. */
  retire(digest: string): void {
    this.#reach(() =>
      transaction(this.#database, () => {
        this.#database.prepare('DELETE FROM manifest WHERE digest = ?').run(fromHex(digest));
      }),
    );
    this.#summaries.delete(digest);
    this.#opened.forget(digest);
  }

  /** Every manifest here, of all groups. */
  manifests(): { group: string; epoch: bigint; number: bigint; digest: string }[] {
    return this.#reach(() => this.#prepared('SELECT grp, epoch, number, digest FROM manifest').all()).map((row) => ({
      group: String(row['grp']),
      epoch: BigInt(row['epoch'] as number),
      number: BigInt(row['number'] as number),
      digest: hex(row['digest'] as Uint8Array),
    }));
  }

  /** A generation as {@link open} gives it, for one look: it takes the place of none that is kept. */
  async verified(digest: string): Promise<SealedGeneration> {
    const known = this.#opened.peek(digest);
    if (known !== undefined) return known;
    const row = this.#get('SELECT grp FROM manifest WHERE digest = ?', fromHex(digest));
    const group = String(row?.['grp']);
    return this.#inSlices(openingSigned(this.signed(digest), { group, isPinned: () => true, expectedDigest: digest }));
  }

  /** The digests of all sealed objects that are not in `named`. */
  async blobsBeside(named: ReadonlySet<string>): Promise<string[]> {
    return this.#inSlices(this.#listingBeside(named));
  }

  *#listingBeside(named: ReadonlySet<string>): Generator<void, string[]> {
    const beside: string[] = [];
    for (let after = new Uint8Array(); ; ) {
      const rows = this.#reach(() =>
        this.#prepared('SELECT sha256 FROM blob WHERE sha256 > ? ORDER BY sha256 LIMIT ?').all(after, LISTED_A_SLICE),
      );
      for (const row of rows) {
        const digest = hex(row['sha256'] as Uint8Array);
        if (!named.has(digest)) beside.push(digest);
      }
      const last = rows.at(-1);
      if (last === undefined) return beside;
      after = new Uint8Array(last['sha256'] as Uint8Array);
      yield;
    }
  }

  /** How many, and how much they take, of these or of all. */
  sizeOf(digests?: readonly string[]): { blobs: number; bytes: number } {
    if (digests === undefined) {
      const row = this.#reach(() => this.#prepared('SELECT count(*) AS n, sum(length(bytes)) AS size FROM blob').get());
      return { blobs: Number(row?.['n'] ?? 0), bytes: Number(row?.['size'] ?? 0) };
    }
    const sizes = digests.flatMap((digest) => {
      const row = this.#get('SELECT length(bytes) AS size FROM blob WHERE sha256 = ?', fromHex(digest));
      return row === undefined ? [] : [Number(row['size'])];
    });
    return { blobs: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
  }

  /**
   * Takes sealed objects away for good: all of these or none, and what the file held of them is overwritten. Only the
   * collector knows which (collector.ts). @throws FILE_UNWRITABLE, FILE_BUSY
   */
  eraseBlobs(digests: readonly string[]): void {
    this.#reach(() =>
      transaction(this.#database, () => {
        const statement = this.#database.prepare('DELETE FROM blob WHERE sha256 = ?');
        for (const digest of digests) statement.run(fromHex(digest));
      }),
    );
    for (const digest of digests) this.damaged.delete(digest);
  }

  /**
   * Removes erased objects from the write-ahead log, which still has them. If somebody reads now, a later call does it.
   */
  truncateLog(): void {
    this.#reach(() => this.#database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get());
  }

  hasBlob(digest: string): boolean {
    return this.#get('SELECT 1 FROM blob WHERE sha256 = ?', fromHex(digest)) !== undefined;
  }

  has(digest: string): boolean {
    return this.#get('SELECT 1 FROM manifest WHERE digest = ?', fromHex(digest)) !== undefined;
  }

  /**
   * The signed manifest, as it was received. If `group` is given, the manifest must be of that group.
   * @throws GENERATION_UNKNOWN
   */
  signed(digest: string, { group }: { group?: string } = {}): Uint8Array {
    const row = this.#get('SELECT signed, grp FROM manifest WHERE digest = ?', fromHex(digest));
    if (row === undefined || (group !== undefined && row['grp'] !== group))
      throw new AntipodeError('GENERATION_UNKNOWN', 'the generation is not in this store', {
        details: { generation: digest },
      });
    return row['signed'] as Uint8Array;
  }

  /**
   * Opens a generation that was verified before it was stored. Its digest and signature are checked again. If `group`
   * is given, the generation must be of that group.
   * @throws MANIFEST_INVALID, GENERATION_UNKNOWN
   */
  async open(digest: string, { group }: { group?: string } = {}): Promise<SealedGeneration> {
    const sealed = await this.#opened.get(digest, async () => {
      const row = this.#get('SELECT grp FROM manifest WHERE digest = ?', fromHex(digest));
      const sealed = await this.#inSlices(
        openingSigned(this.signed(digest), {
          group: String(row?.['grp']),
          isPinned: () => true,
          expectedDigest: digest,
        }),
      );
      await this.#summarise(sealed);
      return sealed;
    });
    if (group === undefined || sealed.generation.group === group) return sealed;
    throw new AntipodeError('GENERATION_UNKNOWN', `the generation is not of group ${group}`, {
      details: { group, generation: digest },
    });
  }

  /**
   * Names and counts. The manifest is opened once in the life of the process.
   * @throws MANIFEST_INVALID, GENERATION_UNKNOWN, each time as at the first
   */
  async summary(digest: string): Promise<GenerationSummary> {
    const known = this.#summaries.get(digest) ?? (await this.#firstSummary(digest));
    if (known instanceof AntipodeError) throw known;
    return known;
  }

  /** The result or the error of {@link summary} for this digest; undefined if nobody has asked yet. */
  knownSummary(digest: string): GenerationSummary | AntipodeError | undefined {
    return this.#summaries.get(digest);
  }

  /** Whether the manifest is here as it was signed. */
  async isSound(digest: string): Promise<boolean> {
    try {
      return (await this.summary(digest)).digest === digest;
    } catch (thrown) {
      if (hasCode(thrown, 'MANIFEST_INVALID', 'GENERATION_UNKNOWN')) return false;
      throw thrown;
    }
  }

  /**
   * The blobs of a generation of this group, to find out whether one belongs to it.
   * @throws GENERATION_UNKNOWN, MANIFEST_INVALID
   */
  async blobsOf(digest: string, { group }: { group: string }): Promise<ReadonlySet<string>> {
    const sealed = await this.open(digest, { group });
    const known = this.#blobsOf.get(sealed);
    if (known !== undefined) return known;
    const blobs = await this.#inSlices(choosing(blobsNamed(sealed.generation), () => true));
    this.#blobsOf.set(sealed, blobs);
    return blobs;
  }

  /** Newest first. */
  list(group: string): { epoch: bigint; number: bigint; digest: string }[] {
    return this.#reach(() =>
      this.#prepared('SELECT epoch, number, digest FROM manifest WHERE grp = ? ORDER BY epoch DESC, number DESC').all(
        group,
      ),
    ).map((row) => ({
      epoch: BigInt(row['epoch'] as number),
      number: BigInt(row['number'] as number),
      digest: hex(row['digest'] as Uint8Array),
    }));
  }

  /** An order waits here before it stores what took it long. @throws FILE_BUSY, FILE_UNWRITABLE */
  untilWritable(clock: Clock, signal?: AbortSignal): Promise<void> {
    return untilWritable(this.#database, { clock, signal });
  }

  close(): void {
    this.#database.close();
  }

  #inSlices<Result>(work: Generator<void, Result>): Promise<Result> {
    return runInSlices(work, this.#clock);
  }

  #get(sql: string, value: Uint8Array): Record<string, SQLOutputValue> | undefined {
    return this.#reach(() => this.#prepared(sql).get(value));
  }

  #prepared(sql: string): StatementSync {
    const known = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.set(sql, known);
    return known;
  }

  /** @throws GENERATION_UNKNOWN where the database turned out to be damaged, and a new one takes its place */
  #reach<T>(work: () => T): T {
    try {
      return reaching(this.#file.path, work);
    } catch (thrown) {
      if (!hasCode(thrown, 'FILE_DAMAGED')) throw thrown;
      this.#database.close();
      this.#statements.clear();
      this.#summaries.clear();
      this.#opened = new OpenedGenerations();
      this.#database = this.#file.beginAgain();
      throw new AntipodeError(
        'GENERATION_UNKNOWN',
        `the store was damaged and starts empty; the old one is ${this.setAside}`,
        {
          details: { path: this.setAside ?? '' },
          cause: thrown,
        },
      );
    }
  }

  async #summarise(sealed: SealedGeneration): Promise<GenerationSummary> {
    const known = this.#summaries.get(sealed.digest);
    const sharedNames =
      known === undefined || known instanceof AntipodeError
        ? countSharedNames(await this.#inSlices(findingSharedNames(sealed.generation.entries)))
        : known.sharedNames;
    const summary = { ...summaryOf(sealed), sharedNames };
    this.#keep(sealed.digest, summary);
    return summary;
  }

  async #firstSummary(digest: string): Promise<GenerationSummary | AntipodeError> {
    try {
      return await this.#summarise(await this.open(digest));
    } catch (thrown) {
      if (!hasCode(thrown, 'MANIFEST_INVALID', 'GENERATION_UNKNOWN')) throw thrown;
      this.#keep(digest, thrown);
      return thrown;
    }
  }

  /** The latest only. */
  #keep(digest: string, summary: GenerationSummary | AntipodeError): void {
    const summaries = this.#summaries;
    summaries.delete(digest);
    summaries.set(digest, summary);
    const oldest = summaries.keys().next().value;
    if (summaries.size > SUMMARIES_MAX && oldest !== undefined) summaries.delete(oldest);
  }
}

function* slicing(blobs: Iterable<Uint8Array>, put: (some: readonly Uint8Array[]) => void): Generator<void, void> {
  let some: Uint8Array[] = [];
  for (const blob of blobs) {
    some.push(blob);
    if (some.length < BLOBS_A_SLICE) continue;
    put(some);
    some = [];
    yield;
  }
  if (some.length > 0) put(some);
}

function* choosing(digests: Iterable<string>, isWanted: (digest: string) => boolean): Generator<void, Set<string>> {
  const wanted = new Set<string>();
  let asked = 0;
  for (const digest of digests) {
    if (isWanted(digest)) wanted.add(digest);
    asked += 1;
    if (asked % BLOBS_A_SLICE === 0) yield;
  }
  return wanted;
}
