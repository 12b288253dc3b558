/** The folders that a place starts from: certificates and configuration. `antipode init` makes them. */
export {
  makeApplicationFolder,
  makeAuthority,
  makeCoordinatorFolder,
  makeIssuer,
  makeOperatorFolder,
  makeSiteFolder,
  openRequest,
  type PartitionDraft,
  type RequestToSign,
} from './folders.ts';
export {
  type AgentDraft,
  addressTowards,
  agentConfigPath,
  defaultListen,
  type JoinPorts,
  joinCertificate,
  joinConfig,
} from './joining.ts';
export { partitionName, partitionsText, withPartitions } from './partitions.ts';
