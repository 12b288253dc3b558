import {
  type CallContext,
  type CoordinatorReportSchema,
  type CoordinatorService,
  GetLeaderRequestSchema,
  type Handlers,
  HeartbeatRequestSchema,
  type IdentityKind,
  type KnownCoordinatorSchema,
  MemberRole,
} from '@antipode/protocol';
import { AntipodeError, silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import { CoordinatorBook } from '../../sites/coordinator-book.ts';
import { Detector } from '../../sites/detector.ts';
import { ForgottenSites } from '../../sites/forgotten.ts';
import { JournalBook } from '../../sites/journals.ts';
import { LeaseBook } from '../../sites/leases.ts';
import { type ApprovalRecord, readApprovalUses } from '../../store/tables/approvals.ts';
import type { Acknowledged } from '../../store/tables/generations.ts';
import type { FormerSeat } from '../../store/tables/membership.ts';
import { type RefusedRecord, readRefused } from '../../store/tables/refused.ts';
import { forgetSite, readmitSite } from '../../store/tables/sites/forgotten-sites.ts';
import { readPlace, readSites } from '../../store/tables/sites/sites.ts';
import { testDatabase } from '../../testing/database.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { FakeLeadership, FIRST_EPOCH } from '../../testing/leader.ts';
import { PROFILES } from '../../timings.ts';
import { coordinatorHandlers } from './heartbeat.ts';

const TIMINGS = PROFILES.default;

const database = testDatabase();
beforeEach(async () => {
  await database.rows.group();
});

/** A coordinator that hears one group. */
class Bench {
  readonly clock = new FakeClock();
  readonly leadership = new FakeLeadership();
  isDatabaseUp = true;
  /** The changes of state that were made. */
  writes = 0;
  needed: string[] | undefined;
  acknowledged: Acknowledged[] | undefined;
  readonly leases = new LeaseBook({
    clock: this.clock,
    leaseMs: TIMINGS.leaseMs,
    slowestClock: () => this.detector.slowestClock,
  });
  readonly detector = new Detector({
    clock: this.clock,
    log: silentLog,
    timings: TIMINGS,
    loopDelayMs: () => 0,
    probe: async () => undefined,
  });
  readonly coordinators = new CoordinatorBook();
  readonly forgotten = new ForgottenSites({ clock: this.clock });
  readonly reconnected: string[] = [];
  readonly former: FormerSeat[] = [];
  readonly releases: ApprovalRecord[] = [];
  readonly #handlers: Handlers<typeof CoordinatorService>;

  /** As it was read last. */
  group: Group;
  duringWrite = (): void => {};

  constructor(change: Partial<Group>) {
    this.group = { ...groupOf(SPEC), vouchers: ['b', 'c'], ...change };
    const groups = (): Group[] => [this.group];
    this.#handlers = coordinatorHandlers({
      id: 'main',
      timings: TIMINGS,
      clock: this.clock,
      detector: this.detector,
      coordinators: this.coordinators,
      forgotten: this.forgotten,
      agents: { reconnect: (site) => void this.reconnected.push(site) },
      journals: new JournalBook(database),
      leases: this.leases,
      cache: {
        refresh: async () => {},
        get all() {
          return groups();
        },
        former: this.former,
        releases: this.releases,
        needed: () => this.needed,
        acknowledged: () => this.acknowledged,
        deleted: ['of yesterday', 'payments', 'odd'],
        unreadable: ['odd'],
      },
      store: {
        write: async (epoch, work) => {
          if (!this.isDatabaseUp) throw new AntipodeError('DATABASE_UNAVAILABLE', 'away');
          const made = await database.store.write(epoch, work);
          this.duringWrite();
          this.writes += 1;
          return made;
        },
      },
      election: this.leadership,
      clockId: 'ours',
    });
  }

  /** The objects that a member could not restore, as they are on record. */
  async refused(site: string): Promise<RefusedRecord | undefined> {
    // A heartbeat does not wait for that record.
    await this.clock.advance(0);
    const all = await database.store.query((db) => readRefused(db, SPEC.name));
    return all.find((one) => one.site === site);
  }

  heartbeat(
    site: string,
    {
      as = site,
      epoch = 1n,
      address = `${site}:1`,
      module = 'm.so',
      errorCode = '',
      journal = '',
      instance = site,
      run = journal,
      place = '',
      places = [],
      clockRate,
      refusals = [],
      groupsWithoutSeat = [],
      term = 0n,
      termHolder = '',
      beat = 0n,
      writes = 1n,
      uses = [],
      coordinators = [],
      ...vouching
    }: Partial<Record<'as' | 'address' | 'module' | 'errorCode' | 'journal' | 'instance' | 'run' | 'place', string>> & {
      epoch?: bigint;
      refusals?: readonly string[];
      /** Of the run before and of the one under way. */
      places?: readonly [string, string] | readonly [];
      clockRate?: { clockId: string; low: number; high: number };
      groupsWithoutSeat?: string[];
      term?: bigint;
      termHolder?: string;
      beat?: bigint;
      /** Of the journal, in each of its runs. */
      writes?: bigint;
      uses?: readonly string[];
      coordinators?: MessageInitShape<typeof CoordinatorReportSchema>[];
      vouchees?: { group: string; epoch: bigint; site: string; run: string }[];
      vouchSilentMs?: bigint;
      vouchedGroups?: string[];
    } = {},
  ) {
    const members = [
      {
        group: 'payments',
        serial: `serial-${site}`,
        role: MemberRole.ACTIVE,
        epoch,
        refused: refusals.map((objectId) => ({ objectId, kind: 'private-key/ec', code: 'HSM_REFUSED' })),
        refusedObjects: refusals.length,
      },
    ];
    const partitions = [
      { serial: `serial-${site}`, name: 'main', module, tokenLabel: 'main-token', errorCode },
      { serial: `scratch-${site}`, name: 'scratch', isScratch: true },
    ];
    const runs = [...new Set([journal, run])].map((token, at) => ({ token, writes, place: places[at] ?? place }));
    const context: CallContext = {
      identity: { trustDomain: 'd', kind: 'site', name: as },
      signal: new AbortController().signal,
    };
    return this.#handlers.heartbeat(
      create(HeartbeatRequestSchema, {
        state: {
          site,
          instance,
          members,
          partitions,
          approvalUses: uses.map((digest) => ({
            digest,
            group: 'payments',
            action: 'failover',
            approvedBy: ['bob'],
            usedMs: BigInt(this.clock.wallMs()),
          })),
          ...(journal === '' ? {} : { journal: { id: journal, runs } }),
        },
        address,
        groupsWithoutSeat,
        ...(clockRate === undefined ? {} : { clockRate }),
        term,
        termHolder,
        beat,
        coordinators,
        ...vouching,
      }),
      context,
    );
  }

  /** Asks whether it leads, and says which coordinators the caller knows. */
  getLeader(kind: IdentityKind, coordinators: MessageInitShape<typeof KnownCoordinatorSchema>[]) {
    const identity = { trustDomain: 'd', kind, name: 'a' };
    const context: CallContext = { identity, signal: new AbortController().signal };
    return this.#handlers.getLeader(create(GetLeaderRequestSchema, { coordinators }), context);
  }
}

it('learns from sites where the coordinators are, and keeps the last report of each', async () => {
  const bench = new Bench({});
  await bench.getLeader('site', [{ coordinator: 'main', address: 'm:1' }]);
  await bench.getLeader('operator', [{ coordinator: 'south', address: 'elsewhere:1' }]);
  const addresses = () => ['main', 'south'].map((name) => bench.coordinators.addressOf(name));
  expect(addresses()).toEqual(['m:1', undefined]);
  const south = { coordinator: 'south', address: 's:1', reached: true };
  await bench.heartbeat('a', { coordinators: [south, { coordinator: 'main', address: 'no address' }] });
  await bench.heartbeat('a', { coordinators: [{ ...south, reached: false }] });
  expect(addresses()).toEqual(['m:1', 's:1']);
  expect(bench.coordinators.reports).toMatchObject([{ site: 'a', coordinators: [{ ...south, reached: false }] }]);
});

it('connects again to a site that it hears after a silence, and not at every heartbeat', async () => {
  const bench = new Bench({});
  await bench.heartbeat('a');
  await bench.heartbeat('a');
  expect(bench.reconnected).toEqual(['a']);
  await bench.clock.advance(TIMINGS.suspectMs + 1);
  await bench.detector.pass();
  await bench.heartbeat('a');
  expect(bench.reconnected).toEqual(['a', 'a']);
});

it('refuses a forgotten site before anything is taken from it, and writes its row again when it is back', async () => {
  const bench = new Bench({});
  await bench.heartbeat('b');
  const record = { site: 'b', operator: 'alice', atMs: 0, address: '' };
  bench.forgotten.add(record);
  bench.detector.forget('b');
  await database.rows.write((trx) => forgetSite(trx, record));
  expect((await rejection(bench.heartbeat('b'))).code).toBe('SITE_FORGOTTEN');
  expect(bench.detector.view('b')).toBeUndefined();
  await database.rows.write((trx) => readmitSite(trx, 'b'));
  bench.forgotten.remove('b');
  await bench.heartbeat('b');
  expect((await database.store.query(readSites)).map(({ site }) => site)).toContain('b');
});

it('takes no more coordinators from a site than anybody runs', async () => {
  const bench = new Bench({});
  const many = Array.from({ length: 40 }, (_, at) => ({ coordinator: `c${at}`, address: `c${at}:1` }));
  await bench.heartbeat('a', { coordinators: many });
  await bench.heartbeat('b', { coordinators: many.toReversed() });
  expect(bench.coordinators.reports.map(({ coordinators }) => coordinators.length)).toEqual([16, 0]);
  expect(bench.coordinators.addressOf('c16')).toBeUndefined();
});

it('records each approval that a site has used, once, with an event', async () => {
  const bench = new Bench({});
  const recorded = async () => {
    await bench.clock.advance(0);
    return (await database.store.query((db) => readApprovalUses(db, {}))).map(
      ({ site, digest }) => `${site} ${digest}`,
    );
  };
  await bench.heartbeat('b', { uses: ['d1'] });
  await bench.heartbeat('b', { uses: ['d1'] });
  expect(await recorded()).toEqual(['b d1']);
  await bench.heartbeat('b', { uses: ['d2', 'd1'] });
  await bench.heartbeat('c', { uses: ['d1'] });
  expect((await recorded()).sort()).toEqual(['b d1', 'b d2', 'c d1']);
  expect((await database.rows.events()).filter((kind) => kind === 'approval-used')).toHaveLength(3);
});

describe('a site that was removed', () => {
  const removed = (epoch: bigint, members = SPEC.members.slice(0, 2)): Bench => {
    const bench = new Bench({ members: groupOf({ ...SPEC, members }).members });
    bench.former.push({ group: 'payments', site: 'c', serial: 'serial-c', epoch, owner: 'a', deleted: false });
    return bench;
  };

  it('learns it for as long as its agent reports the seat, and nobody else does', async () => {
    const bench = removed(3n);
    const { released, epochs, leases } = await bench.heartbeat('c', { epoch: 2n });
    expect(released).toMatchObject([{ group: 'payments', serial: 'serial-c', epoch: 3n, owner: 'a' }]);
    expect([epochs, leases]).toEqual([[], []]);
    expect((await bench.heartbeat('b')).released).toEqual([]);
  });

  it('gets the approvals of that group with it, since its agent may guard the seat', async () => {
    const bench = removed(3n);
    const approval = {
      digest: 'd',
      action: 'release',
      request: '{}',
      signatures: [{ operator: 'bob', signature: new Uint8Array(64) }],
      submittedBy: 'alice',
      submittedMs: 0,
      expiresMs: 1,
    };
    bench.releases.push({ ...approval, group: 'payments' }, { ...approval, group: 'other' });
    const { released } = await bench.heartbeat('c', { epoch: 2n });
    expect(released).toMatchObject([{ approvals: { operationId: 'release payments serial-c 3' } }]);
    expect(released![0]!.approvals?.approvals).toHaveLength(1);
  });

  it('keeps a seat of a later epoch, and one that it has again', async () => {
    expect((await removed(3n).heartbeat('c', { epoch: 4n })).released).toEqual([]);
    expect((await removed(3n, [...SPEC.members]).heartbeat('c')).released).toEqual([]);
  });

  it('gives up its seat of a deleted group although a new one of the name has a seat for it', async () => {
    const bench = new Bench({ epoch: 4n, highestEpoch: 4n, firstEpoch: 4n });
    bench.former.push({ group: 'payments', site: 'c', serial: 'serial-c', epoch: 3n, owner: 'a', deleted: true });
    expect((await bench.heartbeat('c', { epoch: 3n })).released).toMatchObject([{ epoch: 3n, deleted: true }]);
    expect((await bench.heartbeat('c', { epoch: 4n })).released).toEqual([]);
  });

  it('learns nothing from a database that does not know of the removal', async () => {
    const bench = new Bench({ members: groupOf(SPEC).members.slice(0, 2) });
    expect((await bench.heartbeat('c')).released).toEqual([]);
  });
});

describe('a site that joins', () => {
  it('learns the epoch in force, and gets no lease', async () => {
    const bench = new Bench({ joining: [{ site: 'd', serial: 'serial-d' }] });
    const { epochs, leases, released } = await bench.heartbeat('d');
    expect([epochs?.map(({ epoch }) => epoch), leases, released]).toEqual([[1n], [], []]);
  });
});

describe('a heartbeat', () => {
  const withGroup = (change: Partial<Group> = {}): Bench => new Bench(change);

  it('renews the lease of the active member, and of nobody else', async () => {
    const bench = withGroup();
    await bench.clock.advance(TIMINGS.leaseMs * 2);
    expect((await bench.heartbeat('b')).leases).toEqual([]);
    expect(bench.leases.remainingMs('payments')).toBe(0);
    const { leases, intervalMs } = await bench.heartbeat('a');
    expect(leases).toEqual([
      {
        group: 'payments',
        epoch: 1n,
        leaseMs: BigInt(TIMINGS.leaseMs),
        selfStopMs: BigInt(TIMINGS.selfStopMs),
        vouchers: [
          { site: 'b', address: 'b:1' },
          { site: 'c', address: '' },
        ],
      },
    ]);
    expect(intervalMs).toBe(TIMINGS.heartbeatMs);
    expect(bench.leases.remainingMs('payments')).toBeGreaterThan(TIMINGS.leaseMs);
  });

  it('renews no lease where an epoch was issued while it waited for the database', async () => {
    const bench = withGroup();
    bench.duringWrite = () => {
      bench.group = { ...bench.group, highestEpoch: 2n, highestOwner: 'b' };
    };
    const { leases, epochs, vouchees } = await bench.heartbeat('a');
    expect([leases, vouchees, epochs]).toEqual([[], [], [expect.objectContaining({ epoch: 2n, owner: 'b' })]]);
  });

  it('leaves what a member could not restore on record, once for each change, and no trouble with that stops it', async () => {
    const bench = withGroup();
    const writes: number[] = [];
    for (const refusals of [[], ['a1'], ['a1'], ['a1', 'b2'], []]) {
      await bench.heartbeat('b', { refusals });
      expect(await bench.refused('b')).toMatchObject({ site: 'b', objects: refusals.length });
      writes.push(bench.writes);
    }
    // The first one writes down the site too.
    expect(writes).toEqual([2, 3, 3, 4, 5]);
    bench.isDatabaseUp = false;
    await bench.heartbeat('b', { refusals: ['c3'] });
    await bench.clock.advance(0);
    bench.isDatabaseUp = true;
    await bench.heartbeat('b', { refusals: ['c3'] });
    expect(await bench.refused('b')).toMatchObject({ objects: 1, refused: [{ objectId: 'c3' }] });
  });

  it('says which generations must stay in the store, once the group was looked at', async () => {
    const bench = withGroup();
    expect((await bench.heartbeat('a')).needed).toEqual([]);
    bench.needed = ['ab', 'cd'];
    expect((await bench.heartbeat('a')).needed).toEqual([
      {
        group: 'payments',
        manifestDigests: [Buffer.from('ab', 'hex'), Buffer.from('cd', 'hex')].map((one) => new Uint8Array(one)),
      },
    ]);
    expect((await bench.heartbeat('elsewhere')).needed).toEqual([]);
  });

  it('says what the members have acknowledged, once the group was looked at', async () => {
    const bench = withGroup();
    expect((await bench.heartbeat('a')).acknowledged).toEqual([]);
    bench.acknowledged = [];
    expect((await bench.heartbeat('a')).acknowledged).toMatchObject([
      { group: 'payments', members: [{ site: 'a', isKnown: true }, { site: 'b' }, { site: 'c' }] },
    ]);
    expect((await bench.heartbeat('elsewhere')).acknowledged).toEqual([]);
  });

  it('says which groups were deleted or left the site, and nothing of those that it does not know or cannot read', async () => {
    const bench = new Bench({ spec: { ...SPEC, scratch: [{ site: 'd', serial: 'scratch-d' }] } });
    const groupsWithoutSeat = ['payments', 'of yesterday', 'odd', 'unheard of'];
    expect((await bench.heartbeat('d', { groupsWithoutSeat })).forgotten).toEqual(['of yesterday']);
    expect((await bench.heartbeat('e', { groupsWithoutSeat })).forgotten).toEqual(['payments', 'of yesterday']);
  });

  it('says so too to a site that has only a scratch partition of the group', async () => {
    const bench = new Bench({ spec: { ...SPEC, scratch: [{ site: 'd', serial: 'scratch-d' }] } });
    bench.needed = ['ab'];
    const { needed, epochs } = await bench.heartbeat('d');
    expect([needed?.map(({ group }) => group), epochs]).toEqual([['payments'], []]);
  });

  it('says where clients must go, once the active site was heard, also to a site with only a scratch partition', async () => {
    const bench = new Bench({ spec: { ...SPEC, scratch: [{ site: 'd', serial: 'scratch-d' }] } });
    expect((await bench.heartbeat('b')).places).toEqual([]);
    await bench.heartbeat('a', { errorCode: 'HSM_BUSY' });
    const place = {
      group: 'payments',
      site: 'a',
      module: 'm.so',
      tokenLabel: 'main-token',
      serial: 'serial-a',
      epoch: 1n,
      siteState: 'up',
      partitionErrorCode: 'HSM_BUSY',
    };
    for (const site of ['b', 'd']) expect((await bench.heartbeat(site)).places).toMatchObject([place]);
    expect((await bench.heartbeat('elsewhere')).places).toEqual([]);
  });

  it.each([
    ['a failover is under way', { highestEpoch: 2n, highestOwner: 'b' }],
    ['there is no active member', { members: [] as Group['members'] }],
  ])('says that nobody serves the clients when %s', async (_why, change) => {
    const bench = new Bench({ ...change, spec: { ...SPEC, scratch: [{ site: 'd', serial: 'scratch-d' }] } });
    await bench.heartbeat('a');
    expect((await bench.heartbeat('d')).places).toMatchObject([{ group: 'payments', site: '', epoch: 1n }]);
  });

  it('says that nobody serves the clients when a journal knows an epoch that the database does not', async () => {
    const bench = withGroup();
    await bench.heartbeat('a');
    await bench.heartbeat('c', { epoch: 7n });
    expect((await bench.heartbeat('b')).places).toMatchObject([{ site: '' }]);
  });

  describe('with sites that may vouch', () => {
    const vouchees = async (bench: Bench, site = 'b') => (await bench.heartbeat(site)).vouchees;
    const grantedTo = async (bench: Bench): Promise<string[][]> => {
      const { leases } = await bench.heartbeat('a', { journal: 'j', run: 'r' });
      return leases?.map(({ vouchers = [] }) => vouchers.map(({ site = '' }) => site)) ?? [];
    };

    it('names the process of the active member to each of them, and to nobody else', async () => {
      const bench = withGroup();
      expect(await vouchees(bench)).toEqual([]);
      await bench.heartbeat('a', { journal: 'j', run: 'r' });
      const named = [{ group: 'payments', epoch: 1n, site: 'a', run: 'r' }];
      expect([await vouchees(bench, 'b'), await vouchees(bench, 'c')]).toEqual([named, named]);
      expect((await bench.heartbeat('a', { journal: 'j', run: 'r' })).vouchees).toEqual([]);
    });

    it.each<[string, Partial<Group>]>([
      ['a failover is under way', { highestEpoch: 2n, highestOwner: 'b' }],
      ['other sites vote by now', { vouchers: ['b'] }],
      ['none were named', { vouchers: undefined as never }],
    ])('names nobody when %s', async (_why, change) => {
      const bench = withGroup(change);
      await bench.heartbeat('a', { journal: 'j', run: 'r' });
      expect(await vouchees(bench)).toEqual([]);
    });

    it('lets the voters of this moment vouch once the active member knows no others, and once that is durable', async () => {
      const bench = withGroup({ vouchers: ['b', 'x'] });
      const onRecord = async () => (await database.rows.readGroup()).vouchers;
      // It may still ask b and x.
      await bench.heartbeat('a', { journal: 'j', run: 'r', vouchedGroups: ['payments'] });
      await bench.clock.advance(0);
      expect(await onRecord()).toBeUndefined();
      expect(await grantedTo(bench)).toEqual([[]]);
      await bench.clock.advance(0);
      expect(await onRecord()).toEqual(['b', 'c']);
    });

    it('admits no other process of the active site while one of them is not known to have dropped the one before', async () => {
      const bench = withGroup();
      const copy = () => bench.heartbeat('a', { instance: 'copy', journal: 'j', run: 's' });
      const bound = [{ group: 'payments', epoch: 1n, site: 'a', run: 'r' }];
      await bench.heartbeat('a', { journal: 'j', run: 'r' });
      await bench.clock.advance(TIMINGS.leaseMs * 2);
      // c is only silent about what it may have said.
      expect(await vouchees(bench, 'c')).toEqual(bound);
      await bench.detector.pass();
      expect((await rejection(copy())).code).toBe('ALREADY_EXISTS');
      // While it asks, and the one before is silent, nobody may vouch for that one any more.
      expect(await vouchees(bench, 'c')).toEqual([]);
      // Then b says that it would still vouch; then that it would not, and has a moment ago.
      await bench.heartbeat('b', { vouchees: bound, vouchSilentMs: 60_000n });
      expect((await rejection(copy())).code).toBe('ALREADY_EXISTS');
      await bench.heartbeat('b', { vouchSilentMs: 3_000n });
      expect((await rejection(copy())).code).toBe('ALREADY_EXISTS');
      await bench.heartbeat('b', { vouchSilentMs: 6_000n });
      await copy();
      expect(bench.detector.view('a')?.instance).toBe('copy');
    });
  });

  it('says where the other members are, the active one first, also of one that has not announced itself', async () => {
    const bench = withGroup();
    await bench.heartbeat('a');
    expect((await bench.heartbeat('b')).peers).toEqual([
      {
        group: 'payments',
        sites: [
          { site: 'a', address: 'a:1' },
          { site: 'c', address: '' },
        ],
      },
    ]);
  });

  it('tells a site whose journal is another one that it is in quarantine, and renews no lease of it', async () => {
    const bench = withGroup();
    await bench.clock.advance(TIMINGS.leaseMs * 2);
    expect(await bench.heartbeat('a', { journal: 'j' })).toMatchObject({ quarantined: [], leases: [{}] });
    const { leases, quarantined } = await bench.heartbeat('a', { journal: 'k' });
    expect(leases).toEqual([]);
    expect(quarantined).toMatchObject([{ group: 'payments', reason: expect.stringContaining('lost or replaced') }]);
    expect(bench.detector.view('a')?.state?.journal?.quarantined).toHaveLength(1);
  });

  it('takes nothing from a heartbeat that arrives after a later one of the same process', async () => {
    const bench = withGroup();
    await bench.heartbeat('a', { journal: 'j', writes: 27n, beat: 7n, module: 'new.so' });
    // The same one may arrive twice.
    await bench.heartbeat('a', { journal: 'j', writes: 27n, beat: 7n, module: 'new.so' });
    const late = await rejection(bench.heartbeat('a', { journal: 'j', writes: 26n, beat: 6n, module: 'old.so' }));
    expect(late.code).toBe('HEARTBEAT_LATE');
    expect(bench.detector.view('a')?.state?.partitions[0]?.module).toBe('new.so');
    const next = await bench.heartbeat('a', { journal: 'j', writes: 28n, beat: 8n });
    expect(next).toMatchObject({ quarantined: [], leases: [{}] });
  });

  it('knows an older copy of a journal by the heartbeats that follow', async () => {
    const bench = withGroup();
    await bench.heartbeat('a', { journal: 'j', writes: 27n, beat: 7n });
    expect((await bench.heartbeat('a', { journal: 'j', writes: 26n, beat: 8n })).quarantined).toHaveLength(1);
  });

  it('counts the heartbeats of a new process from their beginning', async () => {
    const bench = withGroup();
    await bench.heartbeat('a', { journal: 'j', beat: 7n, place: 'p', places: ['p', 'p'] });
    const again = { journal: 'j', run: 'k', instance: 'a2', beat: 1n, places: ['p', 'p'] } as const;
    expect(await bench.heartbeat('a', again)).toMatchObject({ quarantined: [] });
  });

  it.each([
    ['a failover has issued a higher epoch', { highestEpoch: 2n, highestOwner: 'b' }, 1n],
    ['the epoch belongs to another site', { owner: 'b' }, 1n],
    ['its agent is still in an earlier epoch', { epoch: 2n, highestEpoch: 2n }, 1n],
    [
      'another member is active',
      { members: groupOf(SPEC).members.map((one) => ({ ...one, role: 'standby' as const })) },
      1n,
    ],
  ])('renews nothing once %s', async (_once, change, epoch) => {
    const bench = withGroup(change);
    await bench.clock.advance(TIMINGS.leaseMs * 2);
    expect((await bench.heartbeat('a', { epoch })).leases).toEqual([]);
    expect(bench.leases.remainingMs('payments')).toBe(0);
  });

  it('of a copy of the site, which is refused, does not count against the journal of the site', async () => {
    const bench = withGroup();
    await bench.heartbeat('a', { journal: 'j' });
    const refused = await rejection(bench.heartbeat('a', { journal: 'j', run: 'of the copy', instance: 'copy' }));
    expect(refused).toMatchObject({ code: 'ALREADY_EXISTS' });
    expect(await bench.heartbeat('a', { journal: 'j' })).toMatchObject({ quarantined: [], leases: [{}] });
  });

  it('of a copied folder is refused while the paused original may hold its lease, and taken afterwards', async () => {
    const bench = withGroup({ vouchers: [] });
    await bench.heartbeat('a', { journal: 'j', place: 'here' });
    const copy = () =>
      bench.heartbeat('a', { journal: 'j', run: 'of the copy', instance: 'copy', places: ['here', 'there'] });
    await bench.clock.advance(TIMINGS.heartbeatMs * 3);
    expect((await rejection(copy())).code).toBe('ALREADY_EXISTS');
    expect(await bench.heartbeat('a', { journal: 'j', place: 'here' })).toMatchObject({ leases: [{}] });
    await bench.clock.advance(TIMINGS.leaseMs);
    expect((await rejection(copy())).code).toBe('ALREADY_EXISTS');
    await bench.clock.advance(TIMINGS.leaseMs * 0.05);
    expect(await copy()).toMatchObject({ leases: [{}] });
    // The original wakes: its own lease has lapsed, and nothing is taken from it.
    expect((await rejection(bench.heartbeat('a', { journal: 'j', place: 'here' }))).code).toBe('ALREADY_EXISTS');
  });

  it('of a restarted agent is taken at once: it holds the lock of the process before', async () => {
    const bench = withGroup();
    await bench.heartbeat('a', { journal: 'j', place: 'here' });
    const again = { journal: 'j', run: 'next', instance: 'next', places: ['here', 'here'] as const };
    expect(await bench.heartbeat('a', again)).toMatchObject({ leases: [{}] });
  });

  it.each([
    ['certainly slower', { low: 0.4, high: 0.6 }, 0, 1 / 0.4],
    ['perhaps slower', { low: 0.4, high: 1.1 }, 1, 1],
    ['faster', { low: 1.4, high: 1.6 }, 1, 1],
  ])('of a clock that is %s than ours: %o', async (_what, bounds, leases, stretch) => {
    const bench = withGroup();
    const { clock } = await bench.heartbeat('a');
    await bench.heartbeat('a', { clockRate: { ...bounds, clockId: 'of another coordinator' } });
    const ordinaryMs = bench.leases.remainingMs('payments');
    const answer = await bench.heartbeat('a', { clockRate: { ...bounds, clockId: clock!.id! } });
    expect(answer.leases).toHaveLength(leases);
    expect(bench.leases.remainingMs('payments')).toBeCloseTo(ordinaryMs * stretch);
  });

  it('tells every member of the highest epoch and its owner', async () => {
    const bench = withGroup({ highestEpoch: 2n, highestOwner: 'b' });
    const fence = { group: 'payments', epoch: 2n, owner: 'b', requestId: 'heartbeat' };
    for (const site of ['a', 'b', 'c']) expect((await bench.heartbeat(site)).epochs).toEqual([fence]);
    expect((await bench.heartbeat('z')).epochs).toEqual([]);
  });

  it('of one site is not taken from another, and changes nothing', async () => {
    const bench = withGroup();
    expect((await rejection(bench.heartbeat('a', { as: 'b' }))).code).toBe('PEER_REFUSED');
    expect(bench.detector.view('a')).toBeUndefined();
  });

  it('is not taken by a coordinator that does not lead', async () => {
    const bench = withGroup();
    bench.leadership.epoch = undefined;
    expect((await rejection(bench.heartbeat('a'))).code).toBe('NOT_LEADER');
    expect(bench.detector.view('a')).toBeUndefined();
  });

  it('is answered in the term of the leader', async () => {
    const bench = withGroup();
    expect(await bench.heartbeat('a')).toMatchObject({ term: FIRST_EPOCH, coordinator: 'main' });
  });

  it.each([
    [FIRST_EPOCH + 1n, 'main'],
    [FIRST_EPOCH + 1n, 'south'],
    [FIRST_EPOCH, 'south'],
  ])(
    'of a site that has heard term %s of %s has the leader begin a later one, and renews nothing',
    async (term, termHolder) => {
      const bench = withGroup();
      expect((await rejection(bench.heartbeat('a', { term, termHolder }))).code).toBe('NOT_LEADER');
      expect(bench.leadership.outrunTerms).toEqual([term]);
      expect(bench.detector.view('a')).toBeUndefined();
    },
  );

  it('of a site that claims a term that no election comes to is refused', async () => {
    const bench = withGroup();
    const refused = await rejection(bench.heartbeat('a', { term: 2n ** 62n, termHolder: 'main' }));
    expect([refused.code, bench.leadership.outrunTerms]).toEqual(['REQUEST_INVALID', []]);
  });

  it('is written down when its address or its partitions are new, for whoever asks after a restart', async () => {
    const bench = withGroup();
    await bench.heartbeat('a');
    await bench.heartbeat('a');
    const places = [
      { serial: 'serial-a', module: 'm.so', tokenLabel: 'main-token' },
      { serial: 'scratch-a', module: '', tokenLabel: '' },
    ];
    const place = (serial: string) => database.store.query((db) => readPlace(db, { site: 'a', serial }));
    expect([await place('serial-a'), await place('scratch-a')]).toEqual(places);
    expect(await database.store.query(readSites)).toEqual([{ site: 'a', address: 'a:1' }]);
    const { writes } = bench;
    await bench.heartbeat('a', { address: 'elsewhere:1' });
    expect(await database.store.query(readSites)).toEqual([{ site: 'a', address: 'elsewhere:1' }]);
    await bench.heartbeat('a', { address: 'elsewhere:1', module: 'other.so' });
    expect(await place('serial-a')).toMatchObject({ module: 'other.so' });
    await bench.heartbeat('a', { address: 'elsewhere:1', module: 'other.so', errorCode: 'PIN_REFUSED' });
    expect(bench.writes).toBe(writes + 2);
  });

  it('is written down with the next one where the database was away', async () => {
    const bench = withGroup();
    bench.isDatabaseUp = false;
    expect((await rejection(bench.heartbeat('a'))).code).toBe('DATABASE_UNAVAILABLE');
    expect(bench.detector.isUp('a')).toBe(true);
    bench.isDatabaseUp = true;
    await bench.heartbeat('a');
    expect(await database.store.query(readSites)).toHaveLength(1);
  });

  it.each(['', 'a', 'a:', ':1', 'a:port', 'a:123456', 'a b:1', 'a:1:2', 'http://a:1'])(
    'is refused where its address is "%s", and changes nothing',
    async (address) => {
      const bench = withGroup();
      const error = await rejection(bench.heartbeat('a', { address }));
      expect([error.code, error.details['field']]).toEqual(['REQUEST_INVALID', 'address']);
      expect([bench.detector.view('a'), bench.writes]).toEqual([undefined, 0]);
    },
  );
});
