/** The coordinator: it decides. */
export { type CoordinatorConfig, coordinatorConfigSchema, loadCoordinatorConfig } from './config.ts';
export { Coordinator } from './coordinator.ts';
export { type DatabaseServer, serveDatabase } from './embedded/database-server.ts';
export { postgresFolders } from './embedded/postgres.ts';
export { checkHooks } from './hooks/check-hooks.ts';
export { runCoordinator } from './main.ts';
export { checkQueue } from './queue/check-queue.ts';
export { checkDatabase } from './store/postgres/check-database.ts';
export { PROFILES, type Timings } from './timings.ts';
