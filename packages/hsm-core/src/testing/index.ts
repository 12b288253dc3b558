export { ATTRIBUTES, type AttributeName, type Attributes, attributesOf, USES } from '../model/attributes.ts';
export { curveOf, ecSubject, paramsIn } from '../model/curve.ts';
export { elements, OCTET_STRING, tagged, tlvOf } from '../model/der.ts';
export { contentDigestOf } from '../model/generation.ts';
export { encodeManifest } from '../model/manifest/manifest-writer.ts';
export { sealedGeneration, signingInput } from '../model/manifest/signed-manifest.ts';
export { encodeNested } from '../model/nested-template.ts';
export { NOT_CARRIED } from '../model/not-carried.ts';
export type { ObjectClass } from '../model/object.ts';
export { barePoint, ecPublicHalf } from '../model/public-half.ts';
export { openingKeyPolicy } from '../pkcs11/own-keys/policy.ts';
export { SCAN_GAP_MS } from '../pkcs11/reader.ts';
export { classNumber } from '../pkcs11/reading/objects.ts';
export { EpochFloors, underTenure } from '../pkcs11/worker/epoch-floors.ts';
export { proofItem } from '../replica/read-back.ts';
export { recogniseReplica } from '../replica/recognition.ts';
export { intentOf } from '../replica/replica.ts';
export { parseObjectFile, serialiseObject } from '../softhsm/object-file.ts';
export { ObjectStore } from '../softhsm/object-store.ts';
export { rekeyToken } from '../softhsm/rekey.ts';
export { openSoftHsmCloner, openTokenKey } from '../softhsm/softhsm-cloner.ts';
export { findTokenFolder } from '../softhsm/token-folder.ts';
export { TokenKey } from '../softhsm/token-key.ts';
export { enrolTogether, Member, type OwnKeys } from './member.ts';
export { MemberGroup, NO_FILTER, SealedGroup, type SealingMember } from './member-group.ts';
export { crashAt, MemoryJournal } from './memory-journal.ts';
export { simulatedBlobOf, simulatedDomainOf } from './simulated-cloner.ts';
export { ecKey, privateKey, publicHalfOf } from './simulated-crypto.ts';
export { SimulatedGroup } from './simulated-group.ts';
export { type Interrupt, SimulatedHsm, type StoredObject } from './simulated-hsm.ts';
export { type MemberCopy, SimulatedMember } from './simulated-member.ts';
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
