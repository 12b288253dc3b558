/** Insides of the coordinator, for tests outside of it. No program imports them. */
export { Retention } from '../calendar/retention.ts';
export { Timeline } from '../calendar/timeline.ts';
export { Election } from '../election.ts';
export { EmbeddedPostgres } from '../embedded/postgres.ts';
export { EmbeddedRedis } from '../embedded/redis.ts';
export { buildCoordinator, type CoordinatorGraph, type CoordinatorPorts } from '../graph.ts';
export { GroupCache } from '../groups/group-cache.ts';
export type { Generation, IntentKind, IntentStatus } from '../model.ts';
export { declarationOf, NOTICES, type NoticeDeclaration, type NoticeKind } from '../notices/causes.ts';
export { EffectContext } from '../operations/context.ts';
export { failover } from '../operations/failover/effects.ts';
export type { FailoverEffect } from '../operations/failover/machine.ts';
export type { Held } from '../operations/failover/plan.ts';
export { INTENT_KINDS } from '../operations/kinds.ts';
export { replication } from '../operations/replication/effects.ts';
export { BullWakeUps } from '../queue/wake-ups.ts';
export { eventHandlers, NEWEST_ROWS, PAGE_ROWS } from '../rpc/events.ts';
export { type Agent, dialOverTls } from '../sites/agents.ts';
export { startingOrders } from '../sites/started-orders.ts';
export { type BackupPart, checkBackup, readBackup, writeBackup } from '../store/backup/backup-file.ts';
export {
  continueEvents,
  countRows,
  insertRows,
  readSchemaVersion,
  readSummary,
  rowsOf,
  TABLES,
  type TableName,
} from '../store/backup/rows.ts';
export { PostgresStore } from '../store/postgres/postgres-store.ts';
export { MIGRATIONS, SCHEMA_OF_PREVIOUS_RELEASE } from '../store/schema.ts';
export { SqlStore } from '../store/sql-store.ts';
export type { Read, Store, Write } from '../store/store.ts';
export { readDrills, readLastPassed } from '../store/tables/evidence/drills.ts';
export { readScrubs, recordScrub } from '../store/tables/evidence/scrubs.ts';
export { readFacts } from '../store/tables/facts.ts';
export {
  readAcknowledged,
  readAhead,
  readGeneration,
  readKnown,
  readNewest,
  recordAcknowledgement,
  recordCapture,
  releaseNumber,
  reserveNumber,
  withdrawAcknowledgements,
} from '../store/tables/generations.ts';
export {
  activateEpoch,
  insertEpoch,
  insertGroup,
  lockGroup,
  readGroup,
  readGroups,
  readTenures,
} from '../store/tables/groups.ts';
export {
  endIntent,
  findIntent,
  type Intent,
  insertIntent,
  readDone,
  readFailed,
  readIntent,
  readIntents,
  readOpenIntents,
  readRecent,
  requireOpen,
  updateIntent,
} from '../store/tables/intents.ts';
export { renameOpenKinds } from '../store/tables/kind-names.ts';
export { lowerLeaseLength, raiseLeaseLength } from '../store/tables/leadership/lease-length.ts';
export { readTimeline } from '../store/tables/leadership/timeline.ts';
export { readRefused, recordRefused } from '../store/tables/refused.ts';
export {
  digestOf,
  retireGenerations,
  retireIntents,
  retireUnchangedCaptures,
} from '../store/tables/retention.ts';
export { readPlace, readSites, recordSite } from '../store/tables/sites/sites.ts';
export { readFailing } from '../store/tables/streaks.ts';
export { PROFILES, type Profile, type Timings } from '../timings.ts';
export { EffectsBench } from './effects-bench.ts';
export { SPEC } from './group.ts';
export { InProcessStore } from './in-process-store.ts';
export { FIRST_EPOCH } from './leader.ts';
export { generation } from './situation.ts';
export { type Answer, SqliteDatabase } from './sqlite-database.ts';
export { storeConformance } from './store-conformance.ts';
