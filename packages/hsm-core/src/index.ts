/** Everything about HSMs, nothing about networks: the pure model, the provider port and the sealing protocol over it. */
export { type BuryResult, bury, destroyNamesakes, findImpostors } from './bury.ts';
export { CaptureMemory } from './capture-memory.ts';
export {
  type BeginExchange,
  type CompleteExchange,
  type Distribution,
  distributeDomainKey,
  type ExchangeOffer,
  ExchangeResponder,
  type ExchangeTransport,
} from './enrol.ts';
export { matchesByRule, type ObjectFilter } from './filter.ts';
export {
  CKA_ID_BYTES,
  type DomainKeyRecord,
  type IdentityRecord,
  initialiseIdentity,
  type Keyring,
  openKeyring,
  type TrustedKeyRecord,
  trustedKeyLabel,
} from './keyring.ts';
export { nameLeftOut } from './left-out.ts';
export {
  blobDigests,
  blobsNamed,
  blobsOfTombstone,
  type Entry,
  type Generation,
  hasUnknownVersions,
  isNewer,
  type SealedGeneration,
  type Tombstone,
  type Uncaptured,
  versionsNeeded,
} from './model/generation.ts';
export { hasOfficerKey, hasReceivingKey } from './model/identity.ts';
export { BECOMES, type Becomes, becomesOf, isWeighty, VENDOR_DEFINED } from './model/not-carried.ts';
export {
  type Handle,
  type KeyType,
  kindOf,
  OBJECT_CLASSES,
  type ObjectId,
  type ObservedObject,
  UNCAPTURED_REASONS,
  type UncapturedReason,
} from './model/object.ts';
export { fingerprint } from './model/public-half.ts';
export { isSignedBy, openingSigned, openSigned } from './model/signed-manifest.ts';
export { ownersOf, type PartitionConfig } from './pkcs11/session.ts';
export { swapState, swapWarning } from './pkcs11/swap.ts';
export { openPartition, type WorkerProvider } from './pkcs11/worker-provider.ts';
export {
  type DomainKeyEnd,
  type HsmProvider,
  type PartitionDescription,
  PROTECTIONS,
  type ProofItem,
  type ProofOutcome,
  type Protection,
} from './provider.ts';
export { type ProofSummary, readBack } from './read-back.ts';
export { emptyScratch, lookIntoScratch, type Rehearsal, rehearse, type Strangers } from './rehearse.ts';
export { type ApplyIntent, type ApplyJournal, type Replica, ReplicaMemory } from './replica.ts';
export { type ScrubReport, scrub } from './scrub.ts';
export { LOSS_LIMIT, type Loss, type LossLimit, RETENTION_MS, type SealResult, seal } from './seal.ts';
export { findNamesakes, lookForNamesakes, type SetAsideResult, setAside } from './set-aside.ts';
export { type RefusedObject, type UnsealResult, unseal } from './unseal.ts';
