/** The moment of the epoch: what is known then, and what the members turn out to hold. */
import { isNewer } from '@antipode/protocol';
import { AntipodeError, fromHex } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Generation, Group } from '../../model.ts';
import type { Known } from '../../store/tables/generations.ts';
import { EffectsBench, GROUP, intentOf } from '../../testing/effects-bench.ts';
import { generation } from '../../testing/situation.ts';
import { failover } from './effects.ts';
import { targetLost } from './issue-epoch.ts';
import type { FailoverEffect } from './machine.ts';
import type { Held } from './plan.ts';

/** The one group as it is when it is locked, the generations on record, and the epochs that were written down. */
const database = vi.hoisted(() => ({
  group: undefined as unknown as Group,
  locked: undefined as Group | undefined,
  known: [] as Known[],
  recorded: [] as Generation[],
  epochs: [] as bigint[],
  isEnded: false,
}));
vi.mock(import('../../store/tables/intents.ts'), async (original) => ({
  ...(await original()),
  requireOpen: async () => {
    if (database.isEnded) throw new AntipodeError('ROLE_REFUSED', 'ended by a person');
  },
}));
vi.mock(import('../../store/tables/groups.ts'), async (original) => ({
  ...(await original()),
  readGroup: async () => database.group,
  lockGroup: async () => database.locked ?? database.group,
  insertEpoch: async (_trx, _group, { epoch }) => void database.epochs.push(epoch),
}));
vi.mock(import('../../store/tables/generations.ts'), async (original) => ({
  ...(await original()),
  readNewest: async () => generation({ recoveryPointMs: 123 }),
  readKnown: async () => [
    ...database.known,
    ...database.recorded.map(({ epoch, number, manifestDigest }) => ({
      epoch,
      number,
      manifestDigest,
      isAcknowledged: false,
    })),
  ],
  readAhead: async (_db, _group, base) => database.known.filter((one) => isNewer(one, base)),
  readGeneration: async (_db, _group, { number }) =>
    database.known.some((one) => one.number === number) ? generation() : undefined,
  recordCapture: async (_trx, _group, one) => void database.recorded.push(one),
}));

const held = (number: bigint): Held => ({ epoch: 1n, number, manifestDigest: `0${number}` });
const known = (number: bigint, isAcknowledged = false): Known => ({ ...held(number), isAcknowledged });
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
const issue = (change: object = {}) =>
  failover(bench.context, intentOf(''), {
    type: 'issue-epoch',
    from: 'a',
    to: 'b',
    epoch: 2n,
    reason: 'operator',
    acceptLoss: false,
    accepted: [],
    generation: held(5n),
    lost: [],
    quorum: 2,
    unreachable: [],
    ...change,
  } as unknown as FailoverEffect);
/** What a member says once it has persisted the epoch. */
const says = (site: string, seat: object): void =>
  void bench.answers.set(`setRole ${site}`, { member: { epoch: 2n, ...seat } });
beforeEach(() => {
  bench = new EffectsBench();
  Object.assign(database, { group: GROUP, locked: undefined, known: [known(5n, true)], recorded: [], epochs: [] });
  says('a', { captured: ref(5n) });
  says('b', { applied: ref(5n) });
  says('c', { applied: ref(5n) });
});

describe('the transaction that issues an epoch', () => {
  it('writes nothing, and orders nothing, where something is ahead of the target by then', async () => {
    database.known = [known(5n, true), known(6n), known(7n, true)];
    expect(await issue()).toEqual({ type: 'overtaken', generations: [held(6n), held(7n)] });
    expect([database.epochs, bench.orders]).toEqual([[], []]);
  });

  it('lets the automation give up what nobody has acknowledged, and nothing else', async () => {
    database.known = [known(5n, true), known(6n)];
    expect(await issue({ reason: 'automatic' })).toMatchObject({ type: 'issued', lost: [held(6n)] });
    database.known = [known(5n, true), known(6n), known(7n, true)];
    expect(await issue({ reason: 'automatic' })).toEqual({ type: 'overtaken', generations: [held(7n)] });
  });

  it('lets an operator give up what was named, although it is acknowledged by then', async () => {
    database.known = [known(5n, true), known(6n, true)];
    expect(await issue({ accepted: [held(6n)] })).toMatchObject({ type: 'issued', lost: [held(6n)] });
    expect(await issue({ accepted: [{ ...held(6n), manifestDigest: 'another' }] })).toMatchObject({
      type: 'overtaken',
    });
  });

  it.each([
    ['another epoch was issued', { highestEpoch: 2n, highestOwner: 'c' }],
    ['another site is active', { members: GROUP.members.map((one) => ({ ...one, role: 'standby' as const })) }],
  ])('writes nothing where %s', async (_why, change) => {
    database.locked = { ...GROUP, ...change };
    expect((await rejection(issue())).code).toBe('EPOCH_STALE');
    expect([database.epochs, bench.orders]).toEqual([[], []]);
  });
});

describe('what the members turn out to hold', () => {
  it('is what the target is promoted with, also where it has got more since it was chosen', async () => {
    database.known = [known(5n, true), known(6n, true)];
    says('b', { applied: ref(6n) });
    const outcome = await issue({ accepted: [held(6n)] });
    expect(outcome).toMatchObject({ generation: held(6n), lost: [], handover: undefined });
  });

  it('makes another target necessary where this one has less than when it was chosen', async () => {
    says('b', {});
    expect(await issue()).toEqual({ type: 'target-lost', code: 'GENERATION_UNKNOWN' });
  });

  it('is recorded where the old active member has captured what nobody was told of, and is handed over', async () => {
    says('a', { captured: ref(6n) });
    const handover = { newest: held(6n), holders: ['a'] };
    expect(await issue()).toMatchObject({ type: 'issued', generation: held(5n), lost: [held(6n)], handover });
    // Of unknown age, so as old as the one before.
    expect(database.recorded).toMatchObject([{ number: 6n, manifestDigest: '06', recoveryPointMs: 123 }]);
  });

  it('is handed over where another standby holds it, from all who do', async () => {
    database.known = [known(5n, true), known(6n), known(7n)];
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
    expect(database.recorded).toEqual([]);
  });
});

it('writes nothing, and orders nothing, where a person has ended or replaced the failover meanwhile', async () => {
  database.isEnded = true;
  try {
    expect((await rejection(issue())).code).toBe('ROLE_REFUSED');
    expect([database.epochs, bench.orders]).toEqual([[], []]);
  } finally {
    database.isEnded = false;
  }
});

it('gives up at once a target whose agent has met a defect: it would meet it again', () => {
  const error = (details: object) =>
    new AntipodeError('SITE_UNREACHABLE', 'failed with a defect of its own', { details: details as never });
  const lost = (details: object) =>
    targetLost(bench.context, { attempts: 0 }, { to: 'b', code: 'SITE_UNREACHABLE', error: error(details) });
  expect(lost({ peerDefect: true })).toEqual({ type: 'target-lost', code: 'SITE_UNREACHABLE' });
  expect(thrown(() => lost({})).code).toBe('SITE_UNREACHABLE');
});
