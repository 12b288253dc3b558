/** Insides of the command line, for tests outside of it. No program imports them. */
export { moveText } from '../commands/partition.ts';
export { type Round, replicateOnce } from '../commands/replicate.ts';
export { isDegraded, statusText } from '../commands/status.ts';
export { storeText } from '../commands/store.ts';
export { agentFindings, coordinatorFindings, operatorFindings } from '../diagnosis.ts';
export { follow, type Operator } from '../operator.ts';
export { table } from '../output.ts';
export { domainKeyTable } from '../views/group.ts';
