/** Operators with keys, and approvals that they sign, for tests. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { ApprovalPolicy, OperatorSignature, SignedApproval } from '../approvals/approval.ts';
import { APPROVAL_FORMAT, type ApprovalRequest, approvalBytes, signedBytesOf } from '../approvals/approval-request.ts';
import { operatorKeyText, signAsOperator } from '../approvals/operator-keys.ts';
import {
  REVOCATION_FORMAT,
  type Revocation,
  type RevocationList,
  type RevocationRules,
  revocationBytes,
  revocationDigest,
  type SignedRevocations,
  signedRevocationBytes,
} from '../revocations/revocation-list.ts';

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

  /** One other operator must sign. */
  get revocationRules(): RevocationRules {
    return { required: 1, operators: this.policy.operators };
  }

  /** These rules in a configuration, as YAML. */
  get revocationSection(): string {
    const { required, operators } = this.revocationRules;
    const keys = operators.map(({ name, key }) => `    - { name: ${name}, key: ${operatorKeyText(key)} }\n`);
    return `revocation:\n  required: ${required}\n  operators:\n${keys.join('')}`;
  }

  /** @param names who signs; alice has made the list unless it says otherwise */
  signRevocations(list: RevocationList, names: readonly string[] = ['alice', 'bob']): SignedRevocations {
    const bytes = revocationBytes(list);
    const signed = signedRevocationBytes(bytes);
    const signatures = names.map((name) => ({
      operator: name,
      signature: signAsOperator(this.privateKey(name), signed),
    }));
    return { list: bytes, signatures };
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

const FIRST_REVOCATIONS: RevocationList = {
  format: REVOCATION_FORMAT,
  trustDomain: 'test.example',
  version: 1,
  previous: '',
  made: '2026-01-02T03:04:05.000Z',
  madeBy: 'alice',
  entries: [],
};

/** The version after `before`, or the first one, made by alice. */
export const someRevocations = (
  entries: readonly Revocation[] = [someRevocation()],
  before?: RevocationList,
  changes: Partial<RevocationList> = {},
): RevocationList => ({
  ...FIRST_REVOCATIONS,
  ...(before === undefined ? {} : { version: before.version + 1, previous: revocationDigest(revocationBytes(before)) }),
  entries,
  ...changes,
});

/** Of every certificate of site b in `test.example` that was issued before a moment. */
export const someRevocation = (changes: Partial<Revocation> = {}): Revocation => ({
  kind: 'identity',
  subject: '',
  issuedBefore: '2026-01-02T03:04:05.000Z',
  name: 'spiffe://test.example/site/b',
  reason: 'the disk was stolen',
  since: '2026-01-02T03:04:05.000Z',
  ends: '2036-01-02T03:04:05.000Z',
  ...changes,
});
