import { HeartbeatResponseSchema } from '@antipode/protocol';
import { Log } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Site } from '../site.ts';
import { SimulatedNetwork, type SimulatedSite } from '../testing/simulated-site.ts';
import { HeartbeatAnswers } from './heartbeat-answers.ts';

let network: SimulatedNetwork;
let a: SimulatedSite;
let site: Site;
let answers: HeartbeatAnswers;
let lines: string[];

beforeEach(async () => {
  network = new SimulatedNetwork();
  a = await network.add('a');
  lines = [];
  site = { ...a.site, log: new Log({ level: 'info', format: 'json', write: (line) => lines.push(line) }) };
  answers = new HeartbeatAnswers(site);
  for (const group of ['one', 'two']) {
    site.fences.admit({ group, epoch: 1n, owner: 'a' });
    site.journal.tenure.setSeat(group, 'a-1', 'active');
  }
});

afterEach(() => network.close());

const grant = (group: string, epoch = 1n) => ({ group, epoch, leaseMs: 200n, selfStopMs: 100n });
const epochOf = (group: string, epoch = 1n, owner = 'a') => ({ group, epoch, owner, requestId: 'heartbeat' });
const take = (leases: ReturnType<typeof grant>[], epochs: ReturnType<typeof epochOf>[]) =>
  answers.take(create(HeartbeatResponseSchema, { leases, epochs }), { sentAtMs: 0 });
const remaining = (group: string, epoch = 1n) => site.leases.remainingMs(group, epoch);

it('renews the lease of every group, whatever is wrong with the epoch of one, in whatever order they come', () => {
  const jump = epochOf('one', 1_000_000n, 'c');
  take([grant('one'), grant('two')], [jump, epochOf('two')]);
  expect([remaining('one'), remaining('two')]).toEqual([100, 100]);
  expect(site.journal.tenure.fence('one')).toEqual({ epoch: 1n, owner: 'a' });
});

it('takes no lease while its clock runs slower than that of the coordinator, and says so once', () => {
  // The coordinator counts two seconds where this site counts one.
  const beat = (second: number) => ({
    id: 'c',
    nowMs: second * 2_000,
    sentMs: second * 1_000,
    receivedMs: second * 1_000,
  });
  for (let second = 1; second < 5; second += 1) {
    site.clockRates.compared(beat(second));
    take([grant('one')], [epochOf('one')]);
  }
  // The first answer alone does not show it.
  expect(lines.filter((line) => line.includes('CLOCK_RATE_DIFFERS'))).toHaveLength(1);
  site.leases.revoke('one');
  take([grant('one')], [epochOf('one')]);
  expect(remaining('one')).toBe(0);
});

it('ends the tenure of one group although another cannot be taken, and its lease with it', () => {
  take([grant('one'), grant('two')], [epochOf('one', 1n, 'c'), epochOf('two', 2n, 'b')]);
  expect([site.journal.tenure.seat('two')?.role, remaining('two')]).toEqual(['fenced', 0]);
  expect([site.journal.tenure.seat('one')?.role, remaining('one')]).toEqual(['active', 100]);
});

it('takes a lease for the epoch that it has persisted only, and only as its owner', () => {
  site.fences.admit({ group: 'three', epoch: 5n, owner: 'b' });
  take([grant('one', 2n), grant('two', 1n), grant('three', 5n), grant('four', 1n)], []);
  expect([remaining('one', 2n), remaining('two'), remaining('three', 5n), remaining('four')]).toEqual([0, 100, 0, 0]);
});

it('tells the trouble of a group once, again when it is another one, and again when it comes back', () => {
  const told = (): number => lines.splice(0).filter((line) => line.includes('EPOCH_CONFLICT')).length;
  const [jump, other] = [epochOf('one', 1_000_000n, 'c'), epochOf('one', 1n, 'c')];
  for (let beat = 0; beat < 5; beat += 1) take([], [jump]);
  expect(told()).toBe(1);
  for (let beat = 0; beat < 5; beat += 1) take([], [other]);
  expect(told()).toBe(1);
  take([], [epochOf('one')]);
  take([], [other]);
  expect(told()).toBe(1);
});

it('says nothing of an epoch that was overtaken', () => {
  site.fences.admit({ group: 'one', epoch: 3n, owner: 'b' });
  take([], [epochOf('one', 2n, 'c')]);
  expect([site.journal.tenure.fence('one')?.epoch, lines]).toEqual([3n, []]);
});

it('passes a defect on, after the other groups had their turn', () => {
  const admit = site.fences.admit.bind(site.fences);
  site.fences.admit = (order) => {
    if (order.group === 'one') throw new TypeError('a defect');
    admit(order);
  };
  expect(thrown(() => take([grant('one')], [epochOf('one', 2n, 'b'), epochOf('two', 2n, 'b')])).code).toBe(
    'INVARIANT_BROKEN',
  );
  expect([remaining('one'), site.journal.tenure.seat('two')?.role]).toEqual([100, 'fenced']);
});

it('persists that it is in quarantine in a group, ends the lease of that group, and says so once', () => {
  take([grant('one'), grant('two')], []);
  const quarantined = [{ group: 'one', reason: 'its journal is an older copy' }];
  for (let beat = 0; beat < 3; beat += 1)
    answers.take(create(HeartbeatResponseSchema, { quarantined }), { sentAtMs: 0 });
  expect([site.journal.tenure.quarantine('one'), site.journal.tenure.quarantine('two')]).toEqual([
    'its journal is an older copy',
    undefined,
  ]);
  expect([remaining('one'), remaining('two')]).toEqual([0, 100]);
  expect(lines.filter((line) => line.includes('in quarantine'))).toHaveLength(1);
});

describe('a seat that an operator has removed', () => {
  const released = (group: string, { serial = 'a-1', epoch = 1n, owner = 'a' } = {}) =>
    answers.take(create(HeartbeatResponseSchema, { released: [{ group, serial, epoch, owner }] }), { sentAtMs: 0 });

  it('is given up for good, with its lease and its quarantine, and its epoch stays', () => {
    take([grant('one'), grant('two')], []);
    site.journal.tenure.setQuarantine('one', 'an older copy');
    for (let beat = 0; beat < 3; beat += 1) released('one', { epoch: 4n, owner: 'b' });
    expect(site.journal.tenure.seats().map(({ group }) => group)).toEqual(['two']);
    expect([remaining('one'), remaining('two'), site.journal.tenure.quarantine('one')]).toEqual([0, 100, undefined]);
    expect(site.journal.tenure.fence('one')).toEqual({ epoch: 4n, owner: 'b' });
    expect(lines.filter((line) => line.includes('not a member of the group any more'))).toHaveLength(1);
  });

  it('takes the filter of a deleted group with it, and keeps that of a group that goes on', () => {
    const filter = { excludeIds: [], excludeLabels: ['tmp-*'], excludeClasses: [] };
    for (const group of ['one', 'two']) site.journal.decisions.setOrdered(group, { filter, movement: 'sealed' });
    const seat = { serial: 'a-1', epoch: 1n, owner: 'a' };
    const seats = [
      { group: 'one', deleted: true, ...seat },
      { group: 'two', ...seat },
    ];
    answers.take(create(HeartbeatResponseSchema, { released: seats }), { sentAtMs: 0 });
    expect([site.journal.decisions.filter('one'), site.journal.decisions.filter('two')]).toEqual([undefined, filter]);
  });

  it.each([
    ['a later epoch is persisted here', { epoch: 1n }],
    ['it is another partition', { epoch: 5n, serial: 'a-2' }],
    ['its epoch is said to be of another owner', { epoch: 2n, owner: 'c' }],
  ])('is kept where %s', (_what, said) => {
    site.fences.admit({ group: 'one', epoch: 2n, owner: 'a' });
    released('one', said);
    expect(site.journal.tenure.seat('one')?.serial).toBe('a-1');
  });
});

it('remembers where the other members are, for what the store here has lost', () => {
  const told: unknown[] = [];
  const mender = { learn: (...given: unknown[]) => void told.push(given) };
  const sites = [{ site: 'b', address: 'b:1' }];
  new HeartbeatAnswers({ ...site, mender }).take(
    create(HeartbeatResponseSchema, { peers: [{ group: 'one', sites }] }),
    { sentAtMs: 0 },
  );
  expect(told).toMatchObject([['one', sites]]);
});

it('remembers which generations others may still ask for', () => {
  const told: unknown[] = [];
  const retention = { learn: (...given: unknown[]) => void told.push(given) };
  const needed = [{ group: 'one', manifestDigests: [Buffer.from('ab', 'hex')] }];
  new HeartbeatAnswers({ ...site, retention }).take(create(HeartbeatResponseSchema, { needed }), { sentAtMs: 0 });
  expect(told).toEqual([['one', ['ab']]]);
});

it('takes nothing from a coordinator that leads no longer', () => {
  const answer = (term: bigint, coordinator: string) =>
    create(HeartbeatResponseSchema, {
      leases: [grant('one')],
      epochs: [epochOf('two', 2n, 'b')],
      quarantined: [{ group: 'two', reason: 'other journal' }],
      term,
      coordinator,
    });
  site.terms.admit({ term: 4n, coordinator: 'south' });
  for (const late of [answer(3n, 'main'), answer(4n, 'main'), answer(0n, '')])
    expect(thrown(() => answers.take(late, { sentAtMs: 0 })).code).toBe('TERM_STALE');
  expect([remaining('one'), site.journal.tenure.fence('two'), site.journal.tenure.quarantine('two')]).toEqual([
    0,
    { epoch: 1n, owner: 'a' },
    undefined,
  ]);
  answers.take(answer(5n, 'main'), { sentAtMs: 0 });
  expect([remaining('one'), site.journal.terms.highest()]).toEqual([100, { term: 5n, coordinator: 'main' }]);
});
