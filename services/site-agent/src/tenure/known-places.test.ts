/** An agent answers applications while no coordinator does: with the place it heard last, and never with one that is over. */
import {
  KnownPlaceSchema,
  LastKnownRequestSchema,
  MemberRole,
  OwnAccountRequestSchema,
  ReleasedSeatSchema,
} from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SimulatedNetwork, type SimulatedSite } from '../testing/simulated-site.ts';
import { HeartbeatAnswers } from './heartbeat-answers.ts';
import { resolverHandlers } from './known-places.ts';

const GROUP = 'payments';

let network: SimulatedNetwork;
let a: SimulatedSite;

beforeEach(async () => {
  network = new SimulatedNetwork();
  a = await network.add('a');
});

afterEach(() => network.close());

const place = (site: string, epoch = 1n, siteState = 'up') =>
  create(KnownPlaceSchema, {
    group: GROUP,
    site,
    module: '/m.so',
    tokenLabel: 'payments',
    serial: `${site}-1`,
    epoch,
    siteState,
  });

const told = (said: ReturnType<typeof place>): void =>
  new HeartbeatAnswers(a.site).take(
    { leases: [], epochs: [], places: [said] },
    { sentAtMs: network.clock.monotonicMs() },
  );

const context = {
  identity: { trustDomain: 'test', kind: 'application', name: 'signer' },
  signal: new AbortController().signal,
} as const;
const ask = () => resolverHandlers(a.site).lastKnown(create(LastKnownRequestSchema, { group: GROUP }), context);

it('is forgotten where the coordinator says that this site has no part in the group, and not while it has a seat', () => {
  const forget = (): void =>
    new HeartbeatAnswers(a.site).take({ leases: [], epochs: [], forgotten: [GROUP] } as never, { sentAtMs: 0 });
  a.site.fences.admit({ group: GROUP, epoch: 1n, owner: 'b' });
  a.site.journal.tenure.setSeat(GROUP, 'a-1', 'standby');
  told(place('b', 1n));
  forget();
  expect(a.site.places.groups).toEqual([GROUP]);
  a.site.journal.tenure.release(GROUP, { epoch: 1n, owner: 'b' }, { deleted: false });
  forget();
  expect([a.site.places.groups, a.site.journal.places.all()]).toEqual([[], []]);
});

it('is the place that the coordinator said last, with its age', async () => {
  told(place('b'));
  await network.clock.advance(12_000);
  expect(await ask()).toMatchObject({ answeredBy: 'a', ageMs: 12_000n, place: { site: 'b', siteState: 'up' } });
  told(place('c', 2n));
  expect(await ask()).toMatchObject({ ageMs: 0n, place: { site: 'c', epoch: 2n } });
});

it('is not taken back by an answer of an earlier epoch that comes late', async () => {
  told(place('c', 2n));
  told(place('b', 1n));
  expect(await ask()).toMatchObject({ place: { site: 'c' } });
});

it('is forgotten with the seat: nobody tells a removed member of a failover', async () => {
  await a.call('setRole', {
    fence: { group: GROUP, epoch: 1n, owner: 'b', requestId: 'r' },
    serial: 'a-1',
    role: MemberRole.STANDBY,
  });
  told(place('b'));
  new HeartbeatAnswers(a.site).take(
    {
      leases: [],
      epochs: [],
      released: [create(ReleasedSeatSchema, { group: GROUP, serial: 'a-1', epoch: 1n, owner: 'b' })],
    },
    { sentAtMs: network.clock.monotonicMs() },
  );
  expect((await rejection(ask())).code).toBe('NOT_FOUND');
  a.stop();
  await a.start();
  expect((await rejection(ask())).code).toBe('NOT_FOUND');
});

it('is refused where nobody had told it, and where nobody served', async () => {
  expect(await rejection(ask())).toMatchObject({ code: 'NOT_FOUND' });
  told(create(KnownPlaceSchema, { group: GROUP, epoch: 1n }));
  expect(await rejection(ask())).toMatchObject({ code: 'NOT_SERVED', details: { group: GROUP } });
});

it('is not given out when this site knows a later epoch, whose place it was not told', async () => {
  told(place('a'));
  a.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'c' });
  const error = await rejection(ask());
  expect(error).toMatchObject({ code: 'NOT_SERVED', details: { epoch: 2n } });
  expect(error.message).toContain('site c');
  told(place('c', 2n));
  expect(await ask()).toMatchObject({ place: { site: 'c' } });
});

it('survives a restart without its age, and without the state of the site', async () => {
  told(place('b'));
  a.stop();
  await a.start();
  const answer = await ask();
  expect(answer).toMatchObject({ place: { site: 'b', siteState: 'unknown', partitionErrorCode: '' } });
  expect(answer.ageMs).toBeUndefined();
});

it('is written down when it changes only, and again when that did not succeed', () => {
  const written: string[] = [];
  const { places } = a.site.journal;
  const record = places.record.bind(places);
  let isBusy = true;
  Object.assign(places, {
    record: (said: ReturnType<typeof place>) => {
      if (isBusy) throw new AntipodeError('FILE_BUSY', 'a backup holds the journal');
      written.push(said.site);
      record(said);
    },
  });
  told(place('b'));
  isBusy = false;
  for (const state of ['up', 'suspect', 'up']) told(place('b', 1n, state));
  told(place('c', 2n));
  expect(written).toEqual(['b', 'c']);
});

describe('of a group that stops with its lease', () => {
  const stopping = (site: string) => ({ ...place(site), stopsOnLeaseLapse: true });
  const code = async (): Promise<string> =>
    ask().then(
      ({ place: said }) => said?.site ?? '',
      (refused: AntipodeError) => `${refused.code} ${refused.details['stopsServing']}`,
    );

  it('is given out by the active site only while its lease holds, and at once again when it has one', async () => {
    a.site.fences.admit({ group: GROUP, epoch: 1n, owner: 'a' });
    told(stopping('a'));
    const lease = (): void =>
      a.site.leases.grant({ group: GROUP, epoch: 1n, sentAtMs: network.clock.monotonicMs(), selfStopMs: 3_000 });
    expect(await code()).toBe('NOT_SERVED true');
    lease();
    expect(await code()).toBe('a');
    await network.clock.advance(3_000);
    expect(await code()).toBe('NOT_SERVED true');
    lease();
    expect(await code()).toBe('a');
    // Nothing of that where programs keep serving.
    await network.clock.advance(3_000);
    told(place('a'));
    expect(await code()).toBe('a');
  });

  it('is given out by another site while it has heard of it lately, and not after a restart', async () => {
    told(stopping('b'));
    await network.clock.advance(40_000);
    expect(await code()).toBe('b');
    await network.clock.advance(1);
    expect(await code()).toBe('NOT_SERVED true');
    told(stopping('b'));
    a.stop();
    await a.start();
    expect(await code()).toBe('NOT_SERVED true');
  });
});

it('an operator can ask this site for its own seats and leases, and where the other members are', async () => {
  const own = () => resolverHandlers(a.site).ownAccount(create(OwnAccountRequestSchema, {}), context);
  expect(await own()).toMatchObject({ site: 'a', seats: [], peers: [] });
  expect(await own()).not.toHaveProperty('coordinatorSilenceMs');
  const fence = { group: GROUP, epoch: 4n, owner: 'a' };
  a.site.fences.admit(fence);
  a.site.journal.tenure.setSeat(GROUP, 'a-1', 'active');
  const lease = { group: GROUP, epoch: 4n, leaseMs: 8_000n, selfStopMs: 6_000n, vouchers: [] };
  const peers = [{ group: GROUP, sites: [{ site: 'b', address: 'b:1' }], witnesses: [] }];
  const sentAtMs = network.clock.monotonicMs();
  new HeartbeatAnswers(a.site).take({ leases: [lease], epochs: [], peers } as never, { sentAtMs });
  await network.clock.advance(1_000);
  expect(await own()).toMatchObject({
    partitions: [{ name: expect.any(String), serial: 'a-1', errorCode: '' }, expect.anything()],
    seats: [
      { group: GROUP, serial: 'a-1', role: MemberRole.ACTIVE, epoch: 4n, epochOwner: 'a', leaseRemainingMs: 5_000n },
    ],
    peers: [{ site: 'b', address: 'b:1' }],
    coordinatorSilenceMs: 1_000n,
  });
});
