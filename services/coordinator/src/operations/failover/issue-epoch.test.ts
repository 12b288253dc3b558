/** The moment of the epoch: what is known then, and what the members turn out to hold. */
import { VOUCH_MS } from '@antipode/protocol';
import { AntipodeError, fromHex } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import { RATE_BOUND, surelyOver } from '../../sites/leases.ts';
import type { Write } from '../../store/store.ts';
import { lockGroup, pauseAutomation, setRole, setSpec, setVouchers } from '../../store/tables/groups.ts';
import { endIntent } from '../../store/tables/intents.ts';
import { insertJoining, removeMember, seatJoined } from '../../store/tables/membership.ts';
import { testDatabase } from '../../testing/database.ts';
import { CHOSEN, EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { SPEC } from '../../testing/group.ts';
import type { SaidOfMember } from '../../testing/site-views.ts';
import { generation } from '../../testing/situation.ts';
import { failover } from './effects.ts';
import { targetLost } from './issue-epoch.ts';
import type { FailoverEffect } from './machine.ts';
import type { Held } from './plan.ts';

const database = testDatabase();
const SEAT_B = { site: 'b', serial: 'serial-b' };
const held = (number: bigint): Held => ({ epoch: 1n, number, manifestDigest: `0${number}` });
/** Generations on record besides the fifth, and those of them that c has acknowledged. */
const known = async (numbers: readonly bigint[], acknowledged: readonly bigint[] = []): Promise<void> => {
  await database.rows.captured(numbers.map((number) => generation(held(number))));
  for (const number of acknowledged) await database.rows.acknowledged('c', held(number));
};
/** The epoch that was issued last. */
const issued = async (): Promise<bigint> => (await database.rows.readGroup()).highestEpoch;
const ref = (number: bigint, epoch = 1n) => ({
  epoch,
  generation: number,
  manifestDigest: fromHex(`0${number}`),
  contentDigest: fromHex('cc'),
  captureStartedMs: 0n,
  objectCount: 2,
  domainKeyVersion: 1,
  uncaptured: [],
});

let bench: EffectsBench;
type Effect = Extract<FailoverEffect, { type: 'issue-epoch' }>;
const issue = (change: Partial<Effect> = {}) =>
  failover(bench.context, intentOf(''), {
    ...CHOSEN,
    type: 'issue-epoch',
    reason: 'operator',
    generation: held(5n),
    unreachable: [],
    ...change,
  });
/** Sets the answer of a member that has persisted the epoch. */
const says = (site: string, seat: SaidOfMember): void =>
  void bench.answers.set(`setRole ${site}`, { member: { epoch: 2n, ...seat } });
beforeEach(async () => {
  bench = new EffectsBench(database);
  await database.rows.group();
  await database.rows.intended({ id: 'i', kind: 'failover', state: { phase: 'issuing' } });
  await database.rows.captured([generation({ ...held(5n), recoveryPointMs: 123 })]);
  await database.rows.acknowledged('c', held(5n));
  says('a', { captured: ref(5n) });
  says('b', { applied: ref(5n) });
  says('c', { applied: ref(5n) });
});

describe('the transaction that issues an epoch', () => {
  it('writes nothing after the deadline of a switchover', async () => {
    await bench.clock.advance(1_000);
    expect((await rejection(issue({ deadlineMs: 1_000 }))).code).toBe('FAILOVER_REFUSED');
    expect([await issued(), bench.orders]).toEqual([1n, []]);
    expect(await issue({ deadlineMs: 1_001 })).toMatchObject({ type: 'issued' });
  });

  it('writes nothing, and orders nothing, where something is ahead of the target by then', async () => {
    await known([6n, 7n], [7n]);
    expect(await issue()).toEqual({ type: 'overtaken', generations: [held(6n), held(7n)] });
    expect([await issued(), bench.orders]).toEqual([1n, []]);
  });

  it('lets the automation give up what nobody has acknowledged, and nothing else', async () => {
    await known([6n]);
    expect(await issue({ reason: 'automatic' })).toMatchObject({ type: 'issued', lost: [held(6n)] });
    await known([7n], [7n]);
    const next = { reason: 'automatic', epoch: 3n } as const;
    expect(await issue(next)).toEqual({ type: 'overtaken', generations: [held(7n)] });
  });

  it('lets an operator give up what was named, although it is acknowledged by then', async () => {
    await known([6n], [6n]);
    expect(await issue({ accepted: [{ ...held(6n), manifestDigest: 'another' }] })).toMatchObject({
      type: 'overtaken',
    });
    expect(await issue({ accepted: [held(6n)] })).toMatchObject({ type: 'issued', lost: [held(6n)] });
  });

  it.each<[string, (trx: Write) => Promise<unknown>]>([
    ['paused the automation', (trx) => pauseAutomation(trx, 'payments', { nowMs: 0, operator: 'anna', reason: '' })],
    ['made failover manual', (trx) => setSpec(trx, { ...SPEC, failoverPolicy: 'manual' })],
  ])('writes nothing for the automation where a person has %s since it began', async (_what, change) => {
    bench.mayMove = async () => void (await database.rows.write(change));
    expect((await rejection(issue({ reason: 'automatic' }))).code).toBe('FAILOVER_REFUSED');
    expect([await issued(), bench.orders]).toEqual([1n, []]);
    expect(await issue()).toMatchObject({ type: 'issued' });
    // From here on, the automation must bring it to its end.
    expect(await issue({ reason: 'automatic', epoch: 3n })).toMatchObject({ type: 'issued' });
  });

  it.each([
    ['another epoch was issued', 2n, () => database.rows.epoch({ epoch: 2n, owner: 'c' })],
    ['another site is active', 1n, () => database.rows.write((trx) => setRole(trx, 'payments', 'a', 'standby'))],
  ])('writes nothing where %s since the group was read', async (_why, epoch, change) => {
    bench.beforeWrite = change;
    expect((await rejection(issue())).code).toBe('EPOCH_STALE');
    expect([await issued(), bench.orders]).toEqual([epoch, []]);
  });
});

describe('a hook that says no', () => {
  const questions: unknown[] = [];
  beforeEach(() => {
    questions.length = 0;
    bench.mayMove = async (question) => {
      questions.push(question);
      throw new AntipodeError('FAILOVER_VETOED', 'hook calendar says no');
    };
  });

  it('is asked before anything is changed, and nothing is', async () => {
    await known([6n]);
    const vetoed = await rejection(issue({ reason: 'automatic', lost: [held(6n)] }));
    expect([vetoed.code, await issued(), bench.orders]).toEqual(['FAILOVER_VETOED', 1n, []]);
    const question = { type: 'may-move', group: 'payments', epoch: 1n, fromSite: 'a', toSite: 'b' };
    expect(questions).toEqual([{ ...question, cause: 'automatic', lostGenerations: 1 }]);
  });

  it('does not make the outage longer while it thinks', async () => {
    const saidYesMs = bench.clock.wallMs() + 7_000;
    bench.mayMove = async () => void (await bench.clock.advance(7_000));
    expect(await issue()).toMatchObject({ type: 'issued', issuedMs: saidYesMs });
    bench.mayMove = async () => {};
    await bench.clock.advance(500);
    // As after a crash: the epoch is on record.
    expect(await issue()).toMatchObject({ type: 'issued', issuedMs: saidYesMs });
  });

  it('is not asked where an operator has decided', async () => {
    expect(await issue({ ignoreVetoes: true })).toMatchObject({ type: 'issued' });
    expect(questions).toEqual([]);
  });

  it('is not asked once the epoch is on record: then somebody must serve', async () => {
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    expect(await issue()).toMatchObject({ type: 'issued' });
    expect(questions).toEqual([]);
  });
});

describe('members that were removed or added since the target was chosen', () => {
  const D = { site: 'd', serial: 'serial-d' };

  it.each([
    ['the target itself is removed', (trx: Write, group: Group) => removeMember(trx, group, { ...SEAT_B, nowMs: 0 })],
    [
      'a majority is of more members',
      async (trx: Write, group: Group) => {
        await insertJoining(trx, group, D);
        await seatJoined(trx, group, D);
      },
    ],
  ])('bring another survey, and no epoch is issued, where %s', async (_what, change) => {
    bench.beforeWrite = () => database.rows.write(async (trx) => change(trx, await lockGroup(trx, 'payments')));
    expect(await issue()).toEqual({ type: 'overtaken', generations: [] });
    expect([await issued(), bench.orders]).toEqual([1n, []]);
  });
});

describe('the sites that may vouch for the old active member', () => {
  const may = async (vouchers: readonly string[]): Promise<void> => {
    await database.rows.write((trx) => setVouchers(trx, 'payments', { epoch: 1n, vouchers }));
    expect((await database.rows.readGroup()).vouchers).toEqual(vouchers);
  };
  /** They have persisted the epoch, and gave their word last so long ago. */
  const persists = (site: string, vouchSilentMs: bigint): void =>
    void bench.answers.set(`setRole ${site}`, { member: { epoch: 2n, applied: ref(5n) }, vouchSilentMs });
  beforeEach(async () => {
    await bench.clock.advance(60_000);
    bench.answers.set('setRole a', 'SITE_UNREACHABLE');
    persists('b', 3_600_000n);
    persists('c', 3_600_000n);
  });

  it('are waited for from the moment when they have persisted the epoch, by the latest word of any', async () => {
    await may(['b', 'c']);
    persists('c', 1_000n);
    bench.answers.set('setRole b', async () => {
      // Its answer takes a while: the wait begins after it.
      await bench.clock.advance(30_000);
      return { member: { epoch: 2n, applied: ref(5n) }, vouchSilentMs: 2_000n };
    });
    expect(await issue()).toMatchObject({ type: 'issued', isOldActiveFenced: false });
    expect(bench.leases.remainingMs('payments')).toBe(surelyOver(VOUCH_MS) - 1_000 / RATE_BOUND);
  });

  it('are not waited for where nobody has asked them, where none may, and where the old active member has stopped', async () => {
    await may(['b', 'c']);
    expect(await issue()).toMatchObject({ type: 'issued' });
    expect(bench.leases.remainingMs('payments')).toBe(0);
    says('a', { captured: ref(5n) });
    persists('b', 0n);
    expect(await issue()).toMatchObject({ isOldActiveFenced: true });
    expect(bench.leases.remainingMs('payments')).toBe(0);
  });

  it('must have persisted it: without two of them nobody is promoted', async () => {
    await may(['b', 'c']);
    // b and d are a majority of b, c and d; but a may be vouched for by a b that lies and by c.
    bench.answers.set('setRole c', 'SITE_UNREACHABLE');
    bench.answers.set('persistEpoch d', { epoch: 2n, owner: 'b' });
    await database.rows.write((trx) => setSpec(trx, { ...SPEC, witnesses: ['d'] }));
    expect(await rejection(issue({ quorum: 2 }))).toMatchObject({ code: 'SITE_UNREACHABLE' });
    persists('c', 0n);
    expect(await issue({ quorum: 2 })).toMatchObject({ type: 'issued' });
  });

  it('are replaced only for the epoch in force, by those who vote, and while nothing moves', async () => {
    await may(['b', 'c']);
    const set = (epoch: bigint, vouchers: string[]) =>
      database.rows.write((trx) => setVouchers(trx, 'payments', { epoch, vouchers }));
    await set(1n, ['b']);
    await set(2n, ['b', 'c']);
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    await set(1n, []);
    expect((await database.rows.readGroup()).vouchers).toEqual(['b', 'c']);
    await database.rows.epoch({ epoch: 3n, owner: 'b', isActive: true });
    expect((await database.rows.readGroup()).vouchers).toBeUndefined();
  });
});

describe('what the members turn out to hold', () => {
  it('is the one that the target is promoted with, even if it has got more since it was chosen', async () => {
    await known([6n], [6n]);
    says('b', { applied: ref(6n) });
    const outcome = await issue({ accepted: [held(6n)] });
    expect(outcome).toMatchObject({ generation: held(6n), lost: [], handover: undefined });
  });

  it('makes another target necessary where this one has less than when it was chosen', async () => {
    says('b', {});
    expect(await issue()).toEqual({ type: 'target-lost', code: 'GENERATION_UNKNOWN' });
  });

  it('is recorded if the old active member has captured it unheard, and is handed over', async () => {
    says('a', { captured: ref(6n) });
    const handover = { newest: held(6n), holders: ['a'] };
    expect(await issue()).toMatchObject({ type: 'issued', generation: held(5n), lost: [held(6n)], handover });
    // Of unknown age, so as old as the one before.
    expect((await database.rows.generations()).at(-1)).toMatchObject({ ...held(6n), recoveryPointMs: 123 });
  });

  it('is handed over where another standby holds it, from all who do', async () => {
    await known([6n, 7n]);
    for (const site of ['a', 'c']) says(site, { applied: ref(7n) });
    const { handover } = (await issue({ reason: 'automatic' })) as { handover?: unknown };
    expect(handover).toEqual({ newest: held(7n), holders: ['a', 'c'] });
  });

  it('is not handed over again where that has failed', async () => {
    says('a', { captured: ref(6n) });
    expect(await issue({ unreachable: [held(6n)] })).toMatchObject({ lost: [held(6n)], handover: undefined });
  });

  it.each([
    ['of an earlier tenure', ref(6n, 0n)],
    ['of a number that no order can have had', { ...ref(6n), generation: 10n ** 18n }],
  ])('is not believed where it is %s', async (_what, captured) => {
    says('a', { captured });
    expect(await issue()).toMatchObject({ type: 'issued', lost: [], handover: undefined });
    expect((await database.rows.generations()).map(({ number }) => number)).toEqual([5n]);
  });
});

it('writes nothing, and orders nothing, where a person has ended or replaced the failover meanwhile', async () => {
  const ended = async (): Promise<void> => {
    const intent = (await database.rows.intent('i'))!;
    await database.rows.write((trx) => endIntent(trx, intent, { status: 'cancelled', from: ['open'] }, 0));
  };
  bench.beforeWrite = ended;
  expect((await rejection(issue())).code).toBe('ROLE_REFUSED');
  expect([await issued(), bench.orders]).toEqual([1n, []]);
});

it('gives up at once a target whose agent has met a defect: it would meet it again', () => {
  const error = (details: { peerDefect?: boolean }) =>
    new AntipodeError('SITE_UNREACHABLE', 'failed with a defect of its own', { details });
  const lost = (details: { peerDefect?: boolean }) =>
    targetLost(bench.context, { attempts: 0 }, { to: 'b', code: 'SITE_UNREACHABLE', error: error(details) });
  expect(lost({ peerDefect: true })).toEqual({ type: 'target-lost', code: 'SITE_UNREACHABLE' });
  expect(thrown(() => lost({})).code).toBe('SITE_UNREACHABLE');
});
