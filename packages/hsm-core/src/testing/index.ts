export { ecKey, privateKey, publicHalfOf } from './simulated-crypto.ts';
export { crashAt, MemoryJournal, NO_FILTER, SimulatedGroup } from './simulated-group.ts';
export { type Interrupt, SimulatedHsm, type StoredObject } from './simulated-hsm.ts';
export { enrolTogether, SimulatedMember } from './simulated-member.ts';
export { isHalfMade, SimulatedSession } from './simulated-session.ts';
export {
  all,
  deliver,
  named,
  type Planted,
  plantedKey,
  SoftwareDomain,
  secretKey,
  wrapInSoftware,
} from './software-domain.ts';
