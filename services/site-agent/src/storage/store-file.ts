/** The file in which the store keeps sealed generations: opened, or put aside where it is damaged and begun again. */
import { existsSync, renameSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { hasCode } from '@antipode/runtime';
import { type Connect, openDatabase } from './database.ts';

const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE blob (sha256 BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE manifest (digest BLOB PRIMARY KEY, grp TEXT NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL, signed BLOB NOT NULL) STRICT;
`;

export class StoreFile {
  readonly path: string;
  /** Where a database that was no longer sound has been put, if one was. */
  setAside: string | undefined;
  readonly #connect: Connect | undefined;

  constructor(path: string, { connect }: { connect?: Connect | undefined } = {}) {
    this.path = path;
    this.#connect = connect;
  }

  /** @throws FILE_UNWRITABLE, FILE_BUSY */
  open(): DatabaseSync {
    try {
      return this.#open();
    } catch (thrown) {
      if (!hasCode(thrown, 'FILE_DAMAGED')) throw thrown;
      return this.beginAgain();
    }
  }

  /** Everything in it is sealed and can be had again: from the other members, or from the token. The old file is kept. */
  beginAgain(): DatabaseSync {
    for (let copy = 1; ; copy += 1) {
      const aside = `${this.path}.damaged-${copy}`;
      if (existsSync(aside)) continue;
      renameSync(this.path, aside);
      for (const suffix of ['-wal', '-shm'])
        if (existsSync(this.path + suffix)) renameSync(this.path + suffix, aside + suffix);
      this.setAside = aside;
      return this.#open();
    }
  }

  #open(): DatabaseSync {
    const database = openDatabase(this.path, { schema: SCHEMA, version: SCHEMA_VERSION, connect: this.#connect });
    database.exec('PRAGMA secure_delete = ON');
    return database;
  }
}
