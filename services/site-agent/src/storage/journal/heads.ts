/** The generations by which this site goes, of each group. */
import type { Statements } from './statements.ts';

/** captured here; restored here but not read back yet; restored and read back, so fit for promotion. */
export type HeadKind = 'captured' | 'staged' | 'applied';

export class HeadRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  of(group: string, kind: HeadKind): string | undefined {
    const row = this.#statements.get('SELECT digest FROM head WHERE grp = ? AND kind = ?', group, kind);
    return row && String(row['digest']);
  }

  set(group: string, kind: HeadKind, digest: string): void {
    this.#statements.run(
      'INSERT INTO head VALUES (?, ?, ?) ON CONFLICT (grp, kind) DO UPDATE SET digest = excluded.digest',
      group,
      kind,
      digest,
    );
  }

  drop(group: string, kind: HeadKind): void {
    this.#statements.run('DELETE FROM head WHERE grp = ? AND kind = ?', group, kind);
  }

  /** Whether this partition was ever captured as the active one. */
  hasCaptured(group: string): boolean {
    if (this.of(group, 'captured') !== undefined) return true;
    return this.#statements.get('SELECT 1 FROM had_captured WHERE grp = ?', group) !== undefined;
  }

  /** A head that a newer one has overtaken for good: what it stood for is remembered, the generation is not. */
  dropOvertaken(group: string, kind: HeadKind): void {
    this.#statements.transaction(() => {
      const table = kind === 'captured' ? 'had_captured' : 'restored';
      this.#statements.run(`INSERT OR IGNORE INTO ${table} VALUES (?)`, group);
      this.drop(group, kind);
    });
  }
}
