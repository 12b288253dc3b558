/** Kinds of operations that had another name in an earlier release, as its coordinators have written them. */
import { sql } from 'kysely';
import type { IntentKind } from '../../model.ts';
import type { Write } from '../store.ts';

const FORMER: Readonly<Record<string, IntentKind>> = { enrolment: 'domain-key' };

/** The kind by its name of today. */
export const kindFrom = (name: string): IntentKind => FORMER[name] ?? (name as IntentKind);

/**
 * Renames the operations under way that an earlier leader has written. A new leader calls this before it does anything:
 * from then on no coordinator of an earlier release can write. If one is under way by both names, the row keeps its former
 * name until the operation has ended. It runs all the same.
 */
export async function renameOpenKinds(trx: Write): Promise<void> {
  for (const [former, kind] of Object.entries(FORMER))
    await sql`
      UPDATE intent SET kind = ${kind} WHERE kind = ${former} AND status IN ('open', 'parked') AND NOT EXISTS (
        SELECT 1 FROM intent AS other
        WHERE other.grp = intent.grp AND other.site = intent.site AND other.kind = ${kind}
          AND other.status IN ('open', 'parked')
      )`.execute(trx);
}
