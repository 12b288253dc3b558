/** The exit statuses of the command and their meaning. They are stable. `antipode --help` shows them. */
import type { AntipodeError, ErrorCode } from '@antipode/runtime';

export const EXIT = {
  ok: 0,
  error: 1,
  usage: 2,
  verificationFailed: 3,
  degraded: 4,
  operatorNeeded: 5,
  refused: 6,
  unknown: 7,
  defect: 70,
  interrupted: 130,
} as const;

export const EXIT_MEANINGS: readonly (readonly [number, string])[] = [
  [EXIT.ok, 'done'],
  [EXIT.error, 'failed; nothing was changed unless the message says so'],
  [EXIT.usage, 'the command line or a configuration file is not valid'],
  [EXIT.verificationFailed, 'a proof, digest or signature is wrong'],
  [EXIT.degraded, 'works, but something lags or is only partially protected'],
  [EXIT.operatorNeeded, 'a person must act first; the hint says how'],
  [EXIT.refused, 'refused for safety: stale epoch, no majority, loss not accepted'],
  [EXIT.unknown, 'no answer in time; the outcome is unknown, so read the state again'],
  [EXIT.defect, 'a defect of Antipode'],
  [EXIT.interrupted, 'interrupted'],
];

const BY_CODE: Partial<Record<ErrorCode, number>> = {
  USAGE: EXIT.usage,
  CONFIG_INVALID: EXIT.usage,
  REQUEST_INVALID: EXIT.usage,
  MANIFEST_INVALID: EXIT.verificationFailed,
  BLOB_INVALID: EXIT.verificationFailed,
  OBJECT_UNPROVEN: EXIT.verificationFailed,
  DIGEST_MISMATCH: EXIT.verificationFailed,
  DRILL_UNCLEAN: EXIT.verificationFailed,
  EPOCH_STALE: EXIT.refused,
  EPOCH_CONFLICT: EXIT.refused,
  ROLE_REFUSED: EXIT.refused,
  FAILOVER_REFUSED: EXIT.refused,
  SCRATCH_REFUSED: EXIT.refused,
  NOT_SERVED: EXIT.refused,
  RESEAT_REFUSED: EXIT.refused,
  GROUP_CHANGED: EXIT.refused,
  GROUP_CHANGE_REFUSED: EXIT.refused,
  SITE_QUARANTINED: EXIT.operatorNeeded,
  GROUP_CONTRADICTED: EXIT.operatorNeeded,
  PEER_REFUSED: EXIT.refused,
  OPERATOR_ROLE_INSUFFICIENT: EXIT.refused,
  CERTIFICATE_REQUEST_INVALID: EXIT.verificationFailed,
  ISSUER_MISSING: EXIT.operatorNeeded,
  SITE_TOKEN_INVALID: EXIT.usage,
  SITE_TOKEN_REFUSED: EXIT.refused,
  JOIN_NOT_OFFERED: EXIT.operatorNeeded,
  CERTIFICATE_AWAITED: EXIT.operatorNeeded,
  CLOCK_WRONG: EXIT.operatorNeeded,
  APPROVAL_REQUIRED: EXIT.operatorNeeded,
  APPROVAL_INVALID: EXIT.verificationFailed,
  APPROVAL_INSUFFICIENT: EXIT.operatorNeeded,
  APPROVAL_EXPIRED: EXIT.refused,
  APPROVAL_MISMATCH: EXIT.refused,
  APPROVAL_USED: EXIT.refused,
  GENERATION_LOST: EXIT.operatorNeeded,
  PEER_NOT_PINNED: EXIT.operatorNeeded,
  DOMAIN_KEY_MISSING: EXIT.operatorNeeded,
  IDENTITY_MISSING: EXIT.operatorNeeded,
  PIN_REFUSED: EXIT.operatorNeeded,
  PIN_LOCKED: EXIT.operatorNeeded,
  TIMED_OUT: EXIT.unknown,
  SITE_UNREACHABLE: EXIT.unknown,
  INVARIANT_BROKEN: EXIT.defect,
};

export function exitCodeOf(error: AntipodeError): number {
  return BY_CODE[error.code] ?? EXIT.error;
}
