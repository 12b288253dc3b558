/** The agent beside the HSMs of one site. */
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
} from './administration.ts';
export { SiteAgent } from './agent.ts';
export { type BackedUp, backUpAgent } from './backup.ts';
export { type AgentConfig, agentConfigSchema, loadAgentConfig, partitionConfig } from './config.ts';
export { acceptDeleted, type DeletedObject, listDeleted, restoreDeleted } from './deleted-objects.ts';
export { type FoundObject, findObject } from './find-object.ts';
export type { Erasure } from './journal-collection.ts';
export { runAgent } from './main.ts';
export { type IdentityMove, moveIdentity } from './move-identity.ts';
export { attributesHere, type PartitionAttributes } from './not-carried.ts';
export { type Pin, Pins, peerFrom, peerText } from './pins.ts';
export { type StoreReport, storeReport } from './store-report.ts';
