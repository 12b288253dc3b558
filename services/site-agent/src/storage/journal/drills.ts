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

  /** `strangers` were there before: whatever becomes of the drill, they are not its own. */
  begin(serial: string, drillId: string, strangers: ReadonlyMap<string, number> = new Map()): void {
    this.#statements.transaction(() => {
      this.#statements.run('DELETE FROM stranger WHERE serial = ?', serial);
      for (const [readDigest, copies] of strangers)
        this.#statements.run('INSERT INTO stranger VALUES (?, ?, ?)', serial, readDigest, copies);
      this.#statements.run(
        'INSERT INTO open_drill VALUES (?, ?) ON CONFLICT (serial) DO UPDATE SET drill_id = excluded.drill_id',
        serial,
        drillId,
      );
    });
  }

  strangers(serial: string): ReadonlyMap<string, number> {
    const rows = this.#statements.all('SELECT read_digest, copies FROM stranger WHERE serial = ?', serial);
    return new Map(rows.map((row) => [String(row['read_digest']), Number(row['copies'])]));
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
