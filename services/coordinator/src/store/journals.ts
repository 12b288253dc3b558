/** How far each site's journal had come when it was last heard. */
import type { Read, Write } from './store.ts';

export interface JournalMark {
  readonly site: string;
  readonly journal: string;
  readonly run: string;
  readonly writes: bigint;
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
