import { MemberRole } from '@antipode/protocol';
import { AntipodeError, type ErrorCode, fromHex } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Election } from '../election.ts';
import type { GroupCache } from '../groups/group-cache.ts';
import type { Group } from '../model.ts';
import type { Agents } from '../sites/agents.ts';
import type { Detector } from '../sites/detector.ts';
import { LeaseBook } from '../sites/leases.ts';
import type { Store } from '../store/store.ts';
import type { Known } from '../store/tables/generations.ts';
import type { Intent } from '../store/tables/intents.ts';
import { PROFILES } from '../timings.ts';
import { capture } from './capture/effects.ts';
import { EffectContext } from './context.ts';
import { failover, survey } from './failover/effects.ts';
import type { FailoverEffect } from './failover/machine.ts';

/** The one group of these tests, and the epochs that were written down. */
const database = vi.hoisted(() => ({ group: {} as Group, story: [] as string[], ahead: [] as Known[] }));
vi.mock(import('../store/tables/intents.ts'), async (original) => ({
  ...(await original()),
  requireOpen: async () => {},
}));
vi.mock(import('../store/tables/groups.ts'), async (original) => ({
  ...(await original()),
  readGroup: async () => database.group,
  lockGroup: async () => database.group,
  insertEpoch: async (_trx: unknown, _group: string, { epoch, owner }: { epoch: bigint; owner: string }) => {
    database.story.push(`write ${epoch} ${owner}`);
    database.group = { ...database.group, highestEpoch: epoch, highestOwner: owner };
  },
  activateEpoch: async (_trx: unknown, _group: string, { epoch, owner }: { epoch: bigint; owner: string }) => {
    database.story.push(`activate ${epoch} ${owner}`);
  },
}));

const TIMINGS = PROFILES.default;
const CHOSEN = {
  from: 'a',
  wanted: '',
  acceptLoss: false,
  accepted: [],
  reason: 'automatic',
  outageStartedMs: 0,
  to: 'b',
  serial: 'serial-b',
  epoch: 2n,
  generation: undefined,
  lost: [],
  quorum: 2,
  excluded: [],
  overtaken: 0,
  unreachable: [],
} as const;
const INTENT = { id: 'i', requestId: 'i', attempts: 0, group: 'payments', site: '' } as Intent;

const digest = (number: bigint): string => `ab0${number}`;

/** The generations on record. */
vi.mock(import('../store/tables/generations.ts'), async (original) => ({
  ...(await original()),
  withdrawAcknowledgements: async (_trx, _group, { number, site }) =>
    void database.story.push(`withdraw ${number} ${site}`),
  readAhead: async () => database.ahead,
  readKnown: async () =>
    [4n, 5n].map((number) => ({ epoch: 1n, number, manifestDigest: `ab0${number}`, isAcknowledged: number === 4n })),
  readGeneration: async () => undefined,
}));

/** Any other query, which finds nothing. */
const NOTHING: object = new Proxy({}, { get: (_query, name) => (name === 'execute' ? async () => [] : () => NOTHING) });

class Bench {
  readonly clock = new FakeClock();
  readonly leases = new LeaseBook({ clock: this.clock, leaseMs: TIMINGS.leaseMs });
  /** Sites that do not answer, with what their calls throw. */
  readonly faults = new Map<string, ErrorCode>();
  readonly orders: { site: string; method: string; request: Record<string, unknown> }[] = [];
  /** What each agent says of its own seats. */
  readonly seats = new Map<string, object[]>();
  /** Sites that say that they are in quarantine. */
  readonly quarantined = new Set<string>();
  /** Sites that do not call any more. */
  readonly silent = new Set<string>();
  /** Codes of what keeps partitions from being used, by site. */
  readonly problems = new Map<string, string>();
  readonly context: EffectContext;

  constructor() {
    const call = (site: string, method: string, answer: object) => async (request: Record<string, unknown>) => {
      this.orders.push({ site, method, request });
      database.story.push(`${method} ${site}`);
      const code = this.faults.get(site);
      if (code !== undefined) throw new AntipodeError(code, `${site} does not do it`);
      return answer;
    };
    this.context = new EffectContext({
      store: {
        query: async (work: (db: unknown) => unknown) => work(NOTHING),
        snapshot: async (work: (db: unknown) => unknown) => work(NOTHING),
        write: async (_epoch: bigint, work: (trx: unknown, record: () => void) => unknown) => work(undefined, () => {}),
      } as unknown as Store,
      election: { require: () => 1n } as unknown as Election,
      agents: {
        address: (site: string) => ({ site, address: `${site}:1` }),
        client: (site: string) => ({
          setRole: call(site, 'setRole', {}),
          promote: call(site, 'promote', { proof: { proved: 7 } }),
          capture: call(site, 'capture', {}),
          describe: call(site, 'describe', {
            members: this.seats.get(site) ?? [],
            journal: { quarantined: this.quarantined.has(site) ? [{ group: 'payments', reason: 'older copy' }] : [] },
            partitions: [
              { serial: 'another', errorCode: '' },
              ...(this.problems.get(site) === 'PARTITION_NOT_FOUND'
                ? []
                : [{ serial: `serial-${site}`, errorCode: this.problems.get(site) ?? '' }]),
            ],
          }),
        }),
      } as unknown as Agents,
      detector: {
        view: () => undefined,
        isUp: (site: string) => !this.silent.has(site),
      } as unknown as Detector,
      journals: { recordIn: async () => () => {}, accept: () => {} },
      leases: this.leases,
      cache: { refresh: async () => void database.story.push('refresh') } as unknown as GroupCache,
      clock: this.clock,
      timings: TIMINGS,
    });
  }

  /** How often this step has failed. */
  attempts = 0;

  failover(type: FailoverEffect['type']) {
    return failover(this.context, { ...INTENT, attempts: this.attempts }, {
      ...CHOSEN,
      type,
      proved: 1,
    } as unknown as FailoverEffect);
  }
}

let bench: Bench;
beforeEach(async () => {
  database.story = [];
  database.ahead = [];
  database.group = {
    spec: { name: 'payments', filter: { excludeIds: [], excludeLabels: [], excludeClasses: [] } },
    members: ['a', 'b', 'c'].map((site, at) => ({
      site,
      serial: `serial-${site}`,
      role: at === 0 ? 'active' : 'standby',
      divergent: 0,
      unaccounted: 0,
    })),
    epoch: 1n,
    owner: 'a',
    highestEpoch: 1n,
    highestOwner: 'a',
    domainKeyVersion: 1,
  } as unknown as Group;
  bench = new Bench();
  await bench.clock.advance(TIMINGS.leaseMs * 2);
});

describe('the survey', () => {
  const seat = (role: MemberRole, epoch: bigint, generation: bigint) => [
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
    bench.seats.set('b', seat(MemberRole.STANDBY, 1n, 5n));
    bench.quarantined.add('b');
    const event = await bench.failover('survey');
    expect(event).toMatchObject({ survey: { reachable: [{}, { site: 'b', problem: 'SITE_QUARANTINED' }, {}] } });
  });

  it('tells what each member has that answered, in the order of the group', async () => {
    bench.seats.set('a', seat(MemberRole.ACTIVE, 1n, 5n)).set('c', seat(MemberRole.STANDBY, 2n, 4n));
    bench.faults.set('b', 'SITE_UNREACHABLE');
    bench.problems.set('c', 'PIN_REFUSED');
    const applied = (number: bigint) => ({ epoch: 1n, number, manifestDigest: digest(number) });
    expect(await bench.failover('survey')).toEqual({
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
          },
          {
            site: 'c',
            serial: 'serial-c',
            role: 'standby',
            epoch: 2n,
            applied: applied(4n),
            problem: 'PIN_REFUSED',
            lacksKey: true,
          },
        ],
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
    const { reachable } = await survey(bench.context, database.group);
    expect(reachable.map(({ role, applied }) => [role, applied])).toEqual(Array(3).fill(['fenced', undefined]));
  });

  it('counts a member in a role that this version does not know as one that does not answer', async () => {
    bench.seats.set('a', seat(MemberRole.ACTIVE, 1n, 5n)).set('b', seat(99 as MemberRole, 1n, 5n));
    const { reachable } = await survey(bench.context, database.group);
    expect(reachable.map(({ site, role }) => [site, role])).toEqual([
      ['a', 'active'],
      ['c', 'fenced'],
    ]);
  });

  it('takes the newer of what a member has captured and applied, and believes only what is on record', async () => {
    const ref = (number: bigint, bytes = fromHex(digest(number))) => ({
      epoch: 1n,
      generation: number,
      manifestDigest: bytes,
    });
    const own = { group: 'payments', role: MemberRole.STANDBY, epoch: 1n };
    bench.seats.set('a', [{ ...own, captured: ref(5n), applied: ref(4n) }]);
    bench.seats.set('b', [{ ...own, applied: ref(4n), captured: ref(99n) }]);
    bench.seats.set('c', [{ ...own, applied: ref(5n, new Uint8Array([1])) }]);
    const { reachable } = await survey(bench.context, database.group);
    expect(reachable.map(({ applied }) => applied?.number)).toEqual([5n, 4n, undefined]);
  });

  it('tells of a partition that its site does not have', async () => {
    bench.problems.set('b', 'PARTITION_NOT_FOUND');
    const { reachable } = await survey(bench.context, database.group);
    expect(reachable.map(({ problem }) => problem)).toEqual(['', 'PARTITION_NOT_FOUND', '']);
  });

  it('does not go on where this process itself is defective', async () => {
    bench.faults.set('b', 'INVARIANT_BROKEN');
    expect((await rejection(survey(bench.context, database.group))).code).toBe('INVARIANT_BROKEN');
  });

  it.each(['CERTIFICATE_INVALID', 'PEER_REFUSED'] as const)(
    'goes on without a member that answers with %s',
    async (code) => {
      bench.faults.set('a', code);
      const { reachable } = await survey(bench.context, database.group);
      expect(reachable.map(({ site }) => site)).toEqual(['b', 'c']);
    },
  );
});

describe('issuing an epoch', () => {
  it('writes it down, stops renewing the old lease, and only then tells the members', async () => {
    await bench.failover('issue-epoch');
    expect(database.story).toEqual(['write 2 b', 'refresh', 'setRole a', 'setRole b', 'setRole c']);
    const fence = { group: 'payments', epoch: 2n, owner: 'b', requestId: 'i' };
    expect(bench.orders.map(({ site, request }) => [site, request['role'], request['fence']])).toEqual([
      ['a', MemberRole.FENCED, fence],
      ['b', MemberRole.STANDBY, fence],
      ['c', MemberRole.STANDBY, fence],
    ]);
  });

  it('is safe to repeat: the same epoch is written down once', async () => {
    await bench.failover('issue-epoch');
    await bench.failover('issue-epoch');
    expect(database.story.filter((one) => one.startsWith('write'))).toEqual(['write 2 b']);
  });

  it('fences nobody where the old active member itself is to serve again', async () => {
    await failover(bench.context, INTENT, { ...CHOSEN, to: 'a', type: 'issue-epoch' });
    expect(bench.orders.map(({ site, request }) => [site, request['role']])).toEqual(
      ['a', 'b', 'c'].map((site) => [site, MemberRole.STANDBY]),
    );
  });

  it('waits for no lease where the old active member has confirmed its fence, and for all of it otherwise', async () => {
    bench.leases.granted('payments');
    bench.faults.set('a', 'SITE_UNREACHABLE');
    expect(await bench.failover('issue-epoch')).toMatchObject({ type: 'issued', isOldActiveFenced: false });
    expect(bench.leases.remainingMs('payments')).toBeGreaterThan(TIMINGS.leaseMs);
    bench.faults.clear();
    expect(await bench.failover('issue-epoch')).toMatchObject({ type: 'issued', isOldActiveFenced: true });
    expect(bench.leases.remainingMs('payments')).toBe(0);
  });

  it('is not done without a majority, whatever keeps a member from it', async () => {
    bench.faults.set('a', 'PEER_REFUSED').set('c', 'TIMED_OUT');
    expect((await rejection(bench.failover('issue-epoch'))).code).toBe('SITE_UNREACHABLE');
  });

  it('tries a target that is merely slow again, and gives up one that does not call any more', async () => {
    bench.faults.set('b', 'TIMED_OUT');
    expect((await rejection(bench.failover('issue-epoch'))).code).toBe('TIMED_OUT');
    bench.silent.add('b');
    expect(await bench.failover('issue-epoch')).toEqual({ type: 'target-lost', code: 'TIMED_OUT' });
  });

  it('gives up a target that has been tried often enough, and at once one that cannot heal by itself', async () => {
    bench.faults.set('b', 'HSM_UNAVAILABLE');
    bench.attempts = 3;
    expect((await rejection(bench.failover('issue-epoch'))).code).toBe('HSM_UNAVAILABLE');
    bench.attempts = 4;
    expect(await bench.failover('issue-epoch')).toEqual({ type: 'target-lost', code: 'HSM_UNAVAILABLE' });
    bench.attempts = 0;
    bench.faults.set('b', 'FILE_UNWRITABLE');
    expect(await bench.failover('issue-epoch')).toEqual({ type: 'target-lost', code: 'FILE_UNWRITABLE' });
  });

  it('is given up where a member knows of a higher epoch or another owner', async () => {
    for (const code of ['EPOCH_STALE', 'EPOCH_CONFLICT'] as const) {
      bench.faults.set('c', code);
      expect((await rejection(bench.failover('issue-epoch'))).code).toBe(code);
    }
  });
});

describe('waiting for the fence', () => {
  /** Where the wait has come to. */
  const wait = (): { over: boolean } => {
    const state = { over: false };
    void bench.failover('await-fence').then(() => {
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

  it('starts anew where the lease was renewed meanwhile', async () => {
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
  it('is ordered under the new epoch', async () => {
    expect(await bench.failover('promote')).toEqual({ type: 'promoted', proved: 7 });
    expect(bench.orders).toMatchObject([
      { site: 'b', method: 'promote', request: { fence: { epoch: 2n, owner: 'b' } } },
    ]);
  });

  it('is tried again where the target is slow, and given to another where it is lost or fails its proof', async () => {
    bench.faults.set('b', 'TIMED_OUT');
    expect((await rejection(bench.failover('promote'))).code).toBe('TIMED_OUT');
    bench.silent.add('b');
    expect(await bench.failover('promote')).toEqual({ type: 'target-lost', code: 'TIMED_OUT' });
    bench.silent.clear();
    bench.faults.set('b', 'OBJECT_UNPROVEN');
    const generation = { epoch: 1n, number: 4n, manifestDigest: digest(4n) };
    const effect = { ...CHOSEN, generation, type: 'promote' } as const;
    expect(await failover(bench.context, INTENT, effect)).toEqual({ type: 'target-lost', code: 'OBJECT_UNPROVEN' });
    // It has acknowledged nothing any more.
    expect(database.story.at(-1)).toBe('withdraw 4 b');
    bench.faults.set('b', 'EPOCH_STALE');
    expect((await rejection(bench.failover('promote'))).code).toBe('EPOCH_STALE');
  });

  it('is published with the time since the outage began', async () => {
    database.group = { ...database.group, highestEpoch: 2n, highestOwner: 'b' };
    await bench.clock.advance(1_000);
    const published = await bench.failover('publish');
    expect(published).toEqual({ type: 'published', recoveryTimeMs: bench.clock.wallMs() });
    expect(database.story).toEqual(['activate 2 b', 'refresh']);
  });

  it('is not put in force once a higher epoch was issued', async () => {
    database.group = { ...database.group, highestEpoch: 3n, highestOwner: 'c' };
    expect((await rejection(bench.failover('publish'))).code).toBe('EPOCH_STALE');
    expect(database.story).toEqual([]);
  });
});

it('captures nothing in a group without an active member', async () => {
  database.group = {
    ...database.group,
    members: database.group.members.map((member) => ({ ...member, role: 'standby' })),
  };
  expect((await rejection(capture(bench.context, { ...INTENT, site: 'a' }))).code).toBe('ROLE_REFUSED');
  expect(bench.orders).toEqual([]);
});
