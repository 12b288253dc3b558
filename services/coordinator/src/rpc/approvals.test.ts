import {
  ChangeGroupRequestSchema,
  DescribeResponseSchema,
  ListApprovalsRequestSchema,
  PlanFailoverRequestSchema,
  ReseatGroupRequestSchema,
  type SignedApproval,
  SubmitApprovalRequestSchema,
  verifyApproval,
} from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { recordApprovalUse } from '../store/tables/approvals.ts';
import { readFormerSeats } from '../store/tables/membership.ts';
import { testDatabase } from '../testing/database.ts';
import { SPEC } from '../testing/group.ts';
import { OPERATOR, OperatorBench } from '../testing/operator-bench.ts';
import { operatorHandlers } from './operator.ts';

const database = testDatabase();
const operators = new SomeOperators();
const NO_LIMITS = { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] };
let bench: OperatorBench;

beforeEach(async () => {
  await database.rows.group({ spec: { ...SPEC, failoverPolicy: 'manual' } });
  bench = new OperatorBench(database);
});

const request = (changes: Parameters<typeof someRequest>[0] = {}) =>
  someRequest(changes, bench.clock.wallMs() + bench.wallAheadMs);
const submit = ({ request: bytes, signatures }: SignedApproval) =>
  operatorHandlers(bench.ports).submitApproval(
    create(SubmitApprovalRequestSchema, { approval: { request: bytes, signatures: [...signatures] } }),
    OPERATOR,
  );
const list = async (group = '') =>
  (await operatorHandlers(bench.ports).listApprovals(create(ListApprovalsRequestSchema, { group }), OPERATOR))
    .approvals ?? [];
const events = () => database.store.query((db) => db.selectFrom('event').selectAll().execute());

/** The site announces itself, and guards its actions. */
function hearGuarded(site: string): void {
  const partitions = [{ serial: `serial-${site}`, name: 'main', module: 'm.so', tokenLabel: 'main-token' }];
  const members = [{ group: 'payments', epoch: 1n, epochOwner: 'a' }];
  const names = ['alice', 'bob', 'carol', 'dave'];
  const approvalRules = [{ group: '', required: 2, breakGlass: 3, operators: names }];
  const state = create(DescribeResponseSchema, { site, instance: site, partitions, members, approvalRules });
  bench.detector.heard(state, { address: `${site}:1` });
}

const partitionsOf = (...sites: string[]) =>
  sites.map((site) => ({ site, serial: `serial-${site}`, role: 'member' as const, identity: '' }));

describe('an approval', () => {
  it('is kept with all signatures that were submitted, and leaves an event without them', async () => {
    const first = request();
    await submit(operators.sign(first, ['alice', 'bob']));
    await submit(operators.sign(first, ['carol']));
    const [kept, ...others] = await list('payments');
    expect(others).toEqual([]);
    expect(kept!.approval?.signatures?.map(({ operator }) => operator)).toEqual(['alice', 'bob', 'carol']);
    expect(kept).toMatchObject({ submittedBy: 'alice', uses: [] });
    const told = (await events()).filter(({ kind }) => kind === 'approval-submitted');
    expect(told.map(({ details }) => (JSON.parse(details) as { signedBy: string }).signedBy)).toEqual([
      'alice bob',
      'alice bob carol',
    ]);
    expect(await list('other')).toEqual([]);
  });

  it('keeps the right signature of an operator, whatever another one submits under that name', async () => {
    const first = operators.sign(request(), ['alice', 'bob', 'carol']);
    const wrong = ['alice', 'bob', 'carol'].map((operator) => ({ operator, signature: new Uint8Array(64) }));
    const submitAs = (name: string, signatures: SignedApproval['signatures']) =>
      operatorHandlers(bench.ports).submitApproval(
        create(SubmitApprovalRequestSchema, { approval: { request: first.request, signatures: [...signatures] } }),
        { ...OPERATOR, identity: { ...OPERATOR.identity, name } },
      );
    await submitAs('alice', first.signatures);
    await submitAs('mallory', wrong);
    await submitAs('mallory', wrong);
    await submitAs('carol', first.signatures);
    const [kept] = await list('payments');
    const signatures = kept!.approval?.signatures?.map(({ operator = '', signature = new Uint8Array() }) => ({
      operator,
      signature: new Uint8Array(signature),
    }));
    expect(signatures).toEqual([...first.signatures, ...wrong]);
    const approval = { request: first.request, signatures: signatures! };
    const nowMs = bench.clock.wallMs();
    expect(verifyApproval(approval, operators.policy, nowMs).approvedBy).toEqual(['bob', 'carol']);
  });

  it('is not kept when it has expired, or is not in its canonical form', async () => {
    const late = someRequest({}, bench.clock.wallMs() - 2 * 3_600_000);
    expect((await rejection(submit(operators.sign(late)))).code).toBe('APPROVAL_EXPIRED');
    const { request: bytes, signatures } = operators.sign(request());
    const spaced = { request: new Uint8Array(Buffer.concat([bytes, Buffer.from(' ')])), signatures };
    expect((await rejection(submit(spaced))).code).toBe('APPROVAL_INVALID');
    const empty = operatorHandlers(bench.ports).submitApproval(create(SubmitApprovalRequestSchema, {}), OPERATOR);
    expect((await rejection(empty)).code).toBe('REQUEST_INVALID');
    expect(await list()).toEqual([]);
  });

  it.each([
    ['ahead of', -3 * 3_600_000],
    ['behind', 3 * 3_600_000],
  ])('ends by the clock on the wall, however far the time of the stamps is %s it', async (_where, wallAheadMs) => {
    bench.wallAheadMs = wallAheadMs;
    const nowMs = bench.clock.wallMs() + wallAheadMs;
    await submit(operators.sign(request()));
    expect((await list()).map(({ submittedMs }) => submittedMs)).toEqual([BigInt(nowMs)]);
    const over = someRequest({ nonce: 'e'.repeat(32) }, nowMs - 2 * 3_600_000);
    expect((await rejection(submit(operators.sign(over)))).code).toBe('APPROVAL_EXPIRED');
  });

  it('is shown with the sites that have used it', async () => {
    const { approval } = (await submit(operators.sign(request()))) as { approval: { digest: string } };
    const use = {
      site: 'b',
      digest: approval.digest,
      group: 'payments',
      action: 'failover',
      operation: 'o',
      requestedBy: 'alice',
      approvedBy: ['bob', 'carol'],
      usedMs: 5,
    };
    expect(await database.rows.write((trx) => recordApprovalUse(trx, use))).toBe(true);
    expect(await database.rows.write((trx) => recordApprovalUse(trx, use))).toBe(false);
    expect(await list()).toMatchObject([
      { digest: approval.digest, uses: [{ site: 'b', use: { operationId: 'o', approvedBy: ['bob', 'carol'] } }] },
    ]);
  });
});

describe('where a site guards its seat', () => {
  const remove = () =>
    operatorHandlers(bench.ports).changeGroup(
      create(ChangeGroupRequestSchema, {
        group: 'payments',
        change: { kind: { case: 'removeMember', value: { site: 'c', serial: '' } } },
        revision: 1,
      }),
      OPERATOR,
    );

  it.each([0, -3 * 3_600_000])('a member is removed by an approval only (the wall is %d ms ahead)', async (aheadMs) => {
    bench.wallAheadMs = aheadMs;
    for (const site of ['a', 'b', 'c']) hearGuarded(site);
    // The reconciler's own transaction, as in production.
    bench.ports.reconciler.intend = async (_planned, write) => {
      await database.rows.write(async (trx, record) => void (await write?.(trx, record)));
      return { id: 'intent', isNew: true };
    };
    const good = {
      action: 'release',
      partitions: partitionsOf('c'),
      epochs: { from: 1, to: 1 },
      limits: NO_LIMITS,
    } as const;
    for (const useless of [
      { partitions: partitionsOf('b') },
      { epochs: { from: 2, to: 3 } },
      { action: 'reseat' },
    ] as const) {
      expect((await rejection(remove())).code).toBe('APPROVAL_REQUIRED');
      await submit(operators.sign(request({ ...good, ...useless })));
    }
    expect((await rejection(remove())).code).toBe('APPROVAL_REQUIRED');
    // A stranger does not count, and neither does the requester.
    await submit(operators.sign(request({ ...good, nonce: 'e'.repeat(32) }), ['bob', 'carol']));
    const short = request({ ...good, nonce: 'f'.repeat(32) });
    await submit(operators.sign(short, ['alice', 'bob']));
    const { request: bytes, signatures } = operators.sign(short, ['carol']);
    await submit({ request: bytes, signatures: signatures.map((one) => ({ ...one, operator: 'eve' })) });
    expect((await rejection(remove())).code).toBe('APPROVAL_REQUIRED');
    expect(await database.store.query(readFormerSeats)).toEqual([]);
    await submit(operators.sign(request(good)));
    await remove();
    expect(await database.store.query(readFormerSeats)).toMatchObject([{ site: 'c' }]);
  });

  it.each([0, -3 * 3_600_000])(
    'a reseat begins only with an approval on record (the wall is %d ms ahead)',
    async (aheadMs) => {
      bench.wallAheadMs = aheadMs;
      for (const site of ['a', 'b', 'c']) hearGuarded(site);
      const reseat = () =>
        operatorHandlers(bench.ports).reseatGroup(create(ReseatGroupRequestSchema, { group: 'payments' }), OPERATOR);
      expect((await rejection(reseat())).code).toBe('APPROVAL_REQUIRED');
      expect(bench.intended).toEqual([]);
      const wanted = request({ action: 'reseat', partitions: partitionsOf('a'), limits: NO_LIMITS });
      await submit(operators.sign(wanted, ['alice', 'bob']));
      expect((await rejection(reseat())).code).toBe('APPROVAL_REQUIRED');
      await submit(operators.sign(wanted, ['carol']));
      await reseat();
      expect(bench.intended).toMatchObject([{ kind: 'reseat' }]);
    },
  );

  it('the plan of a failover says which approval it needs', async () => {
    const plan = () =>
      operatorHandlers(bench.ports).planFailover(
        create(PlanFailoverRequestSchema, { group: 'payments', toSite: 'b' }),
        OPERATOR,
      );
    expect(await plan()).not.toHaveProperty('neededApproval');
  });
});
