export { enrolTogether, Member, type OwnKeys } from './member.ts';
export { MemberGroup, NO_FILTER, SealedGroup, type SealingMember } from './member-group.ts';
export { crashAt, MemoryJournal } from './memory-journal.ts';
export { ecKey, privateKey, publicHalfOf } from './simulated-crypto.ts';
export { SimulatedGroup } from './simulated-group.ts';
export { type Interrupt, SimulatedHsm, type StoredObject } from './simulated-hsm.ts';
export { SimulatedMember } from './simulated-member.ts';
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
