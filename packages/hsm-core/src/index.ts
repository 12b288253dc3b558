/** Everything about HSMs, nothing about networks: the pure model, the provider port and the sealing protocol over it. */

export { type CaptureResult, captureGeneration } from './capture/capture.ts';
export type { Movement } from './capture/capture-context.ts';
export { CaptureMemory } from './capture/capture-memory.ts';
export { type FilterRule, isExcluded, matchesByRule, type ObjectFilter } from './capture/filter.ts';
export { LOSS_LIMIT, type Loss, type LossLimit } from './capture/losses.ts';
export {
  type CapturePreview,
  type PreviewedObject,
  type PreviewOptions,
  previewCapture,
  recogniseObjects,
} from './capture/preview.ts';
export { RETENTION_MS } from './capture/tombstones.ts';
export { nameUncaptured } from './capture/uncaptured.ts';
export { type MachineToSearch, type ModuleCandidate, moduleCandidates, thisMachine } from './detection/candidates.ts';
export { type DetectedModule, type DetectOptions, detectTokens } from './detection/detect.ts';
export type { ProbedToken } from './detection/probe.ts';
export { type Distribution, distributeDomainKey } from './domain-key/distribution.ts';
export type { BeginExchange, CompleteExchange, ExchangeOffer, ExchangeTransport } from './domain-key/exchange.ts';
export {
  type DomainKeyRecord,
  type IdentityRecord,
  initialiseIdentity,
  type Keyring,
  openKeyring,
  type TrustedKeyRecord,
  type UnrecordedKey,
} from './domain-key/keyring.ts';
export { ExchangeResponder } from './domain-key/responder.ts';
export { type Attributes, USES } from './model/attributes.ts';
export {
  blobDigests,
  blobsNamed,
  blobsOfTombstone,
  dataKeyIdsOf,
  hasUnknownVersions,
  versionsNeeded,
} from './model/blobs.ts';
export {
  type Entry,
  entryDigest,
  type Generation,
  hasClone,
  isByDevice,
  type SealedGeneration,
  type Tombstone,
  type Uncaptured,
} from './model/generation.ts';
export { hasOfficerKey, hasReceivingKey } from './model/identity.ts';
export { KDFS, type Kdf } from './model/kdf.ts';
export { FORMAT_HIGHEST } from './model/manifest/manifest-fields.ts';
export { isSignedBy, openingSigned, openSigned } from './model/manifest/signed-manifest.ts';
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
export { CKA_ID_BYTES, markedId, trustedKeyLabel } from './model/own-key-name.ts';
export { fingerprint } from './model/public-half.ts';
export { classNameOf, keyTypeNameOf, kindNameOf } from './model/type-name.ts';
export { entryRecognitionKey as recognitionOf } from './objects/recognise.ts';
export {
  countSharedNames,
  findingSharedNames,
  SHARED_NAMES,
  type SharedName,
  type SharedNameCounts,
  type SharedNames,
} from './objects/shared-names.ts';
export { POINT_ENCODINGS } from './pkcs11/agreement.ts';
export { type OperatorToken, type OperatorTokenKey, useOperatorToken } from './pkcs11/operator-token.ts';
export { swapState, swapWarning } from './pkcs11/own-keys/swap.ts';
export { ownersOf, type PartitionConfig } from './pkcs11/session/session.ts';
export type { CallCount } from './pkcs11/worker/call-tally.ts';
export type { GroupEpoch } from './pkcs11/worker/epoch-floors.ts';
export { openPartition, type WorkerProvider } from './pkcs11/worker/worker-provider.ts';
export type { NativeCloner, NativeItem, PlacedObject, TakenObject } from './provider/native-cloner.ts';
export {
  type DomainKeyEnd,
  type HsmProvider,
  type PartitionDescription,
  PROTECTIONS,
  type ProofItem,
  type ProofOutcome,
  type Protection,
  type Refusal,
} from './provider/provider.ts';
export { type ApplyOptions, type ApplyResult, applyGeneration, type RefusedObject } from './replica/apply.ts';
export { type BuryResult, bury, destroyNamesakes, findImpostors } from './replica/bury.ts';
export { type MergedObject, type MergeVerdict, mergeObjects } from './replica/merge.ts';
export { type ProofSummary, readBack } from './replica/read-back.ts';
export { emptyScratch, lookIntoScratch, type Rehearsal, rehearse, type Strangers } from './replica/rehearsal.ts';
export { type ApplyIntent, type ApplyJournal, intentOf, type Replica, ReplicaMemory } from './replica/replica.ts';
export { type ScrubReport, scrub } from './replica/scrub.ts';
export { findNamesakes, lookForNamesakes, type SetAsideResult, setAside } from './replica/set-aside.ts';
export { sealUnexplained, type UnexplainedObject } from './replica/unexplained.ts';
export { type CopyReport, proveWholeCopy } from './replica/whole-copy.ts';
export {
  type ConfirmedPartition,
  grantFrom,
  requestFrom,
  textOf as sharingTextOf,
} from './softhsm/sharing/messages.ts';
export { acceptSharing, grantSharing, requestSharing } from './softhsm/sharing/share.ts';
