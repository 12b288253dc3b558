/** The steps of a failover at the members: what they are asked, what is written down, and when a target is given up. */
import { approvalDigest, MemberRole } from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { AntipodeError, type ErrorCode, fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import { recordApproval } from '../../store/tables/approvals.ts';
import { setRole, setSpec } from '../../store/tables/groups.ts';
import { testDatabase } from '../../testing/database.ts';
import { CHOSEN, EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import type { SaidOfMember } from '../../testing/site-views.ts';
import { generation } from '../../testing/situation.ts';
import { PROFILES } from '../../timings.ts';
import { capture } from '../capture/effects.ts';
import { failover, survey } from './effects.ts';
import { issueEpoch } from './issue-epoch.ts';
import { decideFailover, type FailoverEffect } from './machine.ts';

const TIMINGS = PROFILES.default;
const ISSUE = { ...CHOSEN, type: 'issue-epoch', unreachable: [] } as const satisfies FailoverEffect;
const AWAIT = { ...CHOSEN, type: 'await-fence' } as const satisfies FailoverEffect;
const PROMOTE = { ...CHOSEN, type: 'promote' } as const satisfies FailoverEffect;
const PUBLISH = { ...CHOSEN, type: 'publish', proved: 1 } as const satisfies FailoverEffect;
const SURVEY = { ...CHOSEN, type: 'survey' } as const satisfies FailoverEffect;

const database = testDatabase();
let bench: EffectsBench;
let group: Group;
const digest = (number: bigint): string => `ab0${number}`;
const perform = (effect: FailoverEffect, attempts = 0) =>
  failover(bench.context, { ...intentOf(''), attempts }, effect);

/** Has every call to a site throw; without a code they are answered again. */
function fault(site: string, code?: ErrorCode): void {
  for (const method of ['describe', 'setRole', 'promote', 'capture']) {
    if (code === undefined) bench.answers.delete(`${method} ${site}`);
    else bench.answers.set(`${method} ${site}`, code);
  }
  if (code === undefined) describes(site);
}

/** Sets what an agent says of its seats and of its partition, if it has that. */
function describes(
  site: string,
  {
    members = [],
    isQuarantined = false,
    errorCode = '',
  }: { members?: SaidOfMember[]; isQuarantined?: boolean; errorCode?: string | undefined } = {},
): void {
  const own = errorCode === 'PARTITION_NOT_FOUND' ? [] : [{ serial: `serial-${site}`, errorCode }];
  bench.answers.set(`describe ${site}`, {
    members: members.map((member) => ({ serial: `serial-${site}`, ...member })),
    journal: { quarantined: isQuarantined ? [{ group: 'payments', reason: 'older copy' }] : [] },
    partitions: [{ serial: 'another', errorCode: '' }, ...own],
  });
}

beforeEach(async () => {
  bench = new EffectsBench(database);
  group = await database.rows.group();
  await database.rows.intended({ id: 'i', kind: 'failover', state: { phase: 'issuing' } });
  for (const site of ['a', 'b', 'c']) describes(site);
  bench.answers.set('promote', { proof: { proved: 7 } });
  await bench.clock.advance(TIMINGS.leaseMs * 2);
});

describe('the survey', () => {
  beforeEach(async () => {
    await database.rows.captured([4n, 5n].map((number) => generation({ number, manifestDigest: digest(number) })));
    await database.rows.acknowledged('c', { epoch: 1n, number: 4n });
  });
  const seat = (role: MemberRole, epoch: bigint, generation: bigint): SaidOfMember[] => [
    { group: 'cards', role: MemberRole.ACTIVE, epoch: 9n },
    {
      group: 'payments',
      role,
      epoch,
      domainKeyVersion: role === MemberRole.ACTIVE ? 1 : 0,
      applied: { epoch: 1n, generation, manifestDigest: fromHex(digest(generation)) },
    },
  ];

  it('counts no member in quarantine as one that can be promoted', async () => {
    describes('b', { members: seat(MemberRole.STANDBY, 1n, 5n), isQuarantined: true });
    const event = await perform(SURVEY);
    expect(event).toMatchObject({ survey: { reachable: [{}, { site: 'b', problem: 'SITE_QUARANTINED' }, {}] } });
  });

  it('takes what a site says of another partition for nothing that its member has', async () => {
    describes('c', { members: seat(MemberRole.STANDBY, 1n, 5n).map((one) => ({ ...one, serial: 'another' })) });
    const nothing = { serial: 'serial-c', role: 'fenced', applied: undefined, lacksKey: true };
    expect(await perform(SURVEY)).toMatchObject({
      survey: { reachable: [{ site: 'a' }, { site: 'b' }, { site: 'c', ...nothing }] },
    });
  });

  it('tells what each member has that answered, in the order of the group', async () => {
    describes('a', { members: seat(MemberRole.ACTIVE, 1n, 5n) });
    fault('b', 'SITE_UNREACHABLE');
    describes('c', { members: seat(MemberRole.STANDBY, 2n, 4n), errorCode: 'PIN_REFUSED' });
    const applied = (number: bigint) => ({ epoch: 1n, number, manifestDigest: digest(number) });
    expect(await perform(SURVEY)).toEqual({
      type: 'surveyed',
      survey: {
        active: 'a',
        reachable: [
          {
            site: 'a',
            serial: 'serial-a',
            role: 'active',
            epoch: 1n,
            applied: applied(5n),
            problem: '',
            lacksKey: false,
            refused: 0,
          },
          {
            site: 'c',
            serial: 'serial-c',
            role: 'standby',
            epoch: 2n,
            applied: applied(4n),
            problem: 'PIN_REFUSED',
            lacksKey: true,
            refused: 0,
          },
        ],
        witnesses: [],
        voters: 3,
        highestEpoch: 1n,
        known: [
          { epoch: 1n, number: 4n, manifestDigest: digest(4n), isAcknowledged: true },
          { epoch: 1n, number: 5n, manifestDigest: digest(5n), isAcknowledged: false },
        ],
      },
    });
  });

  it('counts a member without a seat as fenced: it holds nothing that could be promoted', async () => {
    const { reachable } = await survey(bench.context, group);
    expect(reachable.map(({ role, applied }) => [role, applied])).toEqual(Array(3).fill(['fenced', undefined]));
  });

  it('counts a member in a role that this version does not know as one that does not answer', async () => {
    describes('a', { members: seat(MemberRole.ACTIVE, 1n, 5n) });
    describes('b', { members: seat(99 as MemberRole, 1n, 5n) });
    const { reachable } = await survey(bench.context, group);
    expect(reachable.map(({ site, role }) => [site, role])).toEqual([
      ['a', 'active'],
      ['c', 'fenced'],
    ]);
  });

  it('promotes nobody when members in such roles leave no majority', async () => {
    fault('a', 'SITE_UNREACHABLE');
    describes('b', { members: seat(MemberRole.STANDBY, 1n, 5n) });
    describes('c', { members: seat(99 as MemberRole, 1n, 5n) });
    const { to, serial, epoch, generation: _, lost, quorum, ...request } = CHOSEN;
    const { state, effect } = decideFailover({ ...request, phase: 'requested' }, await perform(SURVEY));
    expect([state, effect]).toMatchObject([{ phase: 'aborted', code: 'FAILOVER_REFUSED' }, undefined]);
    describes('c', { members: seat(MemberRole.STANDBY, 1n, 5n) });
    const known = decideFailover({ ...request, phase: 'requested' }, await perform(SURVEY));
    expect(known.effect).toMatchObject({ type: 'issue-epoch', to: 'b' });
  });

  it('takes the newer of what a member has captured and applied, and believes only what is on record', async () => {
    const ref = (number: bigint, bytes = fromHex(digest(number))) => ({
      epoch: 1n,
      generation: number,
      manifestDigest: bytes,
    });
    const own = { group: 'payments', role: MemberRole.STANDBY, epoch: 1n };
    describes('a', { members: [{ ...own, captured: ref(5n), applied: ref(4n) }] });
    describes('b', { members: [{ ...own, applied: ref(4n), captured: ref(99n) }] });
    describes('c', { members: [{ ...own, applied: ref(5n, new Uint8Array([1])) }] });
    const { reachable } = await survey(bench.context, group);
    expect(reachable.map(({ applied }) => applied?.number)).toEqual([5n, 4n, undefined]);
  });

  it('tells of a partition that its site does not have', async () => {
    describes('b', { errorCode: 'PARTITION_NOT_FOUND' });
    const { reachable } = await survey(bench.context, group);
    expect(reachable.map(({ problem }) => problem)).toEqual(['', 'PARTITION_NOT_FOUND', '']);
  });

  it('does not go on where this process itself is defective', async () => {
    fault('b', 'INVARIANT_BROKEN');
    expect((await rejection(survey(bench.context, group))).code).toBe('INVARIANT_BROKEN');
  });

  it.each(['CERTIFICATE_INVALID', 'PEER_REFUSED'] as const)(
    'goes on without a member that answers with %s',
    async (code) => {
      fault('a', code);
      const { reachable } = await survey(bench.context, group);
      expect(reachable.map(({ site }) => site)).toEqual(['b', 'c']);
    },
  );
});

describe('issuing an epoch', () => {
  it('writes it down, stops renewing the old lease, and only then tells the members', async () => {
    const issued = async (): Promise<string> => {
      const { highestEpoch, highestOwner } = await database.rows.readGroup();
      return `${highestEpoch} of ${highestOwner}`;
    };
    const story: string[] = [];
    bench.refresh = async () => void story.push(`refresh after ${await issued()}`);
    bench.answers.set('setRole', async ({ site }) => {
      story.push(`setRole ${site}`);
      return {};
    });
    expect(await issued()).toBe('1 of a');
    await perform(ISSUE);
    expect(story).toEqual(['refresh after 2 of b', 'setRole a', 'setRole b', 'setRole c']);
    const fence = { group: 'payments', epoch: 2n, owner: 'b', requestId: 'i' };
    expect(bench.orders.map(({ site, request }) => [site, request['role'], request['fence']])).toEqual([
      ['a', MemberRole.FENCED, fence],
      ['b', MemberRole.STANDBY, fence],
      ['c', MemberRole.STANDBY, fence],
    ]);
  });

  it('is safe to repeat: the same epoch is written down once', async () => {
    await perform(ISSUE);
    await perform(ISSUE);
    expect(await database.rows.events()).toEqual(['epoch-issued']);
  });

  it('fences nobody where the old active member itself is to serve again', async () => {
    await perform({ ...ISSUE, to: 'a' });
    expect(bench.orders.map(({ site, request }) => [site, request['role']])).toEqual(
      ['a', 'b', 'c'].map((site) => [site, MemberRole.STANDBY]),
    );
  });

  it('fences a member in a role that this release does not know, and hands over what it holds', async () => {
    await database.rows.captured([generation({ number: 4n, manifestDigest: digest(4n) })]);
    const applied = { epoch: 1n, generation: 4n, manifestDigest: fromHex(digest(4n)) };
    const member = { group: 'payments', role: 99 as MemberRole, epoch: 2n, applied };
    describes('a', { members: [{ ...member, epoch: 1n }] });
    bench.answers.set('setRole a', { member });
    expect(await perform(ISSUE)).toMatchObject({
      isOldActiveFenced: true,
      handover: { newest: { number: 4n }, holders: ['a'] },
    });
    expect(bench.orders.find(({ site }) => site === 'a')?.request['role']).toBe(MemberRole.FENCED);
  });

  it('waits for no lease where the old active member has confirmed its fence, and for all of it otherwise', async () => {
    bench.leases.granted('payments');
    fault('a', 'SITE_UNREACHABLE');
    expect(await perform(ISSUE)).toMatchObject({ type: 'issued', isOldActiveFenced: false });
    expect(bench.leases.remainingMs('payments')).toBeGreaterThan(TIMINGS.leaseMs);
    fault('a');
    expect(await perform(ISSUE)).toMatchObject({ type: 'issued', isOldActiveFenced: true });
    expect(bench.leases.remainingMs('payments')).toBe(0);
  });

  it('waits for the lease of a process in whose place another one of its site has answered', async () => {
    bench.leases.granted('payments');
    bench.copied.add('a');
    expect(await perform(ISSUE)).toMatchObject({ type: 'issued', isOldActiveFenced: false });
    expect(bench.leases.remainingMs('payments')).toBeGreaterThan(TIMINGS.leaseMs);
    bench.copied.clear();
    bench.unheard.add('a');
    expect(await perform(ISSUE)).toMatchObject({ type: 'issued', isOldActiveFenced: false });
  });

  it('waits for the lease where the agent, of the release before, names no process', async () => {
    bench.answers.set('setRole a', { instance: '' });
    expect(await perform(ISSUE)).toMatchObject({ type: 'issued', isOldActiveFenced: false });
  });

  it('is not done without a majority, whatever keeps a member from it', async () => {
    fault('a', 'PEER_REFUSED');
    fault('c', 'TIMED_OUT');
    expect((await rejection(perform(ISSUE))).code).toBe('SITE_UNREACHABLE');
  });

  describe('with a witness', () => {
    beforeEach(async () => {
      await database.rows.write((trx) => setSpec(trx, { ...group.spec, witnesses: ['w'] }));
      group = await database.rows.readGroup();
      bench.answers.set('persistEpoch w', { epoch: 2n, owner: 'b' });
    });

    it('has its vote, and asks it under the new epoch', async () => {
      fault('a', 'SITE_UNREACHABLE');
      fault('c', 'TIMED_OUT');
      expect(await issueEpoch(bench.context, intentOf(''), group, ISSUE)).toMatchObject({ type: 'issued' });
      const fence = { group: 'payments', epoch: 2n, owner: 'b', requestId: 'i' };
      expect(bench.orders.filter(({ site }) => site === 'w').map(({ request }) => request['fence'])).toEqual([fence]);
    });

    it.each<[string, () => void]>([
      ['does not answer', () => bench.answers.set('persistEpoch w', 'SITE_UNREACHABLE')],
      ['is in quarantine', () => bench.quarantined.set('w', 'older copy')],
    ])('has no vote of one that %s', async (_what, make) => {
      fault('a', 'SITE_UNREACHABLE');
      fault('c', 'TIMED_OUT');
      make();
      const error = await rejection(issueEpoch(bench.context, intentOf(''), group, ISSUE));
      expect([error.code, error.message]).toEqual([
        'SITE_UNREACHABLE',
        expect.stringContaining('1 of 4 voting sites have persisted epoch 2'),
      ]);
    });

    it('is given up where the witness knows of a higher epoch', async () => {
      bench.answers.set('persistEpoch w', 'EPOCH_STALE');
      expect((await rejection(issueEpoch(bench.context, intentOf(''), group, ISSUE))).code).toBe('EPOCH_STALE');
    });

    it('surveys it, and counts no witness in quarantine', async () => {
      const found = async () => (await survey(bench.context, group)).witnesses;
      bench.answers.set('describe w', { witnessed: [{ group: 'payments', epoch: 3n, owner: 'c' }] });
      expect(await found()).toEqual([{ site: 'w', epoch: 3n }]);
      bench.answers.set('describe w', { journal: { quarantined: [{ group: 'payments', reason: 'older copy' }] } });
      expect(await found()).toEqual([]);
    });
  });

  it('has no vote of a member in quarantine, which persists the epoch all the same', async () => {
    fault('a', 'SITE_UNREACHABLE');
    bench.quarantined.set('c', 'older copy');
    const refused = await rejection(issueEpoch(bench.context, intentOf(''), group, ISSUE));
    expect(refused.code).toBe('SITE_UNREACHABLE');
    expect(refused.message).toContain('1 of 3 voting sites have persisted epoch 2, expected at least 2');
    expect(refused.message).toContain('site c is in quarantine');
    expect(bench.ordered).toContain('setRole c');
    // An operator has seated it again.
    bench.quarantined.delete('c');
    group = await database.rows.readGroup();
    expect(await issueEpoch(bench.context, intentOf(''), group, ISSUE)).toMatchObject({ type: 'issued' });
  });

  it('tries a target that is merely slow again, and gives up one that does not call any more', async () => {
    fault('b', 'TIMED_OUT');
    expect((await rejection(perform(ISSUE))).code).toBe('TIMED_OUT');
    // A leader that has just taken over has not missed it yet.
    bench.unheard.add('b');
    expect((await rejection(perform(ISSUE))).code).toBe('TIMED_OUT');
    bench.statuses.set('b', 'suspect');
    expect(await perform(ISSUE)).toEqual({ type: 'target-lost', code: 'TIMED_OUT' });
  });

  it('gives up a target that has been tried often enough, and at once one that cannot heal by itself', async () => {
    fault('b', 'HSM_UNAVAILABLE');
    expect((await rejection(perform(ISSUE, 3))).code).toBe('HSM_UNAVAILABLE');
    expect(await perform(ISSUE, 4)).toEqual({ type: 'target-lost', code: 'HSM_UNAVAILABLE' });
    fault('b', 'FILE_UNWRITABLE');
    expect(await perform(ISSUE)).toEqual({ type: 'target-lost', code: 'FILE_UNWRITABLE' });
  });

  it('is given up where a member knows of a higher epoch or another owner', async () => {
    for (const code of ['EPOCH_STALE', 'EPOCH_CONFLICT'] as const) {
      fault('c', code);
      expect((await rejection(perform(ISSUE))).code).toBe(code);
    }
  });
});

describe('waiting for the fence', () => {
  /** Where the wait has come to. */
  const wait = (): { over: boolean } => {
    const state = { over: false };
    void perform(AWAIT).then(() => {
      state.over = true;
    });
    return state;
  };

  it('promotes nobody while the old lease may run', async () => {
    bench.leases.granted('payments');
    const waiting = wait();
    await bench.clock.advance(TIMINGS.leaseMs);
    expect(waiting.over).toBe(false);
    await bench.clock.advance(TIMINGS.leaseMs * 0.05);
    expect(waiting.over).toBe(true);
  });

  it('is over at once where no lease can run', async () => {
    const waiting = wait();
    await bench.clock.advance(0);
    expect(waiting.over).toBe(true);
  });

  it('starts again if the lease was renewed in the meantime', async () => {
    bench.leases.granted('payments');
    const waiting = wait();
    await bench.clock.advance(TIMINGS.leaseMs / 2);
    bench.leases.granted('payments');
    await bench.clock.advance(TIMINGS.leaseMs);
    expect(waiting.over).toBe(false);
    await bench.clock.advance(TIMINGS.leaseMs * 0.05);
    expect(waiting.over).toBe(true);
  });
});

describe('the promotion', () => {
  it.each([0, -3 * 3_600_000])(
    'carries the approvals on record to a target that guards the group, and only those of the group (the wall is %d ms ahead)',
    async (wallAheadMs) => {
      bench.wallAheadMs = wallAheadMs;
      const operators = new SomeOperators();
      const nowMs = bench.clock.wallMs() + wallAheadMs;
      const submit = (
        changes: Parameters<typeof someRequest>[0],
        { fromMs = nowMs, submittedMs = fromMs }: { fromMs?: number; submittedMs?: number } = {},
      ) => {
        const request = someRequest(changes, fromMs);
        const { request: bytes, signatures } = operators.sign(request);
        const { group: name, action, expires } = request;
        return database.rows.write((trx) =>
          recordApproval(trx, {
            digest: approvalDigest(bytes),
            group: name,
            action,
            request: Buffer.from(bytes).toString(),
            signatures,
            submittedBy: 'alice',
            submittedMs,
            expiresMs: Date.parse(expires),
          }),
        );
      };
      await submit({});
      await submit({ group: 'other' });
      // As many as an order has room for, of another act and submitted later.
      for (let at = 0; at < 16; at += 1)
        await submit({ action: 'enrol', nonce: at.toString(16).padStart(32, '0') }, { submittedMs: nowMs + 1 + at });
      await submit({ nonce: 'f'.repeat(32) }, { fromMs: nowMs - 86_400_000 });
      await perform(PROMOTE);
      bench.guarded.add('b');
      await perform(PROMOTE);
      // A leader that has just taken over does not know yet who guards the group.
      for (const site of ['a', 'b', 'c']) bench.unheard.add(site);
      await perform(PROMOTE);
      const fences = bench.orders.filter(({ method }) => method === 'promote').map(({ request }) => request['fence']);
      const { signatures } = operators.sign(someRequest({}, nowMs));
      expect(fences[0]).not.toHaveProperty('approvals');
      expect(fences[1]).toMatchObject({ approvals: { operationId: 'i', approvals: [{ signatures }] } });
      expect((fences[1] as { approvals: { approvals: unknown[] } }).approvals.approvals).toHaveLength(1);
      expect(fences[2]).toEqual(fences[1]);
    },
  );

  it('is ordered under the new epoch', async () => {
    expect(await perform(PROMOTE)).toEqual({ type: 'promoted', proved: 7 });
    expect(bench.orders).toMatchObject([
      { site: 'b', method: 'promote', request: { fence: { epoch: 2n, owner: 'b' } } },
    ]);
  });

  it('is tried again where the target is slow, and given to another where it is lost or fails its proof', async () => {
    fault('b', 'TIMED_OUT');
    expect((await rejection(perform(PROMOTE))).code).toBe('TIMED_OUT');
    bench.statuses.set('b', 'suspect');
    expect(await perform(PROMOTE)).toEqual({ type: 'target-lost', code: 'TIMED_OUT' });
    bench.statuses.clear();
    fault('b', 'OBJECT_UNPROVEN');
    const held = { epoch: 1n, number: 4n, manifestDigest: digest(4n) };
    await database.rows.captured([generation(held)]);
    for (const site of ['b', 'c']) await database.rows.acknowledged(site, held);
    const effect = { ...PROMOTE, generation: held };
    expect(await perform(effect)).toEqual({ type: 'target-lost', code: 'OBJECT_UNPROVEN' });
    // It has acknowledged nothing any more.
    expect(await database.rows.acknowledgements()).toEqual(['c 4']);
    fault('b', 'EPOCH_STALE');
    expect((await rejection(perform(PROMOTE))).code).toBe('EPOCH_STALE');
  });

  it('restores at the last target what its token has lost, and is then ordered again', async () => {
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    const held = { epoch: 1n, number: 4n, manifestDigest: digest(4n) };
    const { contentDigest } = generation(held);
    await database.rows.captured([generation(held)]);
    await database.rows.acknowledged('b', held);
    const effect = { ...PROMOTE, generation: held };
    const orders = () => bench.ordered.filter((one) => !one.startsWith('describe'));
    let applies = 0;
    bench.answers
      .set('promote b', async () => {
        if (applies > 1) return { proof: { proved: 7, failed: 0 } };
        throw new AntipodeError('OBJECT_UNPROVEN', 'a key is not there');
      })
      .set('apply b', async () => {
        applies += 1;
        return { appliedObjects: 1, pulledBlobs: 0, divergentObjects: 0, unaccountedObjects: 0, refusedObjects: 0 };
      })
      // The first look finds what is missing, and has the next apply make it again.
      .set('verify b', async () => ({
        contentDigest: fromHex(contentDigest),
        proof: { proved: 1, failed: applies > 1 ? 0 : 1 },
      }));
    const applied = { epoch: 1n, generation: 4n, manifestDigest: fromHex(digest(4n)) };
    const standby = { group: 'payments', role: MemberRole.STANDBY, epoch: 2n, domainKeyVersion: 1, applied };
    describes('c', { members: [standby] });
    // Another standby may be sound, and serves at once.
    expect(await perform(effect)).toEqual({ type: 'target-lost', code: 'OBJECT_UNPROVEN' });
    expect([orders(), await database.rows.acknowledgements()]).toEqual([['promote b'], []]);
    describes('c', { members: [standby], errorCode: 'HSM_UNAVAILABLE' });
    bench.orders.length = 0;
    expect(await perform(effect)).toEqual({ type: 'promoted', proved: 7 });
    expect(orders()).toEqual(['promote b', 'apply b', 'verify b', 'apply b', 'verify b', 'promote b']);
    const fences = bench.orders.flatMap(
      ({ request }) => (request['fence'] as { epoch: bigint; requestId: string }) ?? [],
    );
    expect(new Set(fences.map(({ epoch }) => epoch))).toEqual(new Set([2n]));
    expect(new Set(fences.map(({ requestId }) => requestId)).size).toBe(4);
    expect(await database.rows.acknowledgements()).toEqual(['b 4']);
  });

  it('is given up where the last target does not prove what it has restored', async () => {
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    const held = { epoch: 1n, number: 4n, manifestDigest: digest(4n) };
    await database.rows.captured([generation(held)]);
    bench.statuses.set('c', 'down');
    fault('b', 'OBJECT_UNPROVEN');
    bench.answers
      .set('apply b', { appliedObjects: 0, pulledBlobs: 0, divergentObjects: 0, unaccountedObjects: 0 })
      .set('verify b', { contentDigest: fromHex('00'), proof: { proved: 1, failed: 1 } });
    expect(await perform({ ...PROMOTE, generation: held })).toEqual({ type: 'target-lost', code: 'OBJECT_UNPROVEN' });
    expect(bench.ordered.filter((one) => one.endsWith(' b'))).toEqual([
      ...['promote b', 'describe b', 'apply b', 'verify b', 'apply b', 'verify b'],
    ]);
  });

  it('is published with the time since the outage began', async () => {
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    let inForce = '';
    bench.refresh = async () => {
      const { epoch, owner } = await database.rows.readGroup();
      inForce = `${epoch} of ${owner}`;
    };
    await bench.clock.advance(1_000);
    const published = await perform(PUBLISH);
    expect(published).toEqual({ type: 'published', recoveryTimeMs: bench.clock.wallMs() });
    expect([inForce, await database.rows.events()]).toEqual(['2 of b', ['failover-complete']]);
  });

  it('is not put in force once a higher epoch was issued', async () => {
    await database.rows.epoch({ epoch: 3n, owner: 'c' });
    expect((await rejection(perform(PUBLISH))).code).toBe('EPOCH_STALE');
    expect((await database.rows.readGroup()).epoch).toBe(1n);
  });
});

it('captures nothing in a group without an active member', async () => {
  await database.rows.write((trx) => setRole(trx, 'payments', 'a', 'standby'));
  expect((await rejection(capture(bench.context, intentOf('a')))).code).toBe('ROLE_REFUSED');
  expect(bench.orders).toEqual([]);
});
