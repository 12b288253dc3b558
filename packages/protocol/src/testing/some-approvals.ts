/** Operators with keys, and approvals that they sign, for tests. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { ApprovalPolicy, OperatorSignature, SignedApproval } from '../approvals/approval.ts';
import { APPROVAL_FORMAT, type ApprovalRequest, approvalBytes, signedBytesOf } from '../approvals/approval-request.ts';
import { signAsOperator } from '../approvals/operator-keys.ts';

export class SomeOperators {
  readonly #pairs: ReadonlyMap<string, { publicKey: KeyObject; privateKey: KeyObject }>;

  constructor(names: readonly string[] = ['alice', 'bob', 'carol', 'dave']) {
    this.#pairs = new Map(names.map((name) => [name, generateKeyPairSync('ed25519')]));
  }

  get policy(): ApprovalPolicy {
    const operators = [...this.#pairs].map(([name, { publicKey: key }]) => ({ name, key }));
    return { required: 2, breakGlass: 3, operators };
  }

  privateKey(name: string): KeyObject {
    return this.#pairs.get(name)!.privateKey;
  }

  /** The signature of `name` by the key of `by`. */
  signature(request: Uint8Array, name: string, by = name): OperatorSignature {
    return { operator: name, signature: signAsOperator(this.privateKey(by), signedBytesOf(request)) };
  }

  sign(request: ApprovalRequest, names: readonly string[] = ['alice', 'bob', 'carol']): SignedApproval {
    const bytes = approvalBytes(request);
    return { request: bytes, signatures: names.map((name) => this.signature(bytes, name)) };
  }
}

/** Of alice, for a failover of `payments` to b or c in the epochs 2 to 4, valid for an hour from `fromMs`. */
export function someRequest(changes: Partial<ApprovalRequest> = {}, fromMs = 0): ApprovalRequest {
  return {
    format: APPROVAL_FORMAT,
    action: 'failover',
    group: 'payments',
    partitions: ['b', 'c'].map((site) => ({ site, serial: `${site}-1`, role: 'member', identity: '' })),
    epochs: { from: 2, to: 4 },
    limits: { losesAtMost: 1, keepsGeneration: 0, withoutHearing: ['a'] },
    objects: [],
    required: 2,
    requestedBy: 'alice',
    reason: 'prepared for the night',
    nonce: '00112233445566778899aabbccddeeff',
    notBefore: new Date(fromMs).toISOString(),
    expires: new Date(fromMs + 3_600_000).toISOString(),
    ...changes,
  };
}
