/** Findings of captures, applies and proofs at this site. Each one replaces the findings of the one before. */
import type { PartitionOf } from './line.ts';
import type { Statements } from './statements.ts';

/** An object that stays in the partition although no generation of the group's line names it. */
export interface DivergentObject {
  readonly objectId: string;
  /** A generation in the store that has its entry. */
  readonly digest: string;
}

/** An object that is not restored at this member; `returnValue` is empty where it was not the token that refused. */
export interface RefusedHere {
  readonly objectId: string;
  readonly kind: string;
  readonly code: string;
  readonly returnValue: string;
}

/** A use that a key allows, and why nothing here could try it. */
export interface UntriedUse {
  readonly objectId: string;
  readonly use: string;
  readonly reason: string;
}

/** A captured object, and what it has that no replica gets. */
export interface NotCarriedHere {
  readonly objectId: string;
  readonly kind: string;
  readonly attributes: readonly string[];
}

export class FindingRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  divergent({ group, serial }: PartitionOf): DivergentObject[] {
    return this.#statements
      .all('SELECT object_id, digest FROM divergent WHERE grp = ? AND serial = ? ORDER BY object_id', group, serial)
      .map((row) => ({
        objectId: String(row['object_id']),
        digest: String(row['digest']),
      }));
  }

  /**
   * Generations with the entries of divergent objects in any partition, also in one that has left the group, and of
   * objects that were merged and not captured yet.
   */
  divergentDigests(group: string): string[] {
    return this.#statements
      .all('SELECT digest FROM divergent WHERE grp = ?1 UNION SELECT digest FROM adopted WHERE grp = ?1', group)
      .map((row) => String(row['digest']));
  }

  /** Those of the divergent objects that an operator keeps as they are. */
  kept({ group, serial }: PartitionOf): ReadonlySet<string> {
    const rows = this.#statements.all(
      'SELECT object_id FROM kept_divergent WHERE grp = ? AND serial = ?',
      group,
      serial,
    );
    return new Set(rows.map((row) => String(row['object_id'])));
  }

  /** Only objects that {@link setUnexplained} names with them are kept. */
  keep({ group, serial }: PartitionOf, objectIds: readonly string[]): void {
    this.#statements.transaction(() => {
      const statement = this.#statements.prepare('INSERT OR IGNORE INTO kept_divergent VALUES (?, ?, ?)');
      for (const objectId of objectIds) statement.run(group, serial, objectId);
    });
  }

  /**
   * Objects in the partition that are in no generation of the line. The seat has the number of those that nobody keeps.
   * A decision to keep an object ends with the object.
   */
  setUnexplained(
    { group, serial }: PartitionOf,
    { divergent, unaccounted }: { divergent: readonly DivergentObject[]; unaccounted: number },
  ): void {
    this.#statements.transaction(() => {
      this.#statements.run('DELETE FROM divergent WHERE grp = ? AND serial = ?', group, serial);
      for (const { objectId, digest } of divergent)
        this.#statements.run('INSERT INTO divergent VALUES (?, ?, ?, ?)', group, serial, objectId, digest);
      this.#statements.run(
        'DELETE FROM kept_divergent WHERE grp = ?1 AND serial = ?2 AND object_id NOT IN (SELECT object_id FROM divergent WHERE grp = ?1 AND serial = ?2)',
        group,
        serial,
      );
      const kept = this.kept({ group, serial });
      this.#statements.run(
        'UPDATE member SET divergent = ?, unaccounted = ? WHERE grp = ? AND serial = ?',
        divergent.filter(({ objectId }) => !kept.has(objectId)).length,
        unaccounted,
        group,
        serial,
      );
    });
  }

  /** Objects that the newest apply could not restore here: exceptions of what this member acknowledges. */
  refused({ group, serial }: PartitionOf): RefusedHere[] {
    return this.#statements
      .all('SELECT * FROM refused WHERE grp = ? AND serial = ? ORDER BY object_id', group, serial)
      .map((row) => ({
        objectId: String(row['object_id']),
        kind: String(row['kind']),
        code: String(row['code']),
        returnValue: String(row['return_value']),
      }));
  }

  setRefused({ group, serial }: PartitionOf, refused: readonly RefusedHere[]): void {
    this.#statements.transaction(() => {
      this.#statements.run('DELETE FROM refused WHERE grp = ? AND serial = ?', group, serial);
      for (const { objectId, kind, code, returnValue } of refused)
        this.#statements.run(
          'INSERT INTO refused VALUES (?, ?, ?, ?, ?, ?)',
          group,
          serial,
          objectId,
          kind,
          code,
          returnValue,
        );
    });
  }

  /** Uses that the newest proofs here could not try. */
  untried({ group, serial }: PartitionOf): UntriedUse[] {
    return this.#statements
      .all('SELECT * FROM untried WHERE grp = ? AND serial = ? ORDER BY object_id, use', group, serial)
      .map((row) => ({
        objectId: String(row['object_id']),
        use: String(row['use']),
        reason: String(row['reason']),
      }));
  }

  setUntried({ group, serial }: PartitionOf, untried: readonly UntriedUse[]): void {
    this.#statements.transaction(() => {
      this.#statements.run('DELETE FROM untried WHERE grp = ? AND serial = ?', group, serial);
      for (const { objectId, use, reason } of untried)
        this.#statements.run('INSERT INTO untried VALUES (?, ?, ?, ?, ?)', group, serial, objectId, use, reason);
    });
  }

  /** Attributes that captures here have found and no replica gets. */
  notCarried({ group, serial }: PartitionOf): NotCarriedHere[] {
    return this.#statements
      .all('SELECT * FROM not_carried WHERE grp = ? AND serial = ? ORDER BY object_id', group, serial)
      .map((row) => ({
        objectId: String(row['object_id']),
        kind: String(row['kind']),
        attributes: String(row['attributes']).split(' '),
      }));
  }

  setNotCarried({ group, serial }: PartitionOf, objects: readonly NotCarriedHere[]): void {
    this.#statements.transaction(() => {
      this.#statements.run('DELETE FROM not_carried WHERE grp = ? AND serial = ?', group, serial);
      for (const { objectId, kind, attributes } of objects)
        this.#statements.run(
          'INSERT INTO not_carried VALUES (?, ?, ?, ?, ?)',
          group,
          serial,
          objectId,
          kind,
          attributes.join(' '),
        );
    });
  }

  /** How many objects of others bear names of the generation's objects here. */
  namesakes({ group, serial }: PartitionOf): number {
    return Number(
      this.#statements.get('SELECT objects FROM namesake WHERE grp = ? AND serial = ?', group, serial)?.['objects'] ??
        0,
    );
  }

  setNamesakes({ group, serial }: PartitionOf, objects: number): void {
    if (objects === this.namesakes({ group, serial })) return;
    this.#statements.run(
      'INSERT INTO namesake VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET objects = excluded.objects',
      group,
      serial,
      objects,
    );
  }

  /** Digests of what this device wrapped when these keys were first proved (wrap-digests.ts). */
  wrapDigests(device: string, blobs: readonly string[]): Map<string, string> {
    const found = new Map<string, string>();
    for (const blob of blobs)
      for (const row of this.#statements.all('SELECT print FROM print WHERE device = ? AND blob = ?', device, blob))
        found.set(blob, String(row['print']));
    return found;
  }

  /** The first that is recorded stays. */
  addWrapDigests(device: string, digests: readonly (readonly [blob: string, digest: string])[]): void {
    this.#statements.transaction(() => {
      for (const [blob, digest] of digests)
        this.#statements.run('INSERT OR IGNORE INTO print VALUES (?, ?, ?)', device, blob, digest);
    });
  }
}
