/** A whole coordinator in one process: on a fake clock, over the store in process, with scripted agents. */
import {
  type CallContext,
  CreateGroupRequestSchema,
  DescribeResponseSchema,
  FailoverPolicy,
  GenerationRefSchema,
  GetStatusRequestSchema,
  HeartbeatRequestSchema,
  type IdentityKind,
  MemberRole,
  MemberStateSchema,
} from '@antipode/protocol';
import { AntipodeError, fromHex, seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { create, type MessageShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { Timeline } from './calendar/timeline.ts';
import { buildCoordinator, type CoordinatorGraph } from './graph.ts';
import type { IntentKind } from './model.ts';
import { readGroup } from './store/tables/groups.ts';
import { insertIntent } from './store/tables/intents.ts';
import { testDatabase } from './testing/database.ts';
import { type Answer, fakeAgent, type Order } from './testing/fake-agent.ts';
import { SPEC } from './testing/group.ts';
import { PROFILES } from './timings.ts';

const TIMINGS = PROFILES.fast;
const SITES = ['a', 'b', 'c'];
const database = testDatabase();

type Seat = MessageShape<typeof MemberStateSchema>;

/** Three sites and the coordinator of their group. */
class Town {
  readonly clock = new FakeClock();
  readonly graph: CoordinatorGraph;
  /** Sites that are lost: they do not call, and nobody reaches them. */
  readonly lost = new Set<string>();
  readonly seats = new Map<string, Seat>();
  readonly defects: string[] = [];

  constructor(seed: string) {
    const { clock } = this;
    const timeline = new Timeline({ clock, log: silentLog, boot: () => undefined });
    this.graph = buildCoordinator({
      id: 'main',
      timings: TIMINGS,
      clock,
      timeline,
      prng: seededPrng(seed),
      log: silentLog,
      store: database.store,
      renewals: database.store,
      dial: ({ site }) => fakeAgent((order) => this.#answer(site, order)),
      wakeUps: {
        isUp: () => true,
        lead: () => {},
        standDown: () => {},
        // The next look wakes again what failed. A defect would end the process.
        enqueue: async (intentId) =>
          void this.graph.run(intentId).catch((thrown: unknown) => {
            const error = AntipodeError.from(thrown);
            if (error.disposition === 'defect') this.defects.push(error.message);
          }),
        close: async () => {},
      },
      loopDelayMs: () => 0,
    });
  }

  async open(): Promise<void> {
    await this.graph.takePart();
    this.graph.start();
    await this.live(1);
    const spec = {
      name: 'payments',
      members: SPEC.members.map((seat) => ({ ...seat })),
      scratch: [],
      rpoSeconds: 300,
      failoverPolicy: FailoverPolicy.AUTOMATIC,
    };
    await this.graph.handlers.operator.createGroup(create(CreateGroupRequestSchema, { spec }), as('operator', 'alice'));
  }

  /** Lets so many heartbeats pass. */
  async live(heartbeats: number): Promise<void> {
    for (let beat = 0; beat < heartbeats; beat += 1) {
      for (const site of SITES) if (!this.lost.has(site)) await this.#beat(site);
      await this.clock.advance(TIMINGS.heartbeatMs);
    }
  }

  /** Every event, as it is in the log. */
  async story(): Promise<string[]> {
    const rows = await database.store.query((db) => db.selectFrom('event').selectAll().orderBy('id').execute());
    return rows.map(({ at_ms, kind, grp, site, details }) => `${at_ms} ${kind} ${grp} ${site} ${details}`);
  }

  async #beat(site: string): Promise<void> {
    const request = create(HeartbeatRequestSchema, { address: `${site}:1`, state: this.#describe(site) });
    const { epochs } = await this.graph.handlers.coordinator.heartbeat(request, as('site', site));
    for (const { epoch, owner } of epochs ?? []) {
      const seat = this.seats.get(site);
      if (seat !== undefined && (epoch ?? 0n) > seat.epoch)
        Object.assign(seat, { epoch, epochOwner: owner, role: MemberRole.FENCED });
    }
  }

  #describe(site: string) {
    const seat = this.seats.get(site);
    return create(DescribeResponseSchema, {
      site,
      instance: site,
      members: seat === undefined ? [] : [seat],
      partitions: [{ serial: `serial-${site}`, name: 'main', module: 'm.so', tokenLabel: 'main' }],
    });
  }

  #answer(site: string, { method, request }: Order): Answer {
    if (this.lost.has(site)) return 'SITE_UNREACHABLE';
    const seat = this.seats.get(site) ?? create(MemberStateSchema, { group: 'payments', serial: `serial-${site}` });
    const fence = request['fence'] as { epoch: bigint; owner: string } | undefined;
    if (fence !== undefined && fence.epoch < seat.epoch) return 'EPOCH_STALE';
    if (fence !== undefined) Object.assign(seat, { epoch: fence.epoch, epochOwner: fence.owner });
    this.seats.set(site, seat);
    switch (method) {
      case 'describe':
        return { ...this.#describe(site) };
      case 'probePeer':
        return { reachable: !this.lost.has((request['peer'] as { site: string }).site) };
      case 'setRole':
        seat.role = request['role'] as MemberRole;
        return { member: seat };
      case 'promote':
        seat.role = MemberRole.ACTIVE;
        return { member: seat, proof: { proved: 2 } };
      case 'distributeDomainKey':
        for (const other of this.seats.values()) other.domainKeyVersion = request['version'] as number;
        return {};
      case 'capture':
        return this.#capture(seat, request['reservedGeneration'] as bigint);
      case 'apply':
        seat.applied = request['generation'] as NonNullable<Seat['applied']>;
        return { appliedObjects: 2 };
      case 'verify':
        return { contentDigest: fromHex('cc'), proof: { proved: 2 } };
      default:
        return {};
    }
  }

  /** The keys never change: a tenure has one generation. */
  #capture(seat: Seat, reserved: bigint): Answer {
    const isNew = seat.captured?.epoch !== seat.epoch;
    const generation = isNew
      ? create(GenerationRefSchema, {
          epoch: seat.epoch,
          generation: reserved,
          manifestDigest: fromHex(`0${seat.epoch}`),
          contentDigest: fromHex('cc'),
          objectCount: 2,
          domainKeyVersion: seat.domainKeyVersion,
        })
      : seat.captured;
    if (generation === undefined) throw new AntipodeError('INVARIANT_BROKEN', 'nothing was captured');
    seat.captured = generation;
    return { generation, isNew, sealedObjects: 2 };
  }
}

function as(kind: IdentityKind, name: string): CallContext {
  return { identity: { trustDomain: 'd', kind, name }, signal: new AbortController().signal };
}

/** A group is made and protected, its active site is lost, and another one serves. */
async function loseTheActiveSite(seed: string): Promise<{ story: string[]; ids: string[] }> {
  const town = new Town(seed);
  try {
    await town.open();
    await town.live(16);
    town.lost.add('a');
    await town.live(48);
    return { story: await town.story(), ids: (await database.rows.intents()).map(({ id }) => id).sort() };
  } finally {
    await town.graph.close();
  }
}

const kindsOf = (story: readonly string[]): string[] => story.map((line) => line.split(' ')[1]!);

describe('a whole coordinator', () => {
  it('protects a group, and serves it from another site when the active one is lost', async () => {
    const { story } = await loseTheActiveSite('one');
    expect(kindsOf(story)).toEqual(
      expect.arrayContaining([
        'group-created',
        'domain-key-in-use',
        'generation-captured',
        'generation-acknowledged',
        'epoch-issued',
        'failover-complete',
      ]),
    );
    const group = await database.store.snapshot((db) => readGroup(db, 'payments'));
    expect(group).toMatchObject({ epoch: 2n, owner: 'b', members: [{ role: 'fenced' }, { role: 'active' }, {}] });
  });

  it('protects its group although it cannot continue two operations of another release', async () => {
    const town = new Town('one');
    try {
      await town.open();
      const state = { phase: 'weighing' };
      const row = { group: 'payments', site: 'b', state, trace: {} };
      await database.store.write(town.graph.leadership.require(), async (trx) => {
        await insertIntent(trx, { ...row, id: 'kind', kind: 'escrow' as IntentKind }, town.clock.wallMs());
        await insertIntent(trx, { ...row, id: 'phase', kind: 'key-retirement' }, town.clock.wallMs());
      });
      await town.live(16);
      expect(town.defects).toEqual([]);
      for (const id of ['kind', 'phase'])
        expect(await database.rows.intent(id)).toMatchObject({ errorCode: 'OPERATION_STUCK', state });
      expect(kindsOf(await town.story()).filter((kind) => kind === 'operation-stuck')).toHaveLength(2);
      expect(kindsOf(await town.story())).toContain('generation-acknowledged');
    } finally {
      await town.graph.close();
    }
  });

  it('stops watching before its handlers go, so that its own silence does not look like a lost site', async () => {
    const town = new Town('one');
    try {
      await town.open();
      await town.live(16);
      await town.graph.stopLooking();
      town.lost.add('a');
      // The heartbeats of the other sites are still answered.
      await town.live(24);
      const { sites } = await town.graph.handlers.operator.getStatus(
        create(GetStatusRequestSchema),
        as('operator', 'alice'),
      );
      expect(sites?.map(({ site, state }) => `${site} ${state}`)).toEqual(['a up', 'b up', 'c up']);
      expect(kindsOf(await town.story())).not.toContain('failover-intended');
    } finally {
      await town.graph.close();
    }
  });

  it('tells the same story twice from one seed', async () => {
    const first = await loseTheActiveSite('one');
    await database.store.empty();
    expect(await loseTheActiveSite('one')).toEqual(first);
    expect(first.story.length).toBeGreaterThan(10);
  });
});
