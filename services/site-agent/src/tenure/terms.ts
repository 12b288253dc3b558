/**
 * Refuses what a coordinator says that leads no longer. The highest term is persisted before anything of an order or an
 * answer is done, and a term belongs to one coordinator. So a coordinator that was paused, or cut off from the database,
 * has no effect here once another one has followed it (ADR 0041). A term protects no keys: the epoch of each group does
 * (fence.ts).
 */
import { AntipodeError } from '@antipode/runtime';
import type { Term, TermRecords } from '../storage/journal/terms.ts';

/** A coordinator begins a term with each start. A number further ahead is none of an election. */
const TERM_JUMP_MAX = 1_000_000n;

export class TermKeeper {
  readonly #records: Pick<TermRecords, 'highest' | 'raise'>;
  /** As it is in the journal: orders and heartbeats come often. */
  #highest: Term | undefined;

  constructor({ records }: { records: Pick<TermRecords, 'highest' | 'raise'> }) {
    this.#records = records;
    this.#highest = records.highest();
  }

  /** For heartbeats: a leader of a lower term begins a higher one. */
  get highest(): Term | undefined {
    return this.#highest;
  }

  /**
   * Admits what a coordinator says in this term, which is persisted first where it is higher. A coordinator of an earlier
   * release has no term. It is admitted while no other one has shown a term.
   * @throws TERM_STALE, REQUEST_INVALID
   */
  admit({ term, coordinator }: Term): void {
    const highest = this.#highest;
    if (highest === undefined && term === 0n) return;
    if (highest?.term === term && highest.coordinator === coordinator) return;
    if (highest !== undefined && term <= highest.term)
      throw new AntipodeError(
        'TERM_STALE',
        `coordinator ${coordinator} speaks in term ${term}, this site has heard coordinator ${highest.coordinator} in term ${highest.term}`,
        { details: { term, coordinator, highest: highest.term, leader: highest.coordinator } },
      );
    const before = highest?.term ?? 0n;
    if (term > before + TERM_JUMP_MAX)
      throw new AntipodeError('REQUEST_INVALID', `term ${term} of coordinator ${coordinator} jumps from ${before}`, {
        details: { field: 'fence.term', term, coordinator, highest: before },
      });
    this.#records.raise({ term, coordinator });
    this.#highest = { term, coordinator };
  }
}
