/** Deleted and changed objects that an operator has to decide about, the decisions, and objects that were set aside. */
import type { Loss, ObjectFilter } from '@antipode/hsm-core';
import type { Statements } from './statements.ts';

export class DecisionRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  /** The losses for which the last capture was held. */
  held(group: string): Loss[] {
    return this.#statements
      .all('SELECT object_id, reason FROM held WHERE grp = ? ORDER BY object_id', group)
      .map((row) => ({
        objectId: String(row['object_id']),
        reason: String(row['reason']) as Loss['reason'],
      }));
  }

  setHeld(group: string, losses: readonly Loss[]): void {
    this.#statements.transaction(() => {
      this.#statements.run('DELETE FROM held WHERE grp = ?', group);
      const statement = this.#statements.prepare('INSERT INTO held VALUES (?, ?, ?)');
      for (const { objectId, reason } of losses) statement.run(group, objectId, reason);
    });
  }

  /** The filter of the group, as the newest order to capture here had it. Undefined where no order has come yet. */
  filter(group: string): ObjectFilter | undefined {
    const row = this.#statements.get('SELECT rules FROM filter WHERE grp = ?', group);
    return row === undefined ? undefined : (JSON.parse(String(row['rules'])) as ObjectFilter);
  }

  setFilter(group: string, filter: ObjectFilter): void {
    const rules = JSON.stringify(filter);
    if (String(this.#statements.get('SELECT rules FROM filter WHERE grp = ?', group)?.['rules']) === rules) return;
    this.#statements.run(
      'INSERT INTO filter VALUES (?, ?) ON CONFLICT (grp) DO UPDATE SET rules = excluded.rules',
      group,
      rules,
    );
  }

  /** Objects of which an operator accepts that they are gone, or have another value. */
  accepted(group: string): ReadonlySet<string> {
    const rows = this.#statements.all('SELECT object_id FROM accepted WHERE grp = ?', group);
    return new Set(rows.map((row) => String(row['object_id'])));
  }

  accept(group: string, objectIds: readonly string[]): void {
    this.#statements.transaction(() => {
      const statement = this.#statements.prepare('INSERT OR IGNORE INTO accepted VALUES (?, ?)');
      for (const objectId of objectIds) statement.run(group, objectId);
    });
  }

  hasRestored(group: string): boolean {
    return this.#statements.get('SELECT 1 FROM restored WHERE grp = ?', group) !== undefined;
  }

  /** They are back by hand: what an operator has accepted of them counts no more. */
  setRestored(group: string, objectIds: readonly string[]): void {
    this.#statements.transaction(() => {
      this.#statements.run('INSERT OR IGNORE INTO restored VALUES (?)', group);
      const forget = this.#statements.prepare('DELETE FROM accepted WHERE grp = ? AND object_id = ?');
      const remember = this.#statements.prepare('INSERT OR IGNORE INTO restored_object VALUES (?, ?)');
      for (const objectId of objectIds) {
        forget.run(group, objectId);
        remember.run(group, objectId);
      }
    });
  }

  /** Brought back by hand since the last capture. */
  restored(group: string): ReadonlySet<string> {
    const rows = this.#statements.all('SELECT object_id FROM restored_object WHERE grp = ?', group);
    return new Set(rows.map((row) => String(row['object_id'])));
  }

  /** A capture has gone on by these: what it did not need of them counts for no later one. */
  end(group: string, { accepted, restored }: { accepted: Iterable<string>; restored: Iterable<string> }): void {
    this.#statements.transaction(() => {
      const ofAccepted = this.#statements.prepare('DELETE FROM accepted WHERE grp = ? AND object_id = ?');
      for (const objectId of accepted) ofAccepted.run(group, objectId);
      const ofRestored = this.#statements.prepare('DELETE FROM restored_object WHERE grp = ? AND object_id = ?');
      for (const objectId of restored) ofRestored.run(group, objectId);
    });
  }

  /** Generations of this member alone, with what was set aside. */
  asides(group: string): string[] {
    return this.#statements.all('SELECT digest FROM aside WHERE grp = ?', group).map((row) => String(row['digest']));
  }

  addAside(group: string, digest: string): void {
    this.#statements.run('INSERT OR IGNORE INTO aside VALUES (?, ?)', group, digest);
  }
}
