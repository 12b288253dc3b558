/** An approval as a coordinator has it on record: what is in it, and not what the coordinator says of it. */
import { type ApprovalRequest, approvalDigest, parseApprovalBytes, type RecordedApproval } from '@antipode/protocol';

export interface ReadApproval {
  readonly request: ApprovalRequest;
  /** Of the bytes that are signed: people compare it aloud. */
  readonly digest: string;
  /** The names under which it has signatures, each once. Only agents know whether they count. */
  readonly signers: readonly string[];
}

/** @throws APPROVAL_INVALID */
export function readApproval({ approval }: Pick<RecordedApproval, 'approval'>): ReadApproval {
  const bytes = new Uint8Array(approval?.request ?? []);
  const signers = new Set((approval?.signatures ?? []).map(({ operator }) => operator));
  return { request: parseApprovalBytes(bytes), digest: approvalDigest(bytes), signers: [...signers] };
}
