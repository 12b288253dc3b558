/** Insides of the command line, for tests outside of it. No program imports them. */

export { type Round, replicateOnce } from '../commands/operator/replicate.ts';
export { moveText } from '../commands/site/partition.ts';
export { storeText } from '../commands/site/store.ts';
export { agentFindings, applicationFindings, coordinatorFindings, operatorFindings } from '../doctor/diagnosis.ts';
export { main } from '../main.ts';
export { follow, type Operator } from '../operator-connection.ts';
export { subcommandsOf } from '../options/options.ts';
export { table } from '../output.ts';
export { environmentOf } from '../place/place.ts';
export { domainKeyTable } from '../views/group.ts';
export { isDegraded, statusText } from '../views/status.ts';
