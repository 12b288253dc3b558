/** A vault of a group as operators see it: by what is on record, since it can be offline for weeks. */
import type { GroupArchiveSchema } from '@antipode/protocol';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { archivePolicyOf, type Group } from '../../model.ts';
import { isHeld } from '../../operations/archive/held.ts';
import { AWAY_CODES } from '../../operations/archive/machine.ts';
import type { SiteView } from '../../sites/detector.ts';
import type { ArchiveRunRecord, ArchiveStanding } from '../../store/tables/evidence/archives.ts';

export interface ArchiveFacts {
  readonly group: Pick<Group, 'spec'>;
  readonly view: (site: string) => SiteView | undefined;
  readonly nowMs: number;
}

const generationOf = ({ epoch, number }: ArchiveRunRecord) => ({ epoch, generation: number });

/** Late, and never lost: what a vault has stays in it. */
export function archiveMessage(
  { group, view, nowMs }: ArchiveFacts,
  standing: ArchiveStanding,
): MessageInitShape<typeof GroupArchiveSchema> {
  const { site, serial, complete, attempt, proven } = standing;
  const isThere = isHeld(standing, view);
  const { everyMs } = archivePolicyOf(group.spec);
  const ageOf = (run: ArchiveRunRecord): number => Math.max(0, Math.round(nowMs - run.startedMs));
  const dueInMs = complete === undefined || !isThere ? 0 : Math.max(0, everyMs - ageOf(complete));
  const state = complete === undefined ? 'empty' : dueInMs > 0 ? 'current' : 'late';
  const isNewer = attempt !== undefined && (complete === undefined || attempt.startedMs > complete.startedMs);
  const lastFailure = isNewer ? attempt.errorCode || attempt.verdict : '';
  return {
    site,
    serial,
    name: view(site)?.state?.vaults.find((one) => one.serial === serial)?.name ?? '',
    state,
    ...(complete === undefined
      ? {}
      : { generation: generationOf(complete), backup: complete.backup, ageMs: BigInt(ageOf(complete)) }),
    dueInMs: BigInt(dueInMs),
    ...(proven === undefined ? {} : { proven: generationOf(proven), provenAgeMs: BigInt(ageOf(proven)) }),
    lastFailure,
    reminder: reminderOf({
      ...{ site, state, lastFailure, dueInMs, overdueMs: complete && ageOf(complete) - everyMs },
      spoilt: isThere ? '' : (complete?.backup ?? ''),
    }),
  };
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** People need some days to have a vault brought from where it is kept. */
const NOTICE_MS = 3 * DAY_MS;

function reminderOf({
  site,
  state,
  lastFailure,
  dueInMs,
  overdueMs,
  spoilt,
}: {
  site: string;
  state: string;
  lastFailure: string;
  dueInMs: number;
  overdueMs: number | undefined;
  /** The newest complete backup, if the vault was seen without it. */
  spoilt: string;
}): string {
  const attach = `Attach the vault at site ${site}; the backup then begins by itself.`;
  const why = lastFailure === '' || AWAY.has(lastFailure) ? attach : `The last attempt ended with ${lastFailure}.`;
  if (state === 'empty') return `No complete backup yet. ${why}`;
  if (spoilt !== '') return `The vault does not have backup ${spoilt} any more as it was made. ${why}`;
  if (state === 'late') return `Due since ${timeText(overdueMs ?? 0)}. ${why}`;
  return dueInMs < NOTICE_MS ? `Due in ${timeText(dueInMs)}: have the vault at site ${site} by then.` : '';
}

const AWAY: ReadonlySet<string> = new Set(AWAY_CODES);

function timeText(ms: number): string {
  if (ms >= 2 * DAY_MS) return `${Math.floor(ms / DAY_MS)} days`;
  if (ms >= 2 * HOUR_MS) return `${Math.floor(ms / HOUR_MS)} hours`;
  return `${Math.max(1, Math.floor(ms / 60_000))} min`;
}
