/** The driver of `lunacm`, and what its callers and tests name of it. */
export { type ApprovedOrder, type PartitionAddress, requireApproval } from './approvals.ts';
export { repliesIn } from './batch.ts';
export { type Command, partitionClear, partitionContents, partitionShowInfo, recalledForms } from './commands.ts';
export { LunaDriver } from './driver.ts';
export { type Obstacle, obstaclesOf } from './fitness.ts';
export type { DestroyReport } from './jobs/destroying.ts';
export { DEFAULT_PROFILE, type DriverProfile, inRun, type JobPorts } from './jobs/job-ports.ts';
export type { BackupOrder, CloneOrder, PartitionAccess, RestoreOrder } from './jobs/moving.ts';
export type { ArchiveSource, Examination } from './jobs/reading.ts';
export type { Login } from './login.ts';
export type { MoveReport, Verdict } from './move-report.ts';
export type { ListedObject } from './parse/contents.ts';
export { primaryMaskingKey } from './parse/partition-info.ts';
export { type Phrases, readPhrases } from './phrases.ts';
export { TranscriptFolder, type TranscriptSink } from './transcript.ts';
export { Launcher } from './transport/launcher.ts';
export { type ClientSettings, clientSettingsIn, readClientSettings } from './transport/limits.ts';
export type { ToolEnd, ToolLauncher, ToolProcess, Typed } from './transport/tool-process.ts';
