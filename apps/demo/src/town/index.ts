/** A town: sites and a coordinator on one machine, for the demonstration, for tests and for measurements. */
export { freePort, TownProcess, type TownProcessOptions } from './processes.ts';
export {
  type KnownIdentity,
  type PartitionPlan,
  type SitePlan,
  Town,
  type TownIdentity,
  type TownNetwork,
  type TownSite,
} from './town.ts';
