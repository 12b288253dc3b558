/** Files with an approval: read, shown to people, and brought to the coordinator. */
import { spokenDigest } from '@antipode/operator';
import {
  type ApprovalRequest,
  approvalDigest,
  approvalFromFileText,
  approvalText,
  type SignedApproval,
} from '@antipode/protocol';
import { readTextFile } from '@antipode/runtime';
import type { Operator } from '../operator-connection.ts';
import { collect } from '../options/options.ts';

export interface ApprovalFile extends SignedApproval {
  readonly parsed: ApprovalRequest;
  readonly digest: string;
}

/** @throws FILE_UNWRITABLE, APPROVAL_INVALID */
export function readApprovalFile(path: string): ApprovalFile {
  const read = approvalFromFileText(readTextFile(path, 'FILE_UNWRITABLE'));
  return { ...read, digest: approvalDigest(read.request) };
}

/** Everything that is signed, and who has signed. */
export function approvalLines({
  parsed,
  digest,
  signatures,
}: Pick<ApprovalFile, 'parsed' | 'digest' | 'signatures'>): string[] {
  const names = signatures.map(({ operator }) => operator).join(', ');
  return [
    `Approval ${spokenDigest(digest)}`,
    ...approvalText(parsed).map((line) => `  ${line}`),
    `  Signatures in the file: ${names || 'none'}. \`antipode approve verify\` checks them.`,
  ];
}

/** The option of every command that orders something that agents can guard. */
export const APPROVAL_OPTION = [
  '--approval <file>',
  'an approval of operators for this (antipode approve); repeatable',
  collect,
  [] as string[],
] as const;

/** Before the order: the coordinator has it when an agent asks. */
export async function submitApprovals(
  operator: Pick<Operator, 'submitApproval'>,
  files: readonly string[] = [],
): Promise<void> {
  for (const { request, signatures } of files.map(readApprovalFile))
    await operator.submitApproval({ approval: { request, signatures: [...signatures] } });
}
