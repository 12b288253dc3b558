/** The wire: gRPC over mutual TLS 1.3, and who may call what. */

export {
  APPROVAL_DAYS_MAX,
  APPROVAL_SKEW_MS,
  type ApprovalPolicy,
  approvalFileText,
  approvalFromFileText,
  isApprovalCurrent,
  type OperatorSignature,
  type SignedApproval,
  type VerifiedApproval,
  verifyApproval,
} from './approvals/approval.ts';
export {
  APPROVAL_FORMAT,
  type ApprovalRequest,
  type ApprovedPartition,
  approvalBytes,
  approvalDigest,
  approvalRequestFrom,
  EPOCH_UNLIMITED,
  GUARDED_ACTIONS,
  type GuardedAction,
  parseApprovalBytes,
  signedBytesOf,
} from './approvals/approval-request.ts';
export { approvalText } from './approvals/approval-text.ts';
export {
  isOperatorKey,
  isSignedByOperator,
  OPERATOR_KEY_EXPECTED,
  type OperatorKey,
  operatorKeyFingerprint,
  operatorKeyFrom,
  operatorKeyText,
  signAsOperator,
} from './approvals/operator-keys.ts';

export { CertificateRenewal, type CertificateRenewalOptions } from './certificates/certificate-renewal.ts';
export { START_WAIT_MS_MAX, untilCertificateBegins } from './certificates/certificate-start.ts';
export {
  type CertificateState,
  certificateInfo,
  certificatesIn,
  checkCertificate,
  WARN_DAYS,
  warningsOf,
} from './certificates/certificate-watch.ts';
export {
  type Authority,
  type CertificateDescription,
  type CertificateRequest,
  createAuthority,
  createIssuer,
  describeCertificate,
  type IssuedCertificate,
  issueCertificate,
  issuedMs,
  type ReadRequest,
  readRequest,
  requestCertificate,
  requestCertificateWith,
  signRequest,
} from './certificates/certificates.ts';
export {
  authorise,
  type Caller,
  type Identity,
  type IdentityKind,
  identityUri,
  MAY_CALL,
  OPERATOR_ROLES,
  type OperatorRole,
  parseIdentity,
} from './certificates/identity.ts';
export { renewedByAny } from './certificates/renewal-client.ts';
export { completeRenewal, installRenewal, renewalDueMs, requestRenewal } from './certificates/renewal-files.ts';
export { type ExpectedPeer, KEY_EXCHANGE, Tls, type TlsFiles } from './certificates/tls.ts';
export { type CallOptions, type Client, type ClientOptions, createClient } from './client.ts';
export { ARCHIVE_WORKS, type ArchiveWorkName, archiveWorkName, archiveWorkNumber } from './convert/archive-work.ts';
export { CLOCK_RATE_TOLERANCE, type ClockRateBounds, isFastClock, isSlowClock } from './convert/clock-rate.ts';
export { fenceOf } from './convert/fences.ts';
export {
  FILTER_CLASSES,
  type FilterFault,
  type FilterRules,
  filterFault,
  filterMessage,
  filterRules,
  isCkaId,
  isLabelPattern,
} from './convert/filters.ts';
export { type GenerationPosition, isNewer, newestOf } from './convert/generation-order.ts';
export {
  digestOf,
  factsRef,
  type GenerationFacts,
  type GenerationName,
  generationFacts,
  generationName,
  nameRef,
} from './convert/generation-refs.ts';
export { MOVEMENTS, type MovementName, movementField, movementName, movementNumber } from './convert/movements.ts';
export { isName, isSerial, NAME_EXPECTED, parseSeat, SERIAL_EXPECTED, type Seat } from './convert/names.ts';
export { FAILED_IDS_MAX, NO_PROOF, type Proof, proofOf, proofSummary } from './convert/proofs.ts';
export { type RoleName, roleName, roleNumber, roleOf } from './convert/roles.ts';
export { enumWord } from './convert/words.ts';
export * from './gen/antipode/v1/certificate_pb.ts';
export * from './gen/antipode/v1/coordinator_pb.ts';
export * from './gen/antipode/v1/join_pb.ts';
export * from './gen/antipode/v1/operator_pb.ts';
export * from './gen/antipode/v1/resolver_pb.ts';
export * from './gen/antipode/v1/revocation_pb.ts';
export * from './gen/antipode/v1/site_agent_pb.ts';
export * from './gen/antipode/v1/types_pb.ts';
export { accountOf, HeardHeartbeats } from './heartbeats/heard-heartbeats.ts';
export { SentHeartbeats } from './heartbeats/sent-heartbeats.ts';
export { askToJoin, CLOCK_OFFSET_MS_MAX, type Joined } from './joining/join-client.ts';
export { DOOR_LIMITS, type DoorLimits, JoinDoor, type JoinDoorOptions } from './joining/join-door.ts';
export {
  type JoinPlace,
  type JoinToken,
  SECRET_BYTES,
  SITE_TOKEN_PREFIX,
  secretDigest,
  siteTokenFrom,
  siteTokenText,
  TOKEN_ID,
} from './joining/join-token.ts';
export type { CoordinatorObservation, CoordinatorOutcome } from './leader/coordinator-observations.ts';
export {
  type ConfiguredCoordinators,
  type CoordinatorAddress,
  coordinatorsFrom,
  namesOfCoordinators,
} from './leader/coordinators.ts';
export { LeaderFinder, type LeaderFinderOptions } from './leader/leader-finder.ts';
export { type LinkLimits, linkLimits, ROUND_TRIP_MS_MAX } from './limits/link-limits.ts';
export { REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX } from './limits/message-limits.ts';
export { VOUCH_MS, VOUCH_STOP_MS } from './limits/vouch.ts';
export { RevocationBook, type RevocationBookOptions, revocationIn } from './revocations/revocation-book.ts';
export { operatorsSchema, revocationSchema } from './revocations/revocation-config.ts';
export { type ExchangeOutcome, type ExchangePeer, exchangeRevocations } from './revocations/revocation-exchange.ts';
export {
  revocationHandlers,
  revocationState,
  signedListMessage,
  signedRevocationsFrom,
} from './revocations/revocation-handlers.ts';
export {
  ENTRIES_MAX,
  isRevocationFile,
  parseRevocations,
  REVOCATION_FORMAT,
  type Revocation,
  type RevocationKind,
  type RevocationList,
  type RevocationRules,
  revocationBytes,
  revocationDigest,
  revocationFileText,
  revocationListFrom,
  revocationsFromFileText,
  type SignedRevocations,
  signedRevocationBytes,
  verifyRevocations,
} from './revocations/revocation-list.ts';
export { revocationListText, revokedText } from './revocations/revocation-text.ts';
export { type CallContext, type Handlers, RpcServer, type RpcServerOptions } from './server.ts';
export { isUnreachable } from './status.ts';
