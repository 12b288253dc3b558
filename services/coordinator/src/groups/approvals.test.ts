/** The approvals that an order carries, and those that count before anything is changed. Agents judge for themselves. */
import { APPROVAL_SKEW_MS, approvalDigest } from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { recordApproval, recordApprovalUse } from '../store/tables/approvals.ts';
import { testDatabase } from '../testing/database.ts';
import { readUsable, requestsFor } from './approvals.ts';

const database = testDatabase();
const operators = new SomeOperators();
const NOW = Date.parse('2026-11-28T03:00:00.000Z');
const RULE = { required: 2, breakGlass: 3, operators: ['alice', 'bob', 'carol', 'dave'] };

/** Submits an approval that begins at a time. Returns its digest. */
async function submit(changes: Parameters<typeof someRequest>[0] = {}, fromMs = NOW): Promise<string> {
  const request = someRequest(changes, fromMs);
  const { request: bytes, signatures } = operators.sign(request);
  const digest = approvalDigest(bytes);
  await database.rows.write((trx) =>
    recordApproval(trx, {
      digest,
      group: request.group,
      action: request.action,
      request: Buffer.from(bytes).toString(),
      signatures,
      submittedBy: 'alice',
      submittedMs: fromMs,
      expiresMs: Date.parse(request.expires),
    }),
  );
  return digest;
}
const usable = async (act: 'failover' | 'reseat' = 'failover', operation?: string): Promise<string[]> => {
  const records = await database.store.query((db) =>
    readUsable(db, { group: 'payments', act, calendarMs: NOW, operation }),
  );
  return records.map(({ digest }) => digest);
};
const nonce = (at: number): string => at.toString(16).padStart(32, '0');

beforeEach(async () => {
  await database.rows.group();
});

describe('an approval', () => {
  it('is carried from its beginning on, and those to come take no place of it', async () => {
    const now = await submit();
    for (let at = 0; at < 20; at += 1) await submit({ nonce: nonce(at) }, NOW + APPROVAL_SKEW_MS + 1);
    expect(await usable()).toEqual([now]);
  });

  it.each([
    ['failover', ['one']],
    ['reseat', ['one', 'another']],
  ] as const)('for a %s, used by an operation at a site, counts for the operations: %s', async (action, counts) => {
    const digest = await submit({ action, limits: { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] } });
    const use = { site: 'b', digest, group: 'payments', action, operation: 'one', requestedBy: 'alice' };
    await database.rows.write((trx) => recordApprovalUse(trx, { ...use, approvedBy: ['bob'], usedMs: NOW }));
    const found: string[] = [];
    for (const operation of ['one', 'another']) if ((await usable(action, operation)).length > 0) found.push(operation);
    expect(found).toEqual(counts);
  });

  it('of another release, which cannot be read here, keeps no other one from being carried', async () => {
    const digest = await submit();
    await submit({ nonce: 'not one' });
    expect(await usable()).toEqual([digest]);
  });

  it('covers nothing with fewer signatures than it asks for itself', async () => {
    await submit({ required: 3 });
    const records = await database.store.query((db) =>
      readUsable(db, { group: 'payments', act: 'failover', calendarMs: NOW }),
    );
    expect(records).toHaveLength(1);
    expect(requestsFor(records, RULE)).toEqual([]);
  });
});
