/** The agent beside the HSMs of one site. */

export { SiteAgent } from './agent.ts';
export { type AgentConfig, agentConfigSchema, loadAgentConfig, partitionConfig } from './config.ts';
export { runAgent } from './main.ts';
export { acceptDeleted, type DeletedObject, listDeleted, restoreDeleted } from './objects/deleted-objects.ts';
export {
  type InitialisationPlan,
  initialisePartition,
  type LocalRuleMatch,
  matchLocally,
  type PartitionIdentity,
  pinPartitions,
  planInitialisation,
  planTrust,
  seatedGroups,
  showIdentity,
  type TrustedVersion,
  trustDomainKeys,
} from './partition/administration.ts';
export { type FoundObject, findObject } from './partition/find-object.ts';
export { type IdentityMove, moveIdentity } from './partition/move-identity.ts';
export { attributesHere, type PartitionAttributes } from './partition/not-carried.ts';
export { type Pin, Pins, peerFrom, peerText } from './peers/pins.ts';
export { type BackedUp, backUpAgent } from './storage/backup.ts';
export type { Erasure } from './storage/journal/collection.ts';
export { type StoreReport, storeReport } from './storage/store-report.ts';
