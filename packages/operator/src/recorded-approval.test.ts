import { RecordedApprovalSchema } from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { readApproval } from './recorded-approval.ts';

it('has the digest of what is signed, whatever the coordinator says, and each signer once', () => {
  const { request, signatures } = new SomeOperators().sign(someRequest());
  const forged = { operator: 'bob', signature: new Uint8Array(64) };
  const told = (digest: string) =>
    create(RecordedApprovalSchema, { digest, approval: { request, signatures: [...signatures, forged] } });
  const { digest, signers, request: read } = readApproval(told('ab'.repeat(32)));
  expect(digest).toMatch(/^[0-9a-f]{64}$/);
  expect(digest).not.toBe('ab'.repeat(32));
  expect(readApproval(told('')).digest).toBe(digest);
  expect([signers, read]).toEqual([['alice', 'bob', 'carol'], someRequest()]);
});
