/**
 * Reads the facts by which the planner plans one group. This happens every second, so each read costs the same however
 * long the history is.
 */
import type { Generation, Group } from '../../model.ts';
import type { Read } from '../store.ts';
import { type ArchiveStanding, readArchiveStandings } from './evidence/archives.ts';
import { type DrillEnd, readDrillEnds } from './evidence/drills.ts';
import { readScrubs, type ScrubRecord } from './evidence/scrubs.ts';
import { type Acknowledged, readAcknowledged, readAcknowledgedByJoining, readNewest } from './generations.ts';
import { readGroup } from './groups.ts';
import { type Intent, readDone, readFailed, readOpenIntents } from './intents.ts';

export interface GroupFacts {
  readonly group: Group;
  readonly newest: Generation | undefined;
  readonly acknowledged: readonly Acknowledged[];
  /** The same of sites that join. */
  readonly joiningAcknowledged: readonly Acknowledged[];
  /** Failovers and domain key operations that ended well since `sinceMs`. */
  readonly recent: readonly Intent[];
  readonly scrubs: readonly ScrubRecord[];
  readonly archives: readonly ArchiveStanding[];
  /** The last few drills, newest first. */
  readonly drills: readonly DrillEnd[];
  readonly failed: readonly Intent[];
  readonly open: readonly Intent[];
}

/** Within one snapshot: everything is of one moment. @throws NOT_FOUND */
export async function readFacts(db: Read, group: string, { sinceMs }: { sinceMs: number }): Promise<GroupFacts> {
  const read = await readGroup(db, group);
  return {
    group: read,
    newest: await readNewest(db, group),
    acknowledged: await readAcknowledged(db, group),
    joiningAcknowledged: read.joining.length === 0 ? [] : await readAcknowledgedByJoining(db, group),
    recent: await readDone(db, { group, kinds: ['failover', 'domain-key'], sinceMs }),
    scrubs: await readScrubs(db, group),
    archives: await readArchiveStandings(db, group, { vaults: read.spec.archives ?? [], sinceMs: read.createdMs }),
    drills: read.spec.scratch.length === 0 ? [] : await readDrillEnds(db, group),
    failed: await readFailed(db, group),
    open: await readOpenIntents(db, { group }),
  };
}
