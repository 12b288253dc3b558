/** Deleted and changed objects that an operator has to decide about, the decisions, and objects that were set aside. */
import type { Loss, Movement, ObjectFilter } from '@antipode/hsm-core';
import type { PartitionOf } from './line.ts';
import type { Statements } from './statements.ts';

/** `kept`: an operator leaves it as it is. `taken`: a generation of the group has had it. */
export type SettledAside = 'kept' | 'taken';

export class DecisionRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  /** The losses for which the last capture was held. */
  held({ group, serial }: PartitionOf): Loss[] {
    return this.#statements
      .all('SELECT object_id, reason FROM held WHERE grp = ? AND serial = ? ORDER BY object_id', group, serial)
      .map((row) => ({
        objectId: String(row['object_id']),
        reason: String(row['reason']) as Loss['reason'],
      }));
  }

  setHeld({ group, serial }: PartitionOf, losses: readonly Loss[]): void {
    this.#statements.transaction(() => {
      this.#statements.run('DELETE FROM held WHERE grp = ? AND serial = ?', group, serial);
      const statement = this.#statements.prepare('INSERT INTO held VALUES (?, ?, ?, ?)');
      for (const { objectId, reason } of losses) statement.run(group, serial, objectId, reason);
    });
  }

  /** The filter of the group, as the newest order to capture here had it. Undefined where no order has come yet. */
  filter(group: string): ObjectFilter | undefined {
    const ordered = this.#ordered(group);
    if (ordered === undefined) return undefined;
    const { movement: _movement, ...filter } = ordered;
    return filter;
  }

  /** How the keys of the group move, by the same order. */
  movement(group: string): Movement {
    return this.#ordered(group)?.movement ?? 'sealed';
  }

  #ordered(group: string): (ObjectFilter & { readonly movement?: Movement }) | undefined {
    const row = this.#statements.get('SELECT rules FROM filter WHERE grp = ?', group);
    return row === undefined ? undefined : JSON.parse(String(row['rules']));
  }

  setOrdered(group: string, { filter, movement }: { filter: ObjectFilter; movement: Movement }): void {
    const rules = JSON.stringify(movement === 'sealed' ? filter : { ...filter, movement });
    if (String(this.#statements.get('SELECT rules FROM filter WHERE grp = ?', group)?.['rules']) === rules) return;
    this.#statements.run(
      'INSERT INTO filter VALUES (?, ?) ON CONFLICT (grp) DO UPDATE SET rules = excluded.rules',
      group,
      rules,
    );
  }

  /**
   * Objects of every partition that must stay sealed. A person has to decide about them or has decided, or they are on
   * their way into a token. Or they are in a token and in no generation of the line.
   */
  wanted(group: string): ReadonlySet<string> {
    const tables = ['held', 'accepted', 'restored_object', 'apply_intent', 'divergent', 'adopted'];
    const each = tables.map((table) => `SELECT object_id FROM ${table} WHERE grp = ?1`).join(' UNION ');
    return new Set(this.#statements.all(each, group).map((row) => String(row['object_id'])));
  }

  /** Objects of which an operator accepts that they are gone, or have another value. */
  accepted({ group, serial }: PartitionOf): ReadonlySet<string> {
    const rows = this.#statements.all('SELECT object_id FROM accepted WHERE grp = ? AND serial = ?', group, serial);
    return new Set(rows.map((row) => String(row['object_id'])));
  }

  accept({ group, serial }: PartitionOf, objectIds: readonly string[]): void {
    this.#statements.transaction(() => {
      const statement = this.#statements.prepare('INSERT OR IGNORE INTO accepted VALUES (?, ?, ?)');
      for (const objectId of objectIds) statement.run(group, serial, objectId);
    });
  }

  hasRestored({ group, serial }: PartitionOf): boolean {
    return this.#statements.get('SELECT 1 FROM restored WHERE grp = ? AND serial = ?', group, serial) !== undefined;
  }

  /** They are back by hand: what an operator has accepted of them counts no more. */
  setRestored({ group, serial }: PartitionOf, objectIds: readonly string[]): void {
    this.#statements.transaction(() => {
      this.#statements.run('INSERT OR IGNORE INTO restored VALUES (?, ?)', group, serial);
      const forget = this.#statements.prepare('DELETE FROM accepted WHERE grp = ? AND serial = ? AND object_id = ?');
      const remember = this.#statements.prepare('INSERT OR IGNORE INTO restored_object VALUES (?, ?, ?)');
      for (const objectId of objectIds) {
        forget.run(group, serial, objectId);
        remember.run(group, serial, objectId);
      }
    });
  }

  /** Brought back by hand since the last capture. */
  restored({ group, serial }: PartitionOf): ReadonlySet<string> {
    const rows = this.#statements.all(
      'SELECT object_id FROM restored_object WHERE grp = ? AND serial = ?',
      group,
      serial,
    );
    return new Set(rows.map((row) => String(row['object_id'])));
  }

  /** A capture has gone on by these: what it did not need of them counts for no later one. */
  end(
    { group, serial }: PartitionOf,
    { accepted, restored }: { accepted: Iterable<string>; restored: Iterable<string> },
  ): void {
    this.#statements.transaction(() => {
      const ofAccepted = this.#statements.prepare(
        'DELETE FROM accepted WHERE grp = ? AND serial = ? AND object_id = ?',
      );
      for (const objectId of accepted) ofAccepted.run(group, serial, objectId);
      const ofRestored = this.#statements.prepare(
        'DELETE FROM restored_object WHERE grp = ? AND serial = ? AND object_id = ?',
      );
      for (const objectId of restored) ofRestored.run(group, serial, objectId);
    });
  }

  /** Objects that are merged into the partition, with the digest of the manifest that has their entries. */
  adopted({ group, serial }: PartitionOf): { objectId: string; digest: string }[] {
    return this.#statements
      .all('SELECT object_id, digest FROM adopted WHERE grp = ? AND serial = ? ORDER BY object_id', group, serial)
      .map((row) => ({ objectId: String(row['object_id']), digest: String(row['digest']) }));
  }

  adopt({ group, serial }: PartitionOf, { digest, objectIds }: { digest: string; objectIds: readonly string[] }): void {
    this.#statements.transaction(() => {
      const statement = this.#statements.prepare('INSERT OR REPLACE INTO adopted VALUES (?, ?, ?, ?)');
      for (const objectId of objectIds) statement.run(group, serial, objectId, digest);
    });
  }

  /** A capture has gone on by these. */
  endAdoption({ group, serial }: PartitionOf, objectIds: readonly string[]): void {
    this.#statements.transaction(() => {
      const statement = this.#statements.prepare('DELETE FROM adopted WHERE grp = ? AND serial = ? AND object_id = ?');
      for (const objectId of objectIds) statement.run(group, serial, objectId);
    });
  }

  /** Generations of this member alone, with what was set aside. */
  asides(group: string): string[] {
    return this.#statements.all('SELECT digest FROM aside WHERE grp = ?', group).map((row) => String(row['digest']));
  }

  addAside(group: string, digest: string): void {
    this.#statements.run('INSERT OR IGNORE INTO aside VALUES (?, ?)', group, digest);
  }

  /** Of every group that has any. */
  asidesByGroup(): ReadonlyMap<string, string[]> {
    const rows = this.#statements.all('SELECT grp, digest FROM aside ORDER BY grp, digest');
    const found = Map.groupBy(rows, (row) => String(row['grp']));
    return new Map([...found].map(([group, of]) => [group, of.map((row) => String(row['digest']))]));
  }

  /** Objects in the asides of a group about which nobody has to decide any more. */
  settledAsides(group: string): ReadonlyMap<string, SettledAside> {
    const rows = this.#statements.all(
      'SELECT object_id, how FROM settled_aside WHERE grp = ? ORDER BY object_id',
      group,
    );
    return new Map(rows.map((row) => [String(row['object_id']), String(row['how']) as SettledAside]));
  }

  /** An object that the group has taken stays taken. */
  settleAsides(group: string, objectIds: readonly string[], how: SettledAside): void {
    this.#statements.transaction(() => {
      for (const objectId of objectIds)
        this.#statements.run(
          `INSERT INTO settled_aside VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET how = excluded.how WHERE how <> 'taken'`,
          group,
          objectId,
          how,
        );
    });
  }
}
