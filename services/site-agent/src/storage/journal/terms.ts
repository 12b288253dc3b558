/** The highest term of a coordinator that this site has heard of (tenure/terms.ts). */
import type { Statements } from './statements.ts';

/** The number of a coordinator's time as leader, and the coordinator that it belongs to. */
export interface Term {
  readonly term: bigint;
  readonly coordinator: string;
}

export class TermRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  highest(): Term | undefined {
    const row = this.#statements.get('SELECT term, coordinator FROM term');
    return row && { term: BigInt(row['term'] as number), coordinator: String(row['coordinator']) };
  }

  raise({ term, coordinator }: Term): void {
    this.#statements.run(
      'INSERT INTO term VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE SET term = excluded.term, coordinator = excluded.coordinator',
      term,
      coordinator,
    );
  }
}
