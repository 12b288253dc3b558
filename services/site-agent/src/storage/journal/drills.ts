/** Drills that have not ended, and distributions of domain keys with their outcome. */
import type { Statements } from './statements.ts';

export class DrillRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  open(serial: string): string | undefined {
    const row = this.#statements.get('SELECT drill_id FROM open_drill WHERE serial = ?', serial);
    return row && String(row['drill_id']);
  }

  /** `strangers` were there before, by their looks: whatever becomes of the drill, they are not its own. */
  begin(serial: string, drillId: string, strangers: ReadonlySet<string> = new Set()): void {
    this.#statements.transaction(() => {
      this.#statements.run('DELETE FROM stranger WHERE serial = ?', serial);
      for (const looks of strangers) this.#statements.run('INSERT INTO stranger VALUES (?, ?)', serial, looks);
      this.#statements.run(
        'INSERT INTO open_drill VALUES (?, ?) ON CONFLICT (serial) DO UPDATE SET drill_id = excluded.drill_id',
        serial,
        drillId,
      );
    });
  }

  strangers(serial: string): ReadonlySet<string> {
    const rows = this.#statements.all('SELECT looks FROM stranger WHERE serial = ?', serial);
    return new Set(rows.map((row) => String(row['looks'])));
  }

  end(serial: string): void {
    this.#statements.run('DELETE FROM open_drill WHERE serial = ?', serial);
  }

  distribution(group: string, version: number): string | undefined {
    const row = this.#statements.get('SELECT result FROM distribution WHERE grp = ? AND version = ?', group, version);
    return row && String(row['result']);
  }

  setDistribution(group: string, version: number, result: string): void {
    this.#statements.run(
      'INSERT INTO distribution VALUES (?, ?, ?) ON CONFLICT (grp, version) DO UPDATE SET result = excluded.result',
      group,
      version,
      result,
    );
  }
}
