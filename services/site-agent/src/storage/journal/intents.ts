/** Objects that an apply has begun to make, until the generation is staged. */
import type { ApplyIntent, ApplyJournal, KeyType } from '@antipode/hsm-core';
import type { HeadRecords } from './heads.ts';
import type { PartitionOf } from './line.ts';
import { bytes, type Statements } from './statements.ts';

export class IntentRecords {
  readonly #statements: Statements;
  readonly #heads: HeadRecords;

  constructor({ statements, heads }: { statements: Statements; heads: HeadRecords }) {
    this.#statements = statements;
    this.#heads = heads;
  }

  open({ group, serial }: PartitionOf): ApplyIntent[] {
    return this.#statements
      .all(
        'SELECT * FROM apply_intent WHERE grp = ? AND serial = ? ORDER BY object_id, attributes_digest',
        ...[group, serial],
      )
      .map((row) => ({
        objectId: String(row['object_id']),
        objectClass: String(row['object_class']) as ApplyIntent['objectClass'],
        ...(row['key_type'] === null ? {} : { keyType: String(row['key_type']) as KeyType }),
        id: bytes(row['id']),
        label: bytes(row['label']),
        attributesDigest: bytes(row['attributes_digest']),
      }));
  }

  begin({ group, serial }: PartitionOf, intents: readonly ApplyIntent[]): void {
    this.#statements.transaction(() => {
      const statement = this.#statements.prepare(
        'INSERT OR IGNORE INTO apply_intent (grp, serial, object_id, object_class, key_type, id, label, attributes_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      );
      for (const { objectId, objectClass, keyType = null, id, label, attributesDigest } of intents)
        statement.run(group, serial, objectId, objectClass, keyType, id, label, attributesDigest);
    });
  }

  /** As hsm-core needs it. */
  ofApply(of: PartitionOf): ApplyJournal {
    return {
      openIntents: () => this.open(of),
      begin: (intents) => this.begin(of, intents),
      commit: (digest, objectIds) => this.stage(of, { digest, objectIds }),
    };
  }

  /** A generation is here and not read back yet; what was begun for these objects has ended. */
  stage(of: PartitionOf, { digest, objectIds }: { digest: string; objectIds: readonly string[] }): void {
    this.#statements.transaction(() => {
      this.#heads.set(of, 'staged', digest);
      this.#drop(of, objectIds);
    });
  }

  /** Ends what was begun for these objects, and records no generation: they were restored by hand. */
  end(of: PartitionOf, objectIds: readonly string[]): void {
    this.#statements.transaction(() => this.#drop(of, objectIds));
  }

  /** One statement removes all: a statement for each of 100,000 objects would hold up the lease for a second. */
  #drop({ group, serial }: PartitionOf, objectIds: readonly string[]): void {
    this.#statements
      .prepare(
        'DELETE FROM apply_intent WHERE grp = ? AND serial = ? AND object_id IN (SELECT value FROM json_each(?))',
      )
      .run(group, serial, JSON.stringify(objectIds));
  }
}
