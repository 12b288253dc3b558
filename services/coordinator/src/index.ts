/** The coordinator: it decides. */
export { type BackedUp, backUpCoordinator } from './backup/backup.ts';
export type { Learned, LearnedGroup } from './backup/learned.ts';
export { openRebuild, type RebuildPlan } from './backup/rebuild.ts';
export type { GroupPlan } from './backup/rebuild-plan.ts';
export { planRestore, type Restored, type RestorePlan, restoreCoordinator } from './backup/restore.ts';
export { type CoordinatorConfig, coordinatorConfigSchema, loadCoordinatorConfig } from './config.ts';
export { Coordinator } from './coordinator.ts';
export { type DatabaseServer, serveDatabase } from './embedded/database-server.ts';
export { postgresFolders } from './embedded/postgres.ts';
export { checkHooks } from './hooks/check-hooks.ts';
export { runCoordinator } from './main.ts';
export { checkReceivers } from './notices/check-receivers.ts';
export { checkQueue } from './queue/check-queue.ts';
export { type IssuerFiles, readIssuer } from './rpc/certificates/renewals.ts';
export type { BackupManifest } from './store/backup/backup-file.ts';
export { checkDatabase } from './store/postgres/check-database.ts';
export { PROFILES, type Timings } from './timings.ts';
