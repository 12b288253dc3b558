/**
 * Sealed generations at this site: blobs by content, manifests as they were signed. A manifest is stored only when every
 * blob that it needs is here, so a generation is whole or not there at all (I4). Holds nothing that is not sealed (I5).
 */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { blobDigests, openSigned, type SealedGeneration } from '@antipode/hsm-core';
import { AntipodeError, fromHex, hex, sha256Hex } from '@antipode/runtime';
import { openDatabase, transaction } from './journal.ts';

const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE blob (sha256 BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE manifest (digest BLOB PRIMARY KEY, grp TEXT NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL, signed BLOB NOT NULL) STRICT;
`;

/** How many opened manifests are kept in memory: the heads of a few groups. */
const OPENED_MAX = 16;

export class GenerationStore {
  readonly #database: DatabaseSync;
  readonly #opened = new Map<string, SealedGeneration>();

  constructor(folder: string) {
    this.#database = openDatabase(join(folder, 'generations.db'), { schema: SCHEMA, version: SCHEMA_VERSION });
  }

  /** Which of the digests are not here. */
  lacking(digests: readonly string[]): string[] {
    const statement = this.#database.prepare('SELECT 1 FROM blob WHERE sha256 = ?');
    return digests.filter((digest) => statement.get(fromHex(digest)) === undefined);
  }

  /** Durable on return. @throws FILE_UNWRITABLE, for one on a full disk; then none of them is stored */
  putBlobs(blobs: Iterable<Uint8Array>): void {
    transaction(this.#database, () => {
      const statement = this.#database.prepare('INSERT OR IGNORE INTO blob VALUES (?, ?)');
      for (const blob of blobs) statement.run(fromHex(sha256Hex(blob)), blob);
    });
  }

  /** @throws GENERATION_UNKNOWN, BLOB_INVALID when the disk changed it */
  blob(digest: string): Uint8Array {
    const row = this.#database.prepare('SELECT bytes FROM blob WHERE sha256 = ?').get(fromHex(digest));
    if (row === undefined)
      throw new AntipodeError('GENERATION_UNKNOWN', 'a sealed object is not in this store', {
        details: { blob: digest },
      });
    const blob = row['bytes'] as Uint8Array;
    const found = sha256Hex(blob);
    if (found !== digest)
      throw new AntipodeError('BLOB_INVALID', 'a sealed object was changed in the store', {
        details: { expected: digest, found },
      });
    return blob;
  }

  /** Makes a generation visible. Durable on return. @throws GENERATION_UNKNOWN when a blob is lacking */
  put(sealed: SealedGeneration): void {
    const lacking = this.lacking(blobDigests(sealed.generation));
    if (lacking.length > 0) {
      throw new AntipodeError(
        'GENERATION_UNKNOWN',
        `${lacking.length} sealed objects of the generation are not in this store`,
        { details: { generation: sealed.digest } },
      );
    }
    const { group, epoch, number } = sealed.generation;
    transaction(this.#database, () => {
      this.#database
        .prepare('INSERT OR IGNORE INTO manifest VALUES (?, ?, ?, ?, ?)')
        .run(fromHex(sealed.digest), group, epoch, number, sealed.signed);
    });
    this.#remember(sealed);
  }

  has(digest: string): boolean {
    return this.#database.prepare('SELECT 1 FROM manifest WHERE digest = ?').get(fromHex(digest)) !== undefined;
  }

  /** The signed manifest, as it was received. @throws GENERATION_UNKNOWN */
  signed(digest: string): Uint8Array {
    const row = this.#database.prepare('SELECT signed FROM manifest WHERE digest = ?').get(fromHex(digest));
    if (row === undefined)
      throw new AntipodeError('GENERATION_UNKNOWN', 'the generation is not in this store', {
        details: { generation: digest },
      });
    return row['signed'] as Uint8Array;
  }

  /** A generation that was verified before it was stored; its digest and signature are checked again. @throws MANIFEST_INVALID */
  open(digest: string): SealedGeneration {
    const known = this.#opened.get(digest);
    if (known !== undefined) return known;
    const row = this.#database.prepare('SELECT grp FROM manifest WHERE digest = ?').get(fromHex(digest));
    const sealed = openSigned(this.signed(digest), {
      group: String(row?.['grp']),
      isPinned: () => true,
      expectedDigest: digest,
    });
    this.#remember(sealed);
    return sealed;
  }

  /** Newest first. */
  list(group: string): { epoch: bigint; number: bigint; digest: string }[] {
    return this.#database
      .prepare('SELECT epoch, number, digest FROM manifest WHERE grp = ? ORDER BY epoch DESC, number DESC')
      .all(group)
      .map((row) => ({
        epoch: BigInt(row['epoch'] as number),
        number: BigInt(row['number'] as number),
        digest: hex(row['digest'] as Uint8Array),
      }));
  }

  close(): void {
    this.#database.close();
  }

  #remember(sealed: SealedGeneration): void {
    this.#opened.set(sealed.digest, sealed);
    const oldest = this.#opened.keys().next().value;
    if (this.#opened.size > OPENED_MAX && oldest !== undefined) this.#opened.delete(oldest);
  }
}
