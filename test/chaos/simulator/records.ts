/** Compares what happens with what the database has on record of it: its operations and events (I6), and its time. */
import type { Change } from '../checkers/index.ts';
import type { SimulatedDatabase } from './database.ts';
import { GROUP } from './groups.ts';

export class Records {
  readonly #database: Pick<SimulatedDatabase, 'rows'>;
  readonly #tell: (change: Change) => void;
  readonly #operations = new Set<string>();
  #isOver = false;
  #markMs = 0n;

  constructor(database: Pick<SimulatedDatabase, 'rows'>, tell: (change: Change) => void) {
    this.#database = database;
    this.#tell = tell;
  }

  /** The database was put back: it has forgotten some of what happened. */
  stop(): void {
    this.#isOver = true;
  }

  /** The time by which the coordinators count, wherever a leader has written it down. */
  lookAtMark(): void {
    const [mark] = this.#database.rows<{ at_ms: bigint }>('SELECT at_ms FROM timeline');
    if (mark === undefined || mark.at_ms === this.#markMs) return;
    this.#markMs = mark.at_ms;
    this.#tell({ kind: 'mark', markMs: Number(mark.at_ms) });
  }

  /** A site gets an order. */
  order({ site, method, requestId }: { site: string; method: string; requestId: string }): void {
    const operation = /^[0-9a-f-]{36}(?=\.\d+$)/.exec(requestId)?.[0];
    if (operation === undefined || this.#isOver || this.#operations.has(operation)) return;
    this.#operations.add(operation);
    const database = this.#database;
    const [intent] = database.rows<{ kind: string }>('SELECT kind FROM intent WHERE id = $1', [operation]);
    const events = database.rows('SELECT 1 AS found FROM event WHERE kind = $1 AND details LIKE $2', [
      `${intent?.kind}-intended`,
      `%${operation}%`,
    ]);
    // A capture is routine. Its intent is the record, and what it finds is an event.
    const isOnRecord = intent !== undefined && (intent.kind === 'capture' || events.length > 0);
    this.#tell({ kind: 'order', site, method, operation, isOnRecord });
  }

  /** Epochs, acknowledgements and operations without the event that their change should have recorded. */
  missing(): readonly string[] {
    if (this.#isOver) return [];
    const database = this.#database;
    const events = database.rows<{ kind: string; site: string; details: string }>(
      'SELECT kind, site, details FROM event',
    );
    const has = (kind: string, part: string): boolean =>
      events.some((event) => event.kind === kind && event.details.includes(part));
    const epochs = database
      .rows<{ epoch: bigint }>(`SELECT epoch FROM epoch WHERE grp = '${GROUP}' AND epoch > 1`)
      .filter(({ epoch }) => !events.some(({ kind, details }) => kind === 'epoch-issued' && hasNumber(details, epoch)))
      .map(({ epoch }) => `epoch ${epoch}`);
    const operations = database
      .rows<{ id: string; kind: string; phase: string }>("SELECT id, kind, phase FROM intent WHERE status = 'done'")
      .filter(({ id, kind, phase }) => kind !== 'capture' && !has(`${kind}-${phase}`, id))
      .map(({ id, kind }) => `the end of ${kind} ${id}`);
    return [...epochs, ...operations];
  }
}

const hasNumber = (details: string, epoch: bigint): boolean =>
  new RegExp(`"epoch":(?:\\{"\\$n":)?"?${epoch}"?[,}]`).test(details);
