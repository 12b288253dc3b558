/** The generations by which each partition of this site goes, in each group. */
import type { PartitionOf } from './line.ts';
import type { Statements } from './statements.ts';

/** captured here; restored here but not read back yet; restored and read back, so fit for promotion. */
export type HeadKind = 'captured' | 'staged' | 'applied';

export interface Head {
  readonly serial: string;
  readonly kind: HeadKind;
  readonly digest: string;
}

export class HeadRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  of({ group, serial }: PartitionOf, kind: HeadKind): string | undefined {
    const row = this.#statements.get(
      'SELECT digest FROM head WHERE grp = ? AND serial = ? AND kind = ?',
      ...[group, serial, kind],
    );
    return row && String(row['digest']);
  }

  /** Those of every partition, also of one that has left the group. */
  all(group: string): Head[] {
    return this.#statements
      .all('SELECT serial, kind, digest FROM head WHERE grp = ? ORDER BY serial, kind', group)
      .map((row) => ({
        serial: String(row['serial']),
        kind: String(row['kind']) as HeadKind,
        digest: String(row['digest']),
      }));
  }

  set({ group, serial }: PartitionOf, kind: HeadKind, digest: string): void {
    this.#statements.run(
      'INSERT INTO head VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest',
      ...[group, serial, kind, digest],
    );
  }

  drop({ group, serial }: PartitionOf, kind: HeadKind): void {
    this.#statements.run('DELETE FROM head WHERE grp = ? AND serial = ? AND kind = ?', group, serial, kind);
  }

  /**
   * Whether this partition was ever captured as the active one. Then applications of the group may have made objects
   * there. After it has left the group that says nothing any more: they may be anybody's.
   */
  hasCaptured(of: PartitionOf): boolean {
    if (this.hasLeft(of)) return false;
    if (this.of(of, 'captured') !== undefined) return true;
    return this.#isIn('had_captured', of);
  }

  /** Whether it has left the group, and has not been proved as a member again since. */
  hasLeft(of: PartitionOf): boolean {
    return this.#isIn('left_seat', of);
  }

  /** A head that a newer one has overtaken for good: what it stood for is remembered, the generation is not. */
  dropOvertaken({ group, serial }: PartitionOf, kind: HeadKind): void {
    this.#statements.transaction(() => {
      const table = kind === 'captured' ? 'had_captured' : 'restored';
      this.#statements.run(`INSERT OR IGNORE INTO ${table} VALUES (?, ?)`, group, serial);
      this.drop({ group, serial }, kind);
    });
  }

  /** Captured here as the active partition. */
  setCaptured(of: PartitionOf, digest: string): void {
    this.#statements.transaction(() => {
      this.set(of, 'captured', digest);
      this.#watch(of);
    });
  }

  /** A generation was read back here: from now on, this partition is watched as a member. */
  setApplied(of: PartitionOf, digest: string): void {
    this.#statements.transaction(() => {
      this.set(of, 'applied', digest);
      if (!this.hasLeft(of)) return;
      // The applies since explain the objects that it captured before it left. Nobody may take others' objects for ours.
      this.drop(of, 'captured');
      this.#statements.run('DELETE FROM had_captured WHERE grp = ? AND serial = ?', of.group, of.serial);
      this.#watch(of);
    });
  }

  #watch({ group, serial }: PartitionOf): void {
    this.#statements.run('DELETE FROM left_seat WHERE grp = ? AND serial = ?', group, serial);
  }

  #isIn(table: 'had_captured' | 'left_seat', { group, serial }: PartitionOf): boolean {
    return this.#statements.get(`SELECT 1 FROM ${table} WHERE grp = ? AND serial = ?`, group, serial) !== undefined;
  }
}
