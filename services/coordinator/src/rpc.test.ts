import {
  type CallContext,
  CreateGroupRequestSchema,
  FailoverPolicy,
  FailoverRequestSchema,
  type GroupSpecSchema,
  HeartbeatRequestSchema,
  MemberRole,
  ReplicateRequestSchema,
  RunDrillRequestSchema,
} from '@antipode/protocol';
import { AntipodeError, silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it, vi } from 'vitest';
import { Changes } from './changes.ts';
import { Detector } from './detector.ts';
import { LeaseBook } from './leases.ts';
import type { Group, GroupSpec } from './model.ts';
import type { Planned } from './planner.ts';
import { coordinatorHandlers, operatorHandlers, type RpcPorts } from './rpc.ts';
import { PROFILES } from './timings.ts';

/** The database, in memory: groups, and what each site has acknowledged. */
const database = vi.hoisted(() => ({
  groups: [] as Group[],
  acknowledged: [] as object[],
  newest: undefined as unknown,
}));
vi.mock(import('./store/groups.ts'), () => ({
  readGroups: async () => database.groups,
  readGroup: async (_db: unknown, name: string) => {
    const group = database.groups.find(({ spec }) => spec.name === name);
    if (group === undefined) throw new AntipodeError('NOT_FOUND', 'no such group');
    return group;
  },
  insertGroup: async (_trx: unknown, spec: GroupSpec) => {
    database.groups.push(groupOf(spec));
  },
}));
vi.mock(import('./store/generations.ts'), () => ({
  readNewest: async () => database.newest as never,
  readAcknowledged: async () => database.acknowledged as never,
}));
vi.mock(import('./store/drills.ts'), () => ({ readDrills: async () => [], readLastPassed: async () => undefined }));

const TIMINGS = PROFILES.default;

function groupOf(spec: GroupSpec): Group {
  return {
    spec,
    members: spec.members.map((seat, at) => ({ ...seat, role: at === 0 ? 'active' : 'standby', divergent: 0 })),
    epoch: 1n,
    owner: spec.members[0]!.site,
    highestEpoch: 1n,
    highestOwner: spec.members[0]!.site,
    domainKeyVersion: 0,
    highestVersion: 0,
    recoveryTimeMs: undefined,
  };
}
const SPEC: GroupSpec = {
  name: 'payments',
  members: ['a', 'b', 'c'].map((site) => ({ site, serial: `serial-${site}` })),
  scratch: [{ site: 'c', serial: 'scratch-c' }],
  filter: { excludeIds: [], excludeLabels: [], excludeClasses: [] },
  rpoMs: 300_000,
  drillCron: '',
  failoverPolicy: 'automatic',
};

class Bench {
  readonly clock = new FakeClock();
  readonly intended: Planned[] = [];
  readonly addresses: object[] = [];
  epoch: bigint | undefined = 1n;
  readonly detector: Detector;
  readonly leases: LeaseBook;
  readonly ports: RpcPorts;

  constructor() {
    const { clock } = this;
    database.groups = [];
    database.acknowledged = [];
    database.newest = undefined;
    this.detector = new Detector({
      clock,
      log: silentLog,
      timings: TIMINGS,
      loopDelayMs: () => 0,
      probe: async () => undefined,
    });
    this.leases = new LeaseBook({ clock, leaseMs: TIMINGS.leaseMs });
    const writing = {
      insertInto: () => ({
        values: (row: object) => {
          this.addresses.push(row);
          return { onConflict: () => ({ execute: async () => [] }) };
        },
      }),
    };
    this.ports = {
      id: 'main',
      clock,
      timings: TIMINGS,
      detector: this.detector,
      leases: this.leases,
      changes: new Changes(),
      store: {
        query: async (work: (db: unknown) => unknown) => work(undefined),
        write: async (_epoch: bigint, work: (trx: unknown, record: () => void) => unknown) => work(writing, () => {}),
      },
      cache: {
        get all() {
          return database.groups;
        },
        refresh: async () => {},
      },
      election: {
        require: () => {
          if (this.epoch === undefined) throw new AntipodeError('LEADERSHIP_LOST', 'another leads');
          return this.epoch;
        },
      },
      reconciler: {
        intend: async (planned: Planned) => {
          this.intended.push(planned);
          return { id: `intent-${this.intended.length}`, isNew: true };
        },
      },
    } as unknown as RpcPorts;
  }

  heartbeat(site: string, { as = site, epoch = 1n, group = 'payments', address = `${site}:1` } = {}) {
    const members = [{ group, serial: `serial-${site}`, role: MemberRole.ACTIVE, epoch }];
    const partitions = [
      { serial: `serial-${site}`, name: 'main' },
      { serial: `scratch-${site}`, name: 'scratch', isScratch: true },
    ];
    return coordinatorHandlers(this.ports).heartbeat(
      create(HeartbeatRequestSchema, { state: { site, instance: site, members, partitions }, address }),
      { ...CONTEXT, identity: { trustDomain: 'd', kind: 'site', name: as } },
    );
  }

  createGroup(spec: MessageInitShape<typeof GroupSpecSchema> | undefined) {
    const request = create(CreateGroupRequestSchema, spec === undefined ? {} : { spec });
    return operatorHandlers(this.ports).createGroup(request, CONTEXT);
  }
}

const CONTEXT: CallContext = {
  identity: { trustDomain: 'd', kind: 'operator', name: 'alice' },
  signal: new AbortController().signal,
};

describe('a heartbeat', () => {
  const withGroup = (change: Partial<Group> = {}): Bench => {
    const bench = new Bench();
    database.groups = [{ ...groupOf(SPEC), ...change }];
    return bench;
  };

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
      },
    ]);
    expect(intervalMs).toBe(TIMINGS.heartbeatMs);
    expect(bench.leases.remainingMs('payments')).toBeGreaterThan(TIMINGS.leaseMs);
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
    bench.epoch = undefined;
    expect((await rejection(bench.heartbeat('a'))).code).toBe('LEADERSHIP_LOST');
    expect(bench.detector.view('a')).toBeUndefined();
  });

  it('is remembered in the database only when its address is new', async () => {
    const bench = withGroup();
    await bench.heartbeat('a');
    await bench.heartbeat('a');
    await bench.heartbeat('a', { address: 'elsewhere:1' });
    expect(bench.addresses).toMatchObject([{ name: 'a', address: 'a:1' }, { address: 'elsewhere:1' }]);
  });
});

describe('the declaration of a group', () => {
  const message = {
    name: 'payments',
    members: SPEC.members.map((seat) => ({ ...seat })),
    scratch: SPEC.scratch.map((seat) => ({ ...seat })),
    failoverPolicy: FailoverPolicy.AUTOMATIC,
    rpoSeconds: 300,
  };
  const withSites = async (): Promise<Bench> => {
    const bench = new Bench();
    for (const site of ['a', 'b', 'c']) await bench.heartbeat(site);
    return bench;
  };

  it('is taken, and its enrolment is intended; safe to repeat', async () => {
    const bench = await withSites();
    for (const operationId of ['intent-1', 'intent-2']) {
      const answer = await bench.createGroup(message);
      expect(answer).toMatchObject({ operationId, group: { activeSite: 'a', protection: 'unprotected' } });
    }
    expect(database.groups.map(({ spec }) => spec)).toEqual([SPEC]);
    expect(bench.intended.map(({ kind, group }) => [kind, group])).toEqual([
      ['enrolment', 'payments'],
      ['enrolment', 'payments'],
    ]);
  });

  it('has an objective of five minutes where none is said', async () => {
    const bench = await withSites();
    await bench.createGroup({ ...message, rpoSeconds: 0 });
    expect(database.groups[0]?.spec.rpoMs).toBe(300_000);
  });

  it('is not taken twice with different contents', async () => {
    const bench = await withSites();
    await bench.createGroup(message);
    const other = bench.createGroup({ ...message, rpoSeconds: 60 });
    expect((await rejection(other)).code).toBe('ALREADY_EXISTS');
    expect(database.groups.map(({ spec }) => spec.rpoMs)).toEqual([300_000]);
  });

  const [a, b] = message.members;
  it.each([
    ['spec', undefined],
    ['name', { ...message, name: '' }],
    ['name', { ...message, name: 'Payments' }],
    ['name', { ...message, name: 'p'.repeat(64) }],
    ['members', { ...message, members: [] }],
    ['members', { ...message, members: [a!, { ...b!, site: 'a' }], failoverPolicy: FailoverPolicy.MANUAL }],
    ['members', { ...message, members: [a!, b!, { site: 'c', serial: a!.serial }] }],
    ['members', { ...message, members: [a!, b!, { site: 'c', serial: '' }] }],
    ['members', { ...message, scratch: [{ site: 'a', serial: a!.serial }] }],
    ['failover_policy', { ...message, members: [a!, b!] }],
    ['drill_cron', { ...message, drillCron: 'every night' }],
  ])('is refused for its %s before anything is written: %o', async (field, spec) => {
    const bench = await withSites();
    const error = await rejection(bench.createGroup(spec));
    expect(error.code).toBe('REQUEST_INVALID');
    expect(error.details['field']).toBe(field);
    expect([database.groups, bench.intended]).toEqual([[], []]);
  });

  it('of two sites may be moved by hand', async () => {
    const bench = await withSites();
    await bench.createGroup({ ...message, members: [a!, b!], failoverPolicy: FailoverPolicy.MANUAL });
    expect(database.groups[0]?.spec.failoverPolicy).toBe('manual');
  });

  it.each([
    ['NOT_FOUND', { members: [{ site: 'nowhere', serial: 'x' }] }],
    ['NOT_FOUND', { members: [{ site: 'a', serial: 'mistyped' }] }],
    ['SCRATCH_REFUSED', { members: [{ site: 'a', serial: 'scratch-a' }] }],
    ['SCRATCH_REFUSED', { members: [a!], scratch: [{ site: 'b', serial: b!.serial }] }],
  ])('is refused with %s where it does not fit the sites: %o', async (code, seats) => {
    const bench = await withSites();
    const spec = { ...message, scratch: [], failoverPolicy: FailoverPolicy.MANUAL, ...seats };
    expect((await rejection(bench.createGroup(spec))).code).toBe(code);
    expect([database.groups, bench.intended]).toEqual([[], []]);
  });

  it('is not taken by a coordinator that does not lead', async () => {
    const bench = await withSites();
    bench.epoch = undefined;
    expect((await rejection(bench.createGroup(message))).code).toBe('LEADERSHIP_LOST');
  });
});

describe('an order of an operator', () => {
  const ready = (change: Partial<Group> = {}): Bench => {
    const bench = new Bench();
    database.groups = [{ ...groupOf(SPEC), domainKeyVersion: 1, ...change }];
    return bench;
  };

  it('to move to the site that is active is refused', async () => {
    const bench = ready();
    const order = create(FailoverRequestSchema, { group: 'payments', toSite: 'a' });
    expect((await rejection(operatorHandlers(bench.ports).failover(order, CONTEXT))).code).toBe('REQUEST_INVALID');
    expect(bench.intended).toEqual([]);
  });

  it('to move carries what was accepted, and the outage counts from the order', async () => {
    const bench = ready();
    const order = create(FailoverRequestSchema, { group: 'payments', toSite: 'b', acceptLoss: true });
    await operatorHandlers(bench.ports).failover(order, CONTEXT);
    expect(bench.intended).toMatchObject([
      {
        kind: 'failover',
        site: '',
        state: {
          phase: 'requested',
          from: 'a',
          wanted: 'b',
          acceptLoss: true,
          reason: 'operator',
          outageStartedMs: bench.clock.wallMs(),
        },
      },
    ]);
  });

  it('to replicate is refused before there is a domain key', async () => {
    const bench = ready({ domainKeyVersion: 0 });
    const order = create(ReplicateRequestSchema, { group: 'payments' });
    expect((await rejection(operatorHandlers(bench.ports).replicate(order, CONTEXT))).code).toBe('DOMAIN_KEY_MISSING');
    expect(bench.intended).toEqual([]);
  });

  it('to drill takes the newest acknowledged generation, by epoch before number, to a declared scratch partition', async () => {
    const bench = ready();
    database.acknowledged = [
      { site: 'a', epoch: 1n, number: 9n },
      { site: 'b', epoch: 2n, number: 3n },
      { site: 'c', epoch: 2n, number: 2n },
    ];
    database.newest = { epoch: 2n, number: 4n };
    const order = create(RunDrillRequestSchema, { group: 'payments' });
    await operatorHandlers(bench.ports).runDrill(order, CONTEXT);
    expect(bench.intended).toMatchObject([
      { kind: 'drill', site: 'c', state: { phase: 'planned', epoch: 2n, number: 3n, serial: 'scratch-c' } },
    ]);
  });

  it.each([
    ['GENERATION_UNKNOWN', 'payments', ''],
    ['NOT_FOUND', 'payments', 'b'],
    ['NOT_FOUND', 'unknown', ''],
  ])('to drill is refused with %s for group %s at site "%s"', async (code, group, site) => {
    const bench = ready();
    const order = create(RunDrillRequestSchema, { group, site });
    expect((await rejection(operatorHandlers(bench.ports).runDrill(order, CONTEXT))).code).toBe(code);
    expect(bench.intended).toEqual([]);
  });
});
