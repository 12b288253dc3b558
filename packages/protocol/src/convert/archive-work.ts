/** Work with a vault, by its word. */
import { ArchiveWork } from '../gen/antipode/v1/site_agent_pb.ts';

export const ARCHIVE_WORKS = ['backup', 'drill', 'restore', 'delete'] as const;
export type ArchiveWorkName = (typeof ARCHIVE_WORKS)[number];

const NUMBERS: Readonly<Record<ArchiveWorkName, ArchiveWork>> = {
  backup: ArchiveWork.BACKUP,
  drill: ArchiveWork.DRILL,
  restore: ArchiveWork.RESTORE,
  delete: ArchiveWork.DELETE,
};

export const archiveWorkNumber = (name: ArchiveWorkName): ArchiveWork => NUMBERS[name];

/** Undefined for work that only another release knows. */
export const archiveWorkName = (work: ArchiveWork): ArchiveWorkName | undefined =>
  ARCHIVE_WORKS.find((name) => NUMBERS[name] === work);
