/** An agent sends only changes, and everything to a coordinator that does not remember its last heartbeat. */
import {
  accountOf,
  CoordinatorService,
  type Handlers,
  HeardHeartbeats,
  type HeartbeatRequest,
} from '@antipode/protocol';
import { someHandlers } from '@antipode/protocol/testing';
import { AntipodeError } from '@antipode/runtime';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Link } from '../peers/link.ts';
import { fence, GROUP, LEASE_MS, TwoSites } from '../testing/two-sites.ts';
import { Heartbeat } from './heartbeat.ts';

const STEP_MS = 50;
const EPOCH = { ...fence(), requestId: 'heartbeat' };
const LEASE = { group: GROUP, epoch: 1n, leaseMs: BigInt(LEASE_MS), selfStopMs: BigInt(LEASE_MS) };
const VOUCHERS = ['b', 'c'].map((site) => ({ site, address: `${site}:1` }));

let sites: TwoSites;
let heartbeat: Heartbeat;
/** As they came over the wire. */
let requests: HeartbeatRequest[];
/** The error of the next answer. */
let refusal: 'HEARTBEAT_PARTIAL' | 'PEER_REFUSED' | 'TIMED_OUT' | 'REQUEST_INVALID' | undefined;
let heard: HeardHeartbeats;
let isEarlierRelease: boolean;

const MAIN = { kind: 'coordinator', name: 'main' } as const;

const answer: Handlers<typeof CoordinatorService>['heartbeat'] = async (request) => {
  requests.push(request);
  if (isEarlierRelease && request.state === undefined) throw new AntipodeError('PEER_REFUSED', 'no account');
  const code = refusal;
  refusal = undefined;
  if (code !== undefined) throw new AntipodeError(code, 'as the test says');
  const said = {
    epochs: [EPOCH],
    leases: [{ ...LEASE, vouchers: VOUCHERS }],
    peers: [{ group: GROUP, sites: VOUCHERS }],
  };
  if (isEarlierRelease) return said;
  return heard.read(request, { account: accountOf(request)!, term: 0n }).answered(said);
};

beforeEach(async () => {
  sites = await TwoSites.make();
  requests = [];
  refusal = undefined;
  isEarlierRelease = false;
  heard = new HeardHeartbeats({ id: 'one' });
  const { wire } = sites.network;
  wire.serve(MAIN, CoordinatorService, someHandlers(CoordinatorService, { heartbeat: answer }));
  const caller = { kind: 'site', name: 'a' } as const;
  heartbeat = new Heartbeat({
    site: sites.a.site,
    coordinators: {
      client: (service) => wire.client(service, { caller, callee: MAIN }),
      look: async () => {},
      observed: [],
      close: async () => {},
    },
    advertise: () => 'a:1',
    link: new Link(),
  });
  heartbeat.start();
  await sites.network.clock.advance(0);
  if (requests.length === 0) await beats(1);
});

afterEach(async () => {
  await heartbeat.close();
  sites.close();
});

/** Heartbeats come at odd moments. */
async function beats(count: number): Promise<void> {
  for (let done = 0; done < count; ) {
    const before = requests.length;
    await sites.network.clock.advance(STEP_MS);
    if (requests.length > before) done += 1;
  }
}

/** The kind of each heartbeat of this test. */
const told = () => requests.map(({ changes }) => (changes === undefined ? 'whole' : 'changes'));
const vouchedGroups = () => sites.a.site.vouched.groups;
/** Renewed a moment ago. */
const hasLease = () => sites.a.site.leases.remainingMs(GROUP, 1n) > LEASE_MS - 3 * STEP_MS;

it('tells everything first, and then only what has changed', async () => {
  await beats(1);
  expect(told()).toEqual(['whole', 'changes']);
  expect(requests[1]!.changes?.state).toMatchObject({ site: 'a', members: [], partitions: [] });
  sites.a.member.hsm.addSecret('next');
  await sites.captured();
  await beats(1);
  const { changes } = requests[2]!;
  expect(changes?.state?.members).toMatchObject([{ group: GROUP, captured: { epoch: 1n } }]);
});

it('knows its leases, and whom it may ask, by answers that tell only what has changed', async () => {
  await beats(4);
  expect([vouchedGroups(), hasLease()]).toEqual([[GROUP], true]);
  expect(told()).toEqual(['whole', ...Array(4).fill('changes')]);
});

it.each(['HEARTBEAT_PARTIAL', 'REQUEST_INVALID'] as const)('tells everything at once after %s', async (code) => {
  refusal = code;
  await beats(1);
  expect(told()).toEqual(['whole', 'changes', 'whole']);
  expect([vouchedGroups(), hasLease()]).toEqual([[GROUP], true]);
  await beats(1);
  expect(told().slice(3)).toEqual(['changes']);
});

it('builds on the last answered heartbeat after one that was lost', async () => {
  refusal = 'TIMED_OUT';
  await beats(3);
  expect(told().slice(1)).not.toContain('whole');
  expect(hasLease()).toBe(true);
});

it('tells everything to a coordinator of an earlier release, and keeps its rights', async () => {
  isEarlierRelease = true;
  await beats(3);
  expect(told()).toEqual(['whole', 'changes', 'whole', 'whole', 'whole']);
  expect([vouchedGroups(), hasLease()]).toEqual([[GROUP], true]);
});

it('loses its rights where the whole account is refused as well', async () => {
  isEarlierRelease = true;
  await beats(1);
  refusal = 'PEER_REFUSED';
  await beats(1);
  expect(vouchedGroups()).toEqual([]);
});
