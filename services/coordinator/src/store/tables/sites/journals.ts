/** How far each site's journal had come when it was last heard, by its heartbeats and by its answers. */
import type { Read, Write } from '../../store.ts';

export interface JournalMark {
  readonly site: string;
  readonly journal: string;
  readonly run: string;
  /** Of that run, by its heartbeats. */
  readonly writes: bigint;
  /** Of that run, by the answers of its orders: ahead of a heartbeat that was on its way. */
  readonly answered: bigint;
}

export async function readJournalMarks(db: Read): Promise<JournalMark[]> {
  return db.selectFrom('journal_mark').selectAll().execute();
}

export async function recordJournalMarks(trx: Write, marks: readonly JournalMark[]): Promise<void> {
  for (const mark of marks) {
    await trx
      .insertInto('journal_mark')
      .values(mark)
      .onConflict((conflict) => conflict.column('site').doUpdateSet(mark))
      .execute();
  }
}
