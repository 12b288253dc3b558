/** A request with its signatures: the file that people pass on, and the judgement of it by a list of operators. */
import { AntipodeError } from '@antipode/runtime';
import {
  type ApprovalRequest,
  approvalBytes,
  approvalDigest,
  approvalRequestFrom,
  invalid,
  parseApprovalBytes,
  signedBytesOf,
} from './approval-request.ts';
import { isSignedByOperator, type OperatorKey, operatorKeyFingerprint } from './operator-keys.ts';

export interface OperatorSignature {
  readonly operator: string;
  readonly signature: Uint8Array;
}

/** As it crosses the wire: the canonical request, and signatures over it. */
export interface SignedApproval {
  readonly request: Uint8Array;
  readonly signatures: readonly OperatorSignature[];
}

/** The operators that a site trusts to approve. Only the site's own configuration names them. */
export interface ApprovalPolicy {
  /** Distinct operators that must have signed, without the requester. */
  readonly required: number;
  /** The same for a break glass. */
  readonly breakGlass: number;
  readonly operators: readonly OperatorKey[];
}

export interface VerifiedApproval {
  readonly request: ApprovalRequest;
  readonly digest: string;
  /** Operators that count, by name. */
  readonly approvedBy: readonly string[];
}

/** More signatures than any list of operators has. */
export const SIGNATURES_MAX = 64;
const SIGNATURE_BYTES = 64;

/**
 * The difference between two clocks that is put up with: an approval counts this much before its beginning and after its
 * end, by the clock of the agent.
 */
export const APPROVAL_SKEW_MS = 120_000;
/** No approval holds for longer, whoever signs it. */
export const APPROVAL_DAYS_MAX = 31;

/**
 * Judges an approval by a policy and a clock. It does not look at what the approval is for.
 * @throws APPROVAL_INVALID, APPROVAL_INSUFFICIENT, APPROVAL_EXPIRED
 */
export function verifyApproval(
  { request: bytes, signatures }: SignedApproval,
  policy: ApprovalPolicy,
  nowMs: number,
): VerifiedApproval {
  const request = parseApprovalBytes(bytes);
  const digest = approvalDigest(bytes);
  if (signatures.length > SIGNATURES_MAX) throw invalid('signatures', `are more than ${SIGNATURES_MAX}`);
  const { signers, wrong } = signersOf({ bytes: signedBytesOf(bytes), signatures }, policy.operators);
  const { requestedBy } = request;
  const approvedBy = [...signers].filter((name) => name !== requestedBy).sort();
  const own = request.action === 'break-glass' ? policy.breakGlass : policy.required;
  const required = Math.max(own, request.required);
  // Anybody can add a wrong signature under the name of another. It must not take the effect of the right ones.
  if (wrong !== undefined && (!signers.has(requestedBy) || approvedBy.length < required))
    throw new AntipodeError('APPROVAL_INVALID', `the signature of operator ${wrong} does not fit the request`, {
      details: { field: 'signatures', operator: wrong },
    });
  if (!signers.has(requestedBy))
    throw new AntipodeError(
      'APPROVAL_INSUFFICIENT',
      `operator ${requestedBy} asks for approval ${digest.slice(0, 16)} and has not signed it`,
      { details: { digest, operator: requestedBy } },
    );
  if (approvedBy.length < required)
    throw new AntipodeError(
      'APPROVAL_INSUFFICIENT',
      `approval ${digest.slice(0, 16)} is signed by ${approvedBy.length} operators who count, expected ${required}`,
      { details: { digest, found: approvedBy.length, required, requestedBy } },
    );
  checkTime(request, { digest, nowMs });
  return { request, digest, approvedBy };
}

/**
 * Operators of the list that have signed these bytes. Each counts once, and so does each key. An operator who is not in
 * the list counts nowhere here: sites may trust different people. `wrong` is one whose signature does not fit.
 */
export function signersOf(
  { bytes, signatures }: { bytes: Uint8Array; signatures: readonly OperatorSignature[] },
  operators: readonly OperatorKey[],
): { signers: ReadonlySet<string>; wrong: string | undefined } {
  const keys = new Set<string>();
  const signers = new Set<string>();
  let wrong: string | undefined;
  for (const { operator: name, signature } of signatures) {
    const operator = operators.find((one) => one.name === name);
    if (operator === undefined) continue;
    if (signature.length !== SIGNATURE_BYTES || !isSignedByOperator(operator, { bytes, signature })) {
      wrong ??= name;
      continue;
    }
    const key = operatorKeyFingerprint(operator.key);
    if (keys.has(key)) continue;
    keys.add(key);
    signers.add(name);
  }
  return { signers, wrong };
}

function checkTime(
  { notBefore, expires }: ApprovalRequest,
  { digest, nowMs }: { digest: string; nowMs: number },
): void {
  const [fromMs, toMs] = [Date.parse(notBefore), Date.parse(expires)];
  const details = { digest, notBefore, expires };
  const name = `approval ${digest.slice(0, 16)}`;
  if (toMs - fromMs > APPROVAL_DAYS_MAX * 86_400_000)
    throw new AntipodeError('APPROVAL_INVALID', `${name} holds for more than ${APPROVAL_DAYS_MAX} days`, { details });
  if (nowMs < fromMs - APPROVAL_SKEW_MS)
    throw new AntipodeError('APPROVAL_EXPIRED', `${name} does not count before ${notBefore}`, { details });
  if (nowMs >= toMs + APPROVAL_SKEW_MS)
    throw new AntipodeError('APPROVAL_EXPIRED', `${name} expired at ${expires}`, { details });
}

/** Whether {@link verifyApproval} takes it at this time. */
export function isApprovalCurrent(request: ApprovalRequest, nowMs: number): boolean {
  try {
    checkTime(request, { digest: '', nowMs });
    return true;
  } catch {
    return false;
  }
}

/** The file that operators pass on. Its layout does not matter: the canonical form of `request` is what they sign. */
export function approvalFileText(request: ApprovalRequest, signatures: readonly OperatorSignature[]): string {
  const lines = signatures.map(({ operator, signature }) => ({
    operator,
    signature: Buffer.from(signature).toString('base64'),
  }));
  return `${JSON.stringify({ request, signatures: lines }, null, 2)}\n`;
}

/** @throws APPROVAL_INVALID */
export function approvalFromFileText(text: string): SignedApproval & { readonly parsed: ApprovalRequest } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('file', 'is not JSON');
  }
  const { request, signatures, ...more } = (value ?? {}) as Record<string, unknown>;
  if (Object.keys(more).length > 0 || !Array.isArray(signatures))
    throw invalid('file', 'must have the fields request and signatures');
  const parsed = approvalRequestFrom(request);
  return {
    parsed,
    request: approvalBytes(parsed),
    signatures: signatures.map((one: unknown) => {
      const { operator, signature } = (one ?? {}) as Record<string, unknown>;
      if (typeof operator !== 'string' || typeof signature !== 'string')
        throw invalid('signatures', 'must have the fields operator and signature');
      return { operator, signature: new Uint8Array(Buffer.from(signature, 'base64')) };
    }),
  };
}
