import {
  CreateGroupRequestSchema,
  FailoverPolicy,
  FailoverRequestSchema,
  GenerationStanding,
  GetGenerationRequestSchema,
  type GroupSpecSchema,
  ListDrillsRequestSchema,
  PlanFailoverRequestSchema,
  ReplicateRequestSchema,
  ResolveRequestSchema,
  RotateDomainKeyRequestSchema,
  RunDrillRequestSchema,
  RunScrubRequestSchema,
} from '@antipode/protocol';
import { type AntipodeError, fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import type { GroupSpec } from '../model.ts';
import { readGroup, readGroups, setRole, useVersion } from '../store/tables/groups.ts';
import { recordSite } from '../store/tables/sites/sites.ts';
import { testDatabase } from '../testing/database.ts';
import { SPEC } from '../testing/group.ts';
import { FIRST_EPOCH } from '../testing/leader.ts';
import { OPERATOR, OperatorBench, TIMINGS } from '../testing/operator-bench.ts';
import type { GroupRow } from '../testing/rows.ts';
import { generation } from '../testing/situation.ts';
import { DATABASE_MS_MAX } from './database-bound.ts';
import { operatorHandlers } from './operator.ts';

const database = testDatabase();
const CONTEXT = OPERATOR;

class Bench extends OperatorBench {
  constructor() {
    super(database);
  }

  createGroup(spec: MessageInitShape<typeof GroupSpecSchema> | undefined) {
    const request = create(CreateGroupRequestSchema, spec === undefined ? {} : { spec });
    return operatorHandlers(this.ports).createGroup(request, CONTEXT);
  }
}

/** The groups on record, as they were declared. */
const declared = async (): Promise<GroupSpec[]> =>
  (await database.store.snapshot((db) => readGroups(db))).map(({ spec }) => spec);

describe('the declaration of a group', () => {
  const message = {
    name: 'payments',
    members: SPEC.members.map((seat) => ({ ...seat })),
    scratch: SPEC.scratch.map((seat) => ({ ...seat })),
    failoverPolicy: FailoverPolicy.AUTOMATIC,
    rpoSeconds: 300,
  };
  const withSites = (): Bench => {
    const bench = new Bench();
    for (const site of ['a', 'b', 'c']) bench.hear(site);
    return bench;
  };

  it('is taken, and its first domain key is intended; safe to repeat', async () => {
    const bench = withSites();
    for (const operationId of ['intent-1', 'intent-2']) {
      const answer = await bench.createGroup(message);
      expect(answer).toMatchObject({ operationId, group: { activeSite: 'a', protection: 'unprotected' } });
    }
    expect(await declared()).toEqual([SPEC]);
    expect(bench.intended.map(({ kind, group }) => [kind, group])).toEqual([
      ['domain-key', 'payments'],
      ['domain-key', 'payments'],
    ]);
  });

  it('is a matter of nothing to do once every member has a domain key, also while a site is not heard', async () => {
    const bench = withSites();
    await bench.createGroup(message);
    await database.rows.write((trx) => useVersion(trx, 'payments', 1));
    const again = new Bench();
    expect(await again.createGroup(message)).toMatchObject({ operationId: '', group: { activeSite: 'a' } });
    expect(again.intended).toEqual([]);
  });

  it('has an objective of five minutes where none is said', async () => {
    const bench = withSites();
    await bench.createGroup({ ...message, rpoSeconds: 0 });
    expect((await declared())[0]?.rpoMs).toBe(300_000);
  });

  it('is not taken for a partition that is a member of another group, and names both', async () => {
    const bench = withSites();
    await bench.createGroup(message);
    const error = await rejection(bench.createGroup({ ...message, name: 'accounts' }));
    expect([error.code, error.message]).toEqual([
      'ALREADY_EXISTS',
      expect.stringContaining('partition serial-a of site a is a member of group payments'),
    ]);
    expect(error.hint).not.toContain('at the same moment');
    expect(await declared()).toHaveLength(1);
  });

  it('is not taken twice with different contents', async () => {
    const bench = withSites();
    await bench.createGroup(message);
    const other = bench.createGroup({ ...message, rpoSeconds: 60 });
    expect((await rejection(other)).code).toBe('ALREADY_EXISTS');
    expect((await declared()).map(({ rpoMs }) => rpoMs)).toEqual([300_000]);
  });

  it.each([
    ['REQUEST_INVALID', { ...message, name: '' }],
    ['REQUEST_INVALID', undefined],
    ['NOT_FOUND', { ...message, members: [{ site: 'nowhere', serial: 'x' }], failoverPolicy: FailoverPolicy.MANUAL }],
  ])('is refused with %s before anything is written: %o', async (code, spec) => {
    const bench = withSites();
    expect((await rejection(bench.createGroup(spec))).code).toBe(code);
    expect([await declared(), bench.intended]).toEqual([[], []]);
  });

  it('is not taken by a coordinator that does not lead', async () => {
    const bench = withSites();
    await bench.createGroup(message);
    bench.leadership.epoch = undefined;
    expect((await rejection(bench.createGroup(message))).code).toBe('NOT_LEADER');
    expect(bench.intended).toHaveLength(1);
  });

  it('is taken by a leader whose lease has lapsed while it stood still, once it has renewed', async () => {
    const bench = withSites();
    bench.leadership.epoch = undefined;
    bench.leadership.lapsed = FIRST_EPOCH;
    await bench.createGroup(message);
    expect([(await declared()).length, bench.intended.length]).toEqual([1, 1]);
  });
});

describe('an order of an operator', () => {
  const ready = async (row: GroupRow = {}): Promise<Bench> => {
    await database.rows.group(row);
    return new Bench();
  };

  it('to move to the site that is active is refused', async () => {
    const bench = await ready();
    const order = create(FailoverRequestSchema, { group: 'payments', toSite: 'a' });
    expect((await rejection(operatorHandlers(bench.ports).failover(order, CONTEXT))).code).toBe('REQUEST_INVALID');
    expect(bench.intended).toEqual([]);
  });

  it('to move carries what was accepted, and the outage counts from the order', async () => {
    const bench = await ready();
    const loss = { epoch: 1n, generation: 5n, manifestDigest: fromHex('ab') };
    const order = create(FailoverRequestSchema, {
      group: 'payments',
      toSite: 'b',
      acceptLoss: true,
      acceptedLosses: [loss],
    });
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
          accepted: [{ epoch: 1n, number: 5n, manifestDigest: 'ab' }],
          reason: 'operator',
          outageStartedMs: bench.clock.wallMs(),
        },
      },
    ]);
  });

  it('to move away from a lost site counts the outage from its last sign of life', async () => {
    const bench = await ready();
    bench.hear('a');
    const lastMs = bench.clock.wallMs();
    await bench.clock.advance(TIMINGS.suspectMs + 1);
    await bench.detector.pass();
    const order = create(FailoverRequestSchema, { group: 'payments' });
    await operatorHandlers(bench.ports).failover(order, CONTEXT);
    expect(bench.intended).toMatchObject([{ state: { outageStartedMs: lastMs } }]);
    bench.hear('a');
    await bench.clock.advance(1_000);
    await operatorHandlers(bench.ports).failover(order, CONTEXT);
    expect(bench.intended[1]).toMatchObject({ state: { outageStartedMs: bench.clock.wallMs() } });
  });

  it('to move back is taken where a failover has issued an epoch that is not in force', async () => {
    const bench = await ready();
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    const order = create(FailoverRequestSchema, { group: 'payments', toSite: 'a' });
    await operatorHandlers(bench.ports).failover(order, CONTEXT);
    expect(bench.intended).toMatchObject([{ kind: 'failover', state: { from: 'a', wanted: 'a', excluded: [] } }]);
  });

  it('to replicate is refused while a failover is under way', async () => {
    const bench = await ready();
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    const order = create(ReplicateRequestSchema, { group: 'payments' });
    expect((await rejection(operatorHandlers(bench.ports).replicate(order, CONTEXT))).code).toBe('GROUP_BUSY');
    expect(bench.intended).toEqual([]);
  });

  it('to replicate is refused from the order to move on, not only once an epoch was issued', async () => {
    const bench = await ready();
    await database.rows.intended({ id: 'move', kind: 'failover', state: { phase: 'requested' } });
    const order = create(ReplicateRequestSchema, { group: 'payments' });
    expect((await rejection(operatorHandlers(bench.ports).replicate(order, CONTEXT))).code).toBe('GROUP_BUSY');
    expect(bench.intended).toEqual([]);
  });

  it('to replicate is refused before there is a domain key', async () => {
    const bench = await ready({ domainKeyVersion: 0 });
    const order = create(ReplicateRequestSchema, { group: 'payments' });
    expect((await rejection(operatorHandlers(bench.ports).replicate(order, CONTEXT))).code).toBe('DOMAIN_KEY_MISSING');
    expect(bench.intended).toEqual([]);
  });

  it('to drill makes one', async () => {
    const bench = await ready();
    await database.rows.captured([generation()]);
    const order = create(RunDrillRequestSchema, { group: 'payments' });
    const answer = await operatorHandlers(bench.ports).runDrill(order, CONTEXT);
    expect(answer).toEqual({ operationId: 'intent-1' });
    expect(bench.intended).toMatchObject([{ kind: 'drill', site: 'c', state: { serial: 'scratch-c' } }]);
  });
});

describe('an order to scrub', () => {
  const run = (bench: Bench, site = '') =>
    operatorHandlers(bench.ports).runScrub(create(RunScrubRequestSchema, { group: 'payments', site }), CONTEXT);
  const withMembers = async (row: GroupRow = {}): Promise<Bench> => {
    await database.rows.group(row);
    const bench = new Bench();
    for (const site of ['a', 'b']) bench.hear(site);
    return bench;
  };

  it('makes one for every member that is up', async () => {
    const bench = await withMembers();
    expect(await run(bench)).toEqual({ operationIds: ['intent-1', 'intent-2'] });
    expect(bench.intended).toMatchObject(['a', 'b'].map((site) => ({ kind: 'scrub', site, state: { phase: 'due' } })));
  });

  it('makes one for a member that a new leader has not heard yet, and none for one that is silent', async () => {
    await database.rows.group();
    const bench = new Bench();
    bench.detector.expect([{ site: 'c', address: 'c:1' }]);
    bench.hear('a');
    await run(bench);
    expect(bench.intended.map(({ site }) => site)).toEqual(['a', 'c']);
  });

  it('makes the requested one, even if the site is not up', async () => {
    const bench = await withMembers();
    await run(bench, 'c');
    expect(bench.intended).toMatchObject([{ kind: 'scrub', site: 'c' }]);
  });

  it('leaves out who is fenced, and is refused where nobody is left', async () => {
    const bench = await withMembers({ roles: { a: 'fenced', b: 'fenced', c: 'fenced' } });
    expect((await rejection(run(bench))).code).toBe('NOT_FOUND');
    expect((await rejection(run(bench, 'z'))).code).toBe('NOT_FOUND');
    expect(bench.intended).toEqual([]);
  });
});

describe('where an application finds its keys', () => {
  const resolve = (bench: Bench) =>
    operatorHandlers(bench.ports).resolve(create(ResolveRequestSchema, { group: 'payments' }), CONTEXT);
  const withGroup = async (row: GroupRow = {}): Promise<Bench> => {
    await database.rows.group(row);
    return new Bench();
  };

  it('is the partition of the active member, with what is wrong with it', async () => {
    const bench = await withGroup();
    bench.hear('a', { errorCode: 'PIN_REFUSED' });
    expect(await resolve(bench)).toEqual({
      site: 'a',
      module: 'm.so',
      tokenLabel: 'main-token',
      serial: 'serial-a',
      epoch: 1n,
      siteState: 'up',
      partitionErrorCode: 'PIN_REFUSED',
      isLeader: true,
    });
    await bench.clock.advance(TIMINGS.suspectMs + 1);
    await bench.detector.pass();
    expect(await resolve(bench)).toMatchObject({ siteState: 'suspect' });
  });

  it('is what its site said before this coordinator started, until the site is heard', async () => {
    const bench = await withGroup();
    const place = { serial: 'serial-a', module: 'before.so', tokenLabel: 'before' };
    const site = { name: 'a', address: 'a:1', version: '', partitions: JSON.stringify([place]) };
    await database.rows.write((trx) => recordSite(trx, site));
    expect(await resolve(bench)).toMatchObject({ module: 'before.so', tokenLabel: 'before', siteState: 'unknown' });
    bench.detector.expect([{ site: 'a', address: 'a:1' }]);
    expect(await resolve(bench)).toMatchObject({ module: 'before.so', siteState: 'unknown', partitionErrorCode: '' });
    bench.hear('a');
    expect(await resolve(bench)).toMatchObject({ module: 'm.so', siteState: 'up' });
  });

  it('is at least a site and a serial number, and nothing where nobody is active', async () => {
    const bench = await withGroup();
    expect(await resolve(bench)).toMatchObject({ site: 'a', serial: 'serial-a', module: '', tokenLabel: '' });
    await database.rows.write((trx) => setRole(trx, 'payments', 'a', 'fenced'));
    expect((await rejection(resolve(bench))).code).toBe('NOT_FOUND');
  });

  it('is nowhere while an epoch is issued and not in force: the one before is fenced, or will be', async () => {
    const bench = await withGroup();
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    bench.hear('a');
    expect((await rejection(resolve(bench))).code).toBe('NOT_SERVED');
  });

  describe('while the database stands still', () => {
    const stalled = async ({ isKnown = true }: { isKnown?: boolean } = {}): Promise<Bench> => {
      const bench = await withGroup();
      if (isKnown) bench.cached.push(await database.store.query((db) => readGroup(db, 'payments')));
      const ports = { ...bench.ports, store: { ...bench.ports.store, snapshot: () => new Promise<never>(() => {}) } };
      return Object.assign(bench, { ports });
    };
    /** The answer, which comes within the time that the database has. */
    const within = async (bench: Bench, ms = DATABASE_MS_MAX) => {
      const answer = resolve(bench).catch((thrown: unknown) => thrown as AntipodeError);
      let isThere = false;
      void answer.then(() => {
        isThere = true;
      });
      await bench.clock.advance(ms - 1);
      expect(isThere).toBe(false);
      await bench.clock.advance(1);
      return answer;
    };

    it('is what the leader read last and its agents say, within a second, and so it is marked', async () => {
      const bench = await stalled();
      bench.hear('a');
      expect(await within(bench)).toMatchObject({
        site: 'a',
        module: 'm.so',
        serial: 'serial-a',
        epoch: 1n,
        isLeader: true,
        isWithoutDatabase: true,
      });
    });

    it('is nowhere where an epoch is issued, or the agents know a later one', async () => {
      const bench = await stalled();
      bench.hear('a');
      bench.hear('b', { epoch: 2n, epochOwner: 'b' });
      expect(await within(bench)).toMatchObject({ code: 'GROUP_CONTRADICTED' });
      const [group] = bench.cached;
      bench.cached.splice(0, 1, { ...group!, highestEpoch: 2n, highestOwner: 'b' });
      expect(await within(bench)).toMatchObject({ code: 'NOT_SERVED' });
    });

    it.each<[string, (bench: Bench) => void, boolean]>([
      [
        'cannot renew its lease',
        (bench) => Object.assign(bench.leadership, { epoch: undefined, renewIfLapsed: () => new Promise(() => {}) }),
        true,
      ],
      ['has not heard the site', () => {}, true],
      ['has not read the group', (bench) => bench.hear('a'), false],
    ])(
      'is not known to a coordinator that %s, and it says so within the same time',
      async (_what, prepare, isKnown) => {
        const bench = await stalled({ isKnown });
        prepare(bench);
        expect(await within(bench)).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      },
    );
  });

  it('is nowhere while database and journals contradict each other, and nothing is ordered then', async () => {
    const bench = await withGroup();
    bench.hear('a');
    bench.hear('b', { epoch: 2n, epochOwner: 'b' });
    const handlers = operatorHandlers(bench.ports);
    const failover = create(FailoverRequestSchema, { group: 'payments', toSite: 'b', acceptLoss: true });
    const replicate = create(ReplicateRequestSchema, { group: 'payments' });
    const rotate = create(RotateDomainKeyRequestSchema, { group: 'payments' });
    for (const order of [
      resolve(bench),
      handlers.failover(failover, CONTEXT),
      handlers.replicate(replicate, CONTEXT),
      handlers.rotateDomainKey(rotate, CONTEXT),
    ])
      expect((await rejection(order)).code).toBe('GROUP_CONTRADICTED');
    expect(bench.intended).toEqual([]);
  });
});

it('the drills of a group that there is not are not none', async () => {
  const request = create(ListDrillsRequestSchema, { group: 'paymets' });
  await database.rows.group();
  const error = await rejection(operatorHandlers(new Bench().ports).listDrills(request, CONTEXT));
  expect(error.code).toBe('NOT_FOUND');
});

describe('the plan of a failover', () => {
  it('to the site that is already active is refused, and no loss is spoken of', async () => {
    const bench = new Bench();
    await database.rows.group();
    const request = create(PlanFailoverRequestSchema, { group: 'payments', toSite: 'a' });
    const error = await rejection(operatorHandlers(bench.ports).planFailover(request, CONTEXT));
    expect([error.code, error.message, error.hint]).toEqual([
      'REQUEST_INVALID',
      expect.stringContaining('site a is already active'),
      expect.not.stringContaining('--accept-loss'),
    ]);
  });
});

describe('the standing of a generation', () => {
  const ref = (generation: bigint) => ({ epoch: 1n, generation, manifestDigest: fromHex('ab') });
  const ask = async (bench: Bench, sites: string[] = [], number = 4n) => {
    const request = create(GetGenerationRequestSchema, { group: 'payments', generation: ref(number), sites });
    const { standing, waitingSites, lackingSites } = await operatorHandlers(bench.ports).getGeneration(
      request,
      CONTEXT,
    );
    lacking = lackingSites ?? [];
    return [standing, waitingSites];
  };
  let lacking: readonly string[] = [];
  const RECORDED = generation({ number: 4n, manifestDigest: 'ab' });
  const withGeneration = async (): Promise<Bench> => {
    await database.rows.group();
    await database.rows.captured([RECORDED]);
    await database.rows.acknowledged('b', RECORDED);
    return new Bench();
  };
  const { ACKNOWLEDGED, PENDING, LOST, UNKNOWN } = GenerationStanding;

  it('waits for every standby that is up, or for those that are named', async () => {
    const bench = await withGeneration();
    expect(await ask(bench)).toEqual([PENDING, []]);
    bench.hear('b');
    expect(await ask(bench)).toEqual([ACKNOWLEDGED, []]);
    bench.hear('c');
    expect(await ask(bench)).toEqual([PENDING, ['c']]);
    expect(await ask(bench, ['b'])).toEqual([ACKNOWLEDGED, []]);
  });

  it('names every member that lacks it, also one that is not waited for because its site is down', async () => {
    const bench = await withGeneration();
    bench.hear('b');
    expect(await ask(bench)).toEqual([ACKNOWLEDGED, []]);
    expect(lacking).toEqual(['c']);
    expect(await ask(bench, ['b', 'c'])).toEqual([PENDING, ['c']]);
    expect(lacking).toEqual(['c']);
  });

  it('is not acknowledged by a standby whose partition is known to be unusable', async () => {
    const bench = await withGeneration();
    bench.hear('b', { errorCode: 'HSM_WORKER_LOST' });
    expect(await ask(bench)).toEqual([PENDING, ['b']]);
    await bench.clock.advance(10_000);
    bench.hear('b');
    expect(await ask(bench)).toEqual([ACKNOWLEDGED, []]);
  });

  it('is lost when a tenure has gone on without it, and unknown when it is not on record', async () => {
    const bench = await withGeneration();
    bench.hear('b');
    expect(await ask(bench, [], 5n)).toEqual([UNKNOWN, ['b']]);
    await database.rows.epoch({ epoch: 2n, owner: 'a', isActive: true, base: { epoch: 1n, number: 3n } });
    expect(await ask(bench)).toEqual([LOST, []]);
  });
});
