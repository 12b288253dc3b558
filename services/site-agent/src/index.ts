/** The agent beside the HSMs of one site. */

export { SiteAgent } from './agent.ts';
export { ApprovalRules } from './approvals/approval-rules.ts';
export { type AgentConfig, agentConfigSchema, loadAgentConfig, partitionConfig } from './config.ts';
export { lunaClientOf } from './luna-config.ts';
export { runAgent } from './main.ts';
export { acceptDeleted, listDeleted, restoreDeleted } from './objects/deleted-objects.ts';
export { type LocalRuleMatch, matchLocally } from './objects/matching.ts';
export { attributesHere, type PartitionAttributes } from './objects/object-attributes.ts';
export { type CheckedObject, checkPartition, type PartitionCheck } from './objects/partition-check.ts';
export {
  type ListedObject,
  listObjects,
  OBJECT_STATES,
  type ObjectState,
  type PartitionObjects,
} from './objects/partition-objects.ts';
export { PROGRAMS, type Program } from './objects/programs.ts';
export type { Replica } from './objects/replicas.ts';
export type { DeletedObject } from './objects/sealed-objects.ts';
export type { SiteObject } from './objects/site-object.ts';
export {
  type InitialisationPlan,
  initialisePartition,
  type PartitionIdentity,
  pinPartitions,
  planInitialisation,
  planTrust,
  seatedGroups,
  seatedPartition,
  showIdentity,
  type TrustedVersion,
  trustDomainKeys,
} from './partition/administration.ts';
export { type IdentityMove, moveIdentity } from './partition/move-identity.ts';
export { acceptTokenKey, grantTokenKey, requestTokenKey } from './partition/token-key.ts';
export { type Card, cardText, checkCode, codeOf, loadCard } from './peers/card.ts';
export { type Distrusted, distrustPartitions, type GroupDistrust, planDistrust } from './peers/distrust.ts';
export { type Pin, Pins, peerFrom, peerText } from './peers/pins.ts';
export { revocationRulesOf } from './peers/site-revocations.ts';
export { type BackedUp, backUpAgent } from './storage/backup.ts';
export type { Erasure } from './storage/journal/collection.ts';
export { type StoreReport, storeReport } from './storage/store-report.ts';
export { type ArchivedObjects, listArchived } from './vaults/archived-objects.ts';
export { preparationOf, prepareVault } from './vaults/prepare-vault.ts';
