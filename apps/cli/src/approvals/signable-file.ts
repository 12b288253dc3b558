/** A file that operators sign: an approval, or a list of revoked certificates. */

import { spokenDigest } from '@antipode/operator';
import {
  approvalFileText,
  isRevocationFile,
  type OperatorSignature,
  revocationDigest,
  revocationFileText,
  revocationListText,
  revocationsFromFileText,
  signedBytesOf,
  signedRevocationBytes,
} from '@antipode/protocol';
import { readTextFile } from '@antipode/runtime';
import { approvalLines, readApprovalFile } from './approval-file.ts';

export interface SignableFile {
  readonly what: 'Approval' | 'List';
  readonly digest: string;
  /** The signed contents, for programs. */
  readonly shown: object;
  readonly signatures: readonly OperatorSignature[];
  /** Everything that is signed, and who has signed. */
  readonly lines: readonly string[];
  /** The bytes under the signature. */
  readonly bytes: Uint8Array;
  /** The name that a person types, and of what it is. */
  readonly confirmation: readonly [name: string, what: string];
  /** The file with these signatures. */
  readonly textWith: (signatures: readonly OperatorSignature[]) => string;
}

/** @throws FILE_UNWRITABLE, APPROVAL_INVALID, REVOCATION_LIST_INVALID */
export function readSignable(path: string): SignableFile {
  const list = revocationsAt(path);
  if (list !== undefined) return list;
  const file = readApprovalFile(path);
  const { digest, parsed, signatures, request } = file;
  return {
    what: 'Approval',
    digest,
    shown: parsed,
    signatures,
    lines: approvalLines(file),
    bytes: signedBytesOf(request),
    confirmation: [parsed.group, 'the group'],
    textWith: (all) => approvalFileText(parsed, all),
  };
}

function revocationsAt(path: string): SignableFile | undefined {
  let text: string;
  try {
    text = readTextFile(path, 'FILE_UNWRITABLE');
  } catch {
    // An approval that cannot be read is an error with a hint of its own.
    return undefined;
  }
  if (!isRevocationFile(text)) return undefined;
  const { parsed, list, signatures } = revocationsFromFileText(text);
  const digest = revocationDigest(list);
  const names = signatures.map(({ operator }) => operator).join(', ');
  return {
    what: 'List',
    digest,
    shown: parsed,
    signatures,
    lines: [
      `List of revoked certificates ${spokenDigest(digest)}`,
      ...revocationListText(parsed).map((line) => `  ${line}`),
      `  Signatures in the file: ${names || 'none'}.`,
    ],
    bytes: signedRevocationBytes(list),
    confirmation: [parsed.trustDomain, 'the trust domain'],
    textWith: (all) => revocationFileText({ list, signatures: all }),
  };
}
