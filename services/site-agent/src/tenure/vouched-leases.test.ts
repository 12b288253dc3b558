/** An active member without coordinators: three sites, of which b and c vouch for a. */
import { KnownPlaceSchema, MemberRole, SiteAgentService, VOUCH_MS, VOUCH_STOP_MS } from '@antipode/protocol';
import { SomeOperators } from '@antipode/protocol/testing';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SimulatedNetwork, type SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP } from '../testing/two-sites.ts';
import { HeartbeatAnswers } from './heartbeat-answers.ts';

const SELF_STOP_MS = 6_000;
const never = new AbortController().signal;

let network: SimulatedNetwork;
let a: SimulatedSite;
let b: SimulatedSite;
let c: SimulatedSite;
let vouchers: string[];

beforeEach(async () => {
  network = new SimulatedNetwork();
  [a, b, c] = [await network.add('a'), await network.add('b'), await network.add('c')];
  vouchers = ['b', 'c'];
  for (const site of [a, b, c]) {
    for (const peer of [a, b, c]) site.pin(GROUP, peer);
    const role = site === a ? MemberRole.ACTIVE : MemberRole.STANDBY;
    await site.call('setRole', { fence: fence(), serial: `${site.name}-1`, role });
  }
  coordinatorAnswers();
});
afterEach(() => network.close());

const runOf = ({ site }: SimulatedSite): string => site.journal.mark!.run;
const leftMs = (): number => a.site.leases.remainingMs(GROUP, 1n);

/** The answer to one heartbeat of each site, as the coordinator gives it. */
function coordinatorAnswers(sites = [a, b, c], { run = runOf(a), hasLease = true } = {}): void {
  for (const one of sites) {
    const lease = {
      $typeName: 'antipode.v1.LeaseGrant' as const,
      group: GROUP,
      epoch: 1n,
      leaseMs: 8_000n,
      selfStopMs: BigInt(SELF_STOP_MS),
      vouchers: vouchers.map((site) => ({ $typeName: 'antipode.v1.SiteAddress' as const, ...address(site) })),
    };
    new HeartbeatAnswers(one.site).take(
      {
        leases: one === a && hasLease ? [lease] : [],
        epochs: [],
        vouchees: one === a ? [] : [{ $typeName: 'antipode.v1.Vouchee', group: GROUP, epoch: 1n, site: 'a', run }],
      },
      { sentAtMs: network.clock.monotonicMs() },
    );
  }
}

/** No coordinator answers for so long. */
async function silence(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 500) {
    await network.clock.advance(500);
    await a.site.vouched.pass(never);
  }
}

const codes = (): string[] => (a.site.vouched.of(GROUP)?.missing ?? []).map(({ site, code }) => `${site} ${code}`);

describe('an active member that no coordinator answers', () => {
  it('goes on for as long as all other voting sites vouch for it, and says who does', async () => {
    await silence(60_000);
    expect(leftMs()).toBeGreaterThan(VOUCH_STOP_MS / 2);
    expect(a.site.vouched.of(GROUP)).toEqual({ group: GROUP, epoch: 1n, by: ['b', 'c'], missing: [] });
  });

  it('asks nobody while a coordinator answers: their word would prolong every failover', async () => {
    for (let beats = 0; beats < 20; beats += 1) {
      await silence(1_000);
      coordinatorAnswers();
    }
    expect(a.site.vouched.of(GROUP)).toBeUndefined();
    expect(b.site.vouches.silentMs).toBeGreaterThan(15_000);
  });

  it('stops within the time of one word once one of them has persisted another epoch', async () => {
    await silence(10_000);
    await c.call('persistEpoch', { fence: fence(2n, 'b') });
    await silence(VOUCH_STOP_MS);
    expect([leftMs(), codes()]).toEqual([0, ['c EPOCH_STALE']]);
  });

  it('counts the word from its question, however late the answer comes', async () => {
    await silence(SELF_STOP_MS / 2);
    const slow = network.wire.serve({ kind: 'site', name: 'c' }, SiteAgentService, {
      ...c.handlers,
      vouch: async (request, context) => {
        await network.clock.advance(1_000);
        return c.handlers.vouch(request, context);
      },
    });
    await network.clock.advance(500);
    const askedMs = network.clock.monotonicMs();
    await a.site.vouched.pass(never);
    slow();
    await network.clock.advance(askedMs + VOUCH_STOP_MS - network.clock.monotonicMs());
    expect(leftMs()).toBe(0);
  });

  it('stops if one does not answer, and goes on once it does again', async () => {
    const away = network.wire.serve({ kind: 'site', name: 'c' }, SiteAgentService, {
      ...c.handlers,
      vouch: () => rejection(Promise.resolve()).then((error) => Promise.reject(error)),
    });
    await silence(SELF_STOP_MS + VOUCH_STOP_MS);
    expect(leftMs()).toBe(0);
    away();
    c.serveAs('c');
    await silence(1_000);
    expect(leftMs()).toBeGreaterThan(0);
  });

  it('goes on by the word of no single site, even if that site lies: two are needed', async () => {
    vouchers = ['b'];
    coordinatorAnswers();
    await silence(SELF_STOP_MS + 1_000);
    expect(leftMs()).toBe(0);
    // b vouches for everybody. c, like every honest majority, has persisted the epoch of b.
    vouchers = ['b', 'c'];
    coordinatorAnswers();
    b.site.vouches.vouch = () => {};
    await c.call('persistEpoch', { fence: fence(2n, 'b') });
    await silence(SELF_STOP_MS + 1_000);
    expect([leftMs(), codes()]).toEqual([0, ['c EPOCH_STALE']]);
  });

  it('only goes on, and never begins: not after its own restart, a refusal, or an answer without a lease', async () => {
    a.stop();
    await a.start();
    await silence(2_000);
    expect([leftMs(), a.site.vouched.of(GROUP)]).toEqual([0, undefined]);
    for (const end of [() => a.site.vouched.refused(), () => coordinatorAnswers([a], { hasLease: false })]) {
      coordinatorAnswers();
      await silence(SELF_STOP_MS);
      expect(leftMs()).toBeGreaterThan(0);
      end();
      await silence(SELF_STOP_MS);
      expect(leftMs()).toBe(0);
    }
  });

  it('takes no word for a tenure that has ended here while it asked', async () => {
    await silence(SELF_STOP_MS / 2);
    const vouch = c.site.vouches.vouch.bind(c.site.vouches);
    c.site.vouches.vouch = (request, caller) => {
      a.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
      vouch(request, caller);
    };
    const before = leftMs();
    await silence(500);
    expect(leftMs()).toBeLessThan(before);
    expect(a.site.vouched.of(GROUP)).toBeUndefined();
  });

  it('knows where its group is served as of the last word', async () => {
    const place = create(KnownPlaceSchema, { group: GROUP, site: 'a', epoch: 1n, siteState: 'up' });
    a.site.places.learn(place, { sentAtMs: network.clock.monotonicMs() });
    await silence(30_000);
    expect(network.clock.monotonicMs() - a.site.places.of(GROUP)!.sentAtMs!).toBeLessThan(1_000);
  });
});

describe('a coordinator that lies about who may vouch', () => {
  const operators = new SomeOperators();
  /** A guards its actions from now on, and has heard a coordinator since. */
  const guard = async (): Promise<void> => {
    const { required, breakGlass, operators: list } = operators.policy;
    a.stop();
    a.approvals = { required, breakGlass, operators: [...list], groups: {} };
    await a.start();
    coordinatorAnswers();
  };

  it('cannot leave out a member: the site goes on by the word of nobody then', async () => {
    vouchers = ['b', 'x'];
    await guard();
    expect(a.site.vouched.groups).toEqual([]);
    await silence(SELF_STOP_MS + 1_000);
    expect([leftMs(), a.site.vouched.of(GROUP)]).toEqual([0, undefined]);
  });

  it('can add to them: each of them must vouch all the same', async () => {
    vouchers = ['b', 'c', 'x'];
    await guard();
    await silence(SELF_STOP_MS + 1_000);
    expect([leftMs(), codes()]).toEqual([0, ['x SITE_UNREACHABLE']]);
  });

  it('says nothing about who votes to a site that goes on by the members that it has pinned', async () => {
    await guard();
    await silence(SELF_STOP_MS + 1_000);
    expect(leftMs()).toBeGreaterThan(0);
  });
});

it('a site that has vouched is promoted only when its word is over, whatever the coordinator forgets', async () => {
  await silence(SELF_STOP_MS / 2 + 1_000);
  const vouchedMs = network.clock.monotonicMs() - b.site.vouches.silentMs;
  await b.call('setRole', { fence: fence(2n, 'b'), serial: 'b-1', role: MemberRole.STANDBY });
  const promoted = b.call('promote', { fence: fence(2n, 'b') });
  await network.clock.advance(VOUCH_STOP_MS - b.site.vouches.silentMs);
  expect(b.site.journal.tenure.seat(GROUP)?.role).toBe('standby');
  await network.clock.advance(VOUCH_MS);
  await promoted;
  expect([b.site.journal.tenure.seat(GROUP)?.role, b.site.vouches.silentMs]).toEqual([
    'active',
    network.clock.monotonicMs() - vouchedMs,
  ]);
});

describe('a site vouches', () => {
  const asks = (change: Partial<{ group: string; epoch: bigint; run: string }> = {}, as = 'a') => {
    try {
      b.site.vouches.vouch({ group: GROUP, epoch: 1n, run: runOf(a), ...change }, as);
      return 'vouches';
    } catch (refused) {
      return (refused as { code: string }).code;
    }
  };

  it('for the process that a coordinator has named, in the epoch that it has persisted, and for nothing else', () => {
    expect(asks()).toBe('vouches');
    expect([
      asks({ epoch: 2n }),
      asks({ epoch: 0n }),
      asks({ run: 'of a copy' }),
      asks({ group: 'cards' }),
      asks({}, 'c'),
    ]).toEqual(['VOUCH_REFUSED', 'EPOCH_STALE', 'VOUCH_REFUSED', 'VOUCH_REFUSED', 'VOUCH_REFUSED']);
  });

  it('no more for a process once the coordinator has named another one, or none', () => {
    coordinatorAnswers([b], { run: 'of the copy' });
    expect(asks()).toBe('VOUCH_REFUSED');
    new HeartbeatAnswers(b.site).take({ leases: [], epochs: [], vouchees: [] }, { sentAtMs: 0 });
    expect(asks({ run: 'of the copy' })).toBe('VOUCH_REFUSED');
  });

  it('for nobody after a restart, when its journal may be another one, and in quarantine', async () => {
    b.site.journal.tenure.setQuarantine(GROUP, 'an older copy');
    expect(asks()).toBe('VOUCH_REFUSED');
    b.site.journal.tenure.endQuarantine(GROUP);
    expect(asks()).toBe('vouches');
    b.stop();
    await b.start();
    expect(asks()).toBe('VOUCH_REFUSED');
  });

  it('and says how long ago it did at most, counted from its start where it has not', async () => {
    await network.clock.advance(9_000);
    expect(b.site.vouches.silentMs).toBe(9_000);
    asks();
    await network.clock.advance(1_000);
    asks({ run: 'of a copy' });
    expect(b.site.vouches.silentMs).toBe(1_000);
    const { vouchSilentMs, instance } = await b.call('setRole', {
      fence: fence(2n, 'b'),
      serial: 'b-1',
      role: MemberRole.STANDBY,
    });
    expect([vouchSilentMs, instance]).toEqual([1_000n, b.site.instance]);
    b.stop();
    await b.start();
    expect(b.site.vouches.silentMs).toBe(0);
  });
});
