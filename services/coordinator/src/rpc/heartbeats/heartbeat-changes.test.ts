/**
 * A coordinator that hears only what has changed, beside one that hears everything: the same agent, the same losses. What
 * they know of the site, and what the agent knows of their answers, is the same after each heartbeat.
 */
import {
  type CoordinatorService,
  type Handlers,
  type HeartbeatRequest,
  HeartbeatRequestSchema,
  type HeartbeatResponse,
  HeartbeatResponseSchema,
  MemberRole,
  SentHeartbeats,
} from '@antipode/protocol';
import { AntipodeError, silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { clone, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import { CoordinatorBook } from '../../sites/coordinator-book.ts';
import { Detector } from '../../sites/detector.ts';
import { ForgottenSites } from '../../sites/forgotten.ts';
import { JournalBook } from '../../sites/journals.ts';
import { LeaseBook } from '../../sites/leases.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { FakeLeadership } from '../../testing/leader.ts';
import { PROFILES } from '../../timings.ts';
import { coordinatorHandlers } from './heartbeat.ts';

const TIMINGS = PROFILES.default;
const SITE = 'a';
const CONTEXT = {
  identity: { trustDomain: 'd', kind: 'site', name: SITE },
  signal: new AbortController().signal,
} as const;

/** The facts that both coordinators read. */
class World {
  readonly clock = new FakeClock();
  groups: Group[] = ['g1', 'g2', 'g3'].map((name) => ({ ...groupOf({ ...SPEC, name }), vouchers: ['b', 'c'] }));
  needed = new Map<string, string[]>();
  term = 0n;
}

/** One coordinator, that is started again, and leads again, when a test says so. */
class Coordinator {
  readonly #world: World;
  readonly #name: string;
  #starts = 0;
  leadership!: FakeLeadership;
  detector!: Detector;
  handlers!: Handlers<typeof CoordinatorService>;

  constructor(world: World, name: string) {
    this.#world = world;
    this.#name = name;
    this.start();
  }

  start(): void {
    const world = this.#world;
    const { clock } = world;
    this.#starts += 1;
    this.leadership = new FakeLeadership();
    this.leadership.epoch = world.term;
    const probe = async () => undefined;
    this.detector = new Detector({ clock, log: silentLog, timings: TIMINGS, loopDelayMs: () => 0, probe });
    const store = { query: async () => [] as never, write: async () => undefined as never };
    this.handlers = coordinatorHandlers({
      id: 'main',
      timings: TIMINGS,
      clock,
      clockId: `${this.#name} ${this.#starts}`,
      detector: this.detector,
      coordinators: new CoordinatorBook(),
      forgotten: new ForgottenSites({ clock }),
      agents: { reconnect: () => {} },
      journals: new JournalBook({ store }),
      leases: new LeaseBook({ clock, leaseMs: TIMINGS.leaseMs, slowestClock: () => 1 }),
      cache: {
        get all() {
          return world.groups;
        },
        refresh: async () => {},
        former: [],
        releases: [],
        needed: (group) => world.needed.get(group),
        acknowledged: () => [],
        deleted: ['gone'],
        unreadable: [],
      },
      store,
      election: this.leadership,
    });
  }

  /** Another leader may have followed this one, and lost its lead again. */
  leadAgain(): void {
    this.leadership.epoch = this.#world.term;
    this.detector.expect([]);
  }

  /** Over the wire. */
  async hear(request: HeartbeatRequest): Promise<HeartbeatResponse> {
    const said = fromBinary(HeartbeatRequestSchema, toBinary(HeartbeatRequestSchema, request));
    const answer = create(HeartbeatResponseSchema, await this.handlers.heartbeat(said, CONTEXT));
    return fromBinary(HeartbeatResponseSchema, toBinary(HeartbeatResponseSchema, answer));
  }

  /** The site as it knows it, without times. */
  get known(): unknown {
    const view = this.detector.view(SITE);
    if (view?.state === undefined) return undefined;
    const { state, instance, vouching, address, observations } = view;
    return { state: plain(state), instance, vouching: plain(vouching), address, observations: plain(observations) };
  }
}

const plain = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? String(one) : one)) ?? 'null');

/** An answer without its clock, and without the way in which it was sent. */
const meaning = ({ clock: _clock, remembered: _name, changes: _changes, ...answer }: HeartbeatResponse) =>
  plain(answer);

interface Kept {
  readonly sent: HeartbeatRequest;
  readonly whole: HeartbeatRequest;
}

const CHANGES = ['epoch', 'head', 'seat gone', 'seat back', 'partition', 'vouchees', 'groups', 'coordinator'] as const;
type Change = (typeof CHANGES)[number];

class Story {
  readonly world = new World();
  readonly whole = new Coordinator(this.world, 'one');
  readonly partial = new Coordinator(this.world, 'two');
  /** Heartbeats that had only changes: those that were taken, and those that were refused. */
  taken = 0;
  refused = 0;
  readonly #kept: Kept[] = [];
  readonly #names: string[] = [];
  #sent = new SentHeartbeats();
  #lives = 1;
  #beat = 0n;
  #seats = ['g1', 'g2', 'g3'];
  #changes = 0;
  readonly #values = new Map<string, number>();

  change(what: Change): void {
    this.#changes += 1;
    const one = this.#changes % 3;
    if (what === 'seat gone') this.#seats = this.#seats.filter((_, at) => at !== one);
    else if (what === 'seat back') this.#seats = [...new Set([`g${one + 1}`, ...this.#seats])];
    else if (what === 'coordinator') {
      const group = this.world.groups[one]!;
      this.world.groups = this.world.groups.with(one, { ...group, highestEpoch: group.highestEpoch + 1n });
      this.world.needed.set(group.spec.name, [String(this.#changes).padStart(64, '0')]);
    } else this.#values.set(`${what} ${one}`, this.#changes);
  }

  /** A heartbeat as the agent sends it, and all of the same heartbeat. */
  account(): Kept {
    this.#beat += 1n;
    const value = (what: Change, at: number) => this.#values.get(`${what} ${at}`) ?? 0;
    const lives = Array.from({ length: this.#lives }, (_, at) => `run-${at}`);
    const whole = create(HeartbeatRequestSchema, {
      state: {
        site: SITE,
        instance: `a-${this.#lives}`,
        members: this.#seats.map((group, at) => ({
          group,
          serial: `serial-${group}`,
          role: MemberRole.ACTIVE,
          epoch: BigInt(value('epoch', at)),
          captured: { epoch: 1n, generation: BigInt(value('head', at)), manifestDigest: new Uint8Array([1, at]) },
        })),
        partitions: [0, 1, 2].map((at) => ({ name: `p${at}`, errorCode: `E${value('partition', at)}` })),
        journal: { id: 'j', runs: lives.map((token) => ({ token, writes: this.#beat, place: 'here' })) },
      },
      address: 'a:1',
      beat: this.#beat,
      groupsWithoutSeat: value('groups', 0) > 0 ? ['gone'] : [],
      vouchees: [0, 1].map((at) => ({ group: `g${at}`, site: 'b', run: `r${value('vouchees', at)}` })),
    });
    return { whole: clone(HeartbeatRequestSchema, whole), sent: this.#sent.shortened(whole) };
  }

  /** Sends everything at once if the changes are refused, as an agent does. */
  async beat(fate: 'arrives' | 'is lost' | 'answer is lost' | 'arrives twice' | 'is kept back'): Promise<void> {
    const kept = this.account();
    if (fate === 'is lost') return;
    if (fate === 'is kept back') {
      this.#kept.push(kept);
      return;
    }
    if (fate === 'arrives twice') await this.deliver(kept);
    const answers = await this.deliver(kept);
    if (answers === 'partial') {
      this.#sent.forget();
      const again = this.account();
      expect(again.sent.changes).toBeUndefined();
      return this.#take(await this.deliver(again), fate);
    }
    this.#take(answers, fate);
  }

  #take(answers: Awaited<ReturnType<Story['deliver']>>, fate: string): void {
    expect(answers).not.toBe('late');
    if (typeof answers === 'string' || fate === 'answer is lost') return;
    const [whole, partial] = answers;
    this.#names.push(partial.remembered);
    expect(meaning(this.#sent.completed(partial))).toEqual(meaning(whole));
  }

  async deliver({ sent, whole }: Kept) {
    const before = this.partial.known;
    const partial = await this.partial.hear(sent).catch((thrown: unknown) => AntipodeError.from(thrown));
    if (partial instanceof AntipodeError) {
      expect(this.partial.known).toEqual(before);
      const isPartial = partial.code === 'HEARTBEAT_PARTIAL';
      if (isPartial) this.refused += 1;
      else expect((await rejection(this.whole.hear(whole))).code).toBe(partial.code);
      return isPartial ? 'partial' : 'late';
    }
    if (sent.changes !== undefined) this.taken += 1;
    const answer = await this.whole.hear(whole);
    expect(this.partial.known).toEqual(this.whole.known);
    return [answer, partial] as const;
  }

  /** A heartbeat from before arrives now. */
  async late(): Promise<void> {
    const kept = this.#kept.pop();
    if (kept !== undefined) await this.deliver(kept);
  }

  /** In another process, which begins to count again. */
  restartAgent(): void {
    this.#lives += 1;
    this.#beat = 0n;
    this.#sent = new SentHeartbeats();
  }

  restartCoordinators({ isLater }: { isLater: boolean }): void {
    if (isLater) this.world.term += 1n;
    for (const one of [this.whole, this.partial]) one.start();
  }

  leadAgain(): void {
    this.world.term += 1n;
    for (const one of [this.whole, this.partial]) one.leadAgain();
  }

  /** Builds on an answer that another process, or nobody, has got. */
  async lie(name: string | undefined, instance: string | undefined): Promise<void> {
    const before = this.partial.known;
    const { sent, whole } = this.account();
    const state = sent.changes?.state ?? whole.state!;
    const request = clone(HeartbeatRequestSchema, sent);
    delete request.state;
    const lists = [{ list: 'members', parts: [{ from: 0, count: 1 }, { count: state.members.length }] }];
    Object.assign(request, {
      changes: create(HeartbeatRequestSchema, {
        changes: {
          since: name ?? this.#names.at(-1) ?? '',
          state: { ...state, instance: instance ?? state.instance },
          lists,
        },
      }).changes,
    });
    if (name === undefined && instance === undefined) return;
    const { code } = await rejection(this.partial.hear(request));
    expect(['HEARTBEAT_PARTIAL', 'ALREADY_EXISTS']).toContain(code);
    expect(this.partial.known).toEqual(before);
  }
}

const fates = fc.constantFrom(
  'arrives',
  'arrives',
  'is lost',
  'answer is lost',
  'arrives twice',
  'is kept back' as const,
);
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fates.map((fate) => (story: Story) => story.beat(fate as never)) },
    { weight: 6, arbitrary: fc.constantFrom(...CHANGES).map((what) => async (story: Story) => story.change(what)) },
    fc.constant((story: Story) => story.late()),
    fc.constant(async (story: Story) => story.restartAgent()),
    fc.boolean().map((isLater) => async (story: Story) => story.restartCoordinators({ isLater })),
    fc.constant(async (story: Story) => story.leadAgain()),
    fc.constant((story: Story) => story.lie('two 1 1000', undefined)),
    fc.constant((story: Story) => story.lie(undefined, 'another process')),
  ),
  { maxLength: 40 },
);

it('knows the same by changes as by whole heartbeats, whatever is lost, repeated, late or forged', async () => {
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const story = new Story();
      for (const step of all) await step(story);
      await story.beat('arrives');
      taken += story.taken;
    }),
    { numRuns: 200 },
  );
  expect(taken).toBeGreaterThan(0);
});

it('takes the changes since an answered heartbeat, although the answers to later ones were lost', async () => {
  const story = new Story();
  await story.beat('arrives');
  for (let count = 0; count < 5; count += 1) {
    story.change('head');
    await story.beat('answer is lost');
  }
  await story.beat('arrives');
  expect([story.taken, story.refused]).toEqual([6, 0]);
});

it.each<[string, (story: Story) => void]>([
  ['has begun another term', (story) => story.leadAgain()],
  ['was started again', (story) => story.restartCoordinators({ isLater: true })],
  [
    'was started again in the same term, on an older copy of its database',
    (story) => story.restartCoordinators({ isLater: false }),
  ],
])('asks for everything when it %s', async (_what, happens) => {
  const story = new Story();
  for (let count = 0; count < 2; count += 1) await story.beat('arrives');
  happens(story);
  await story.beat('arrives');
  await story.beat('arrives');
  expect([story.taken, story.refused]).toEqual([2, 1]);
});

it('sends a quiet site and hears from it only a fraction of the whole', async () => {
  const story = new Story();
  await story.beat('arrives');
  const { sent, whole } = story.account();
  const lengths = [sent.changes?.state?.members, sent.changes?.state?.partitions, sent.vouchees].map(
    (list) => list?.length,
  );
  expect(lengths).toEqual([0, 0, 0]);
  expect(whole.state?.members).toHaveLength(3);
  const answer = await story.partial.hear(sent);
  expect([answer.epochs, answer.peers, answer.acknowledged].map(({ length }) => length)).toEqual([0, 0, 0]);
});

it('says again in few bytes what it has said of a group some answers before', async () => {
  const story = new Story();
  story.world.groups = Array.from({ length: 130 }, (_, at) => groupOf({ ...SPEC, name: `g${at}` }));
  for (let count = 0; count < 4; count += 1) await story.beat('arrives');
  const { sent } = story.account();
  const { acknowledged, changes } = await story.partial.hear(sent);
  expect(acknowledged).toEqual([]);
  const parts = changes?.lists.find(({ list }) => list === 'acknowledged')?.parts ?? [];
  expect(parts.reduce((sum, { count }) => sum + count, 0)).toBe(64);
});

it('takes the changes of one copy of a machine never for those of another', async () => {
  const { partial } = new Story();
  const request = (beat: bigint, errorCode: string) =>
    create(HeartbeatRequestSchema, {
      state: { site: SITE, instance: 'a-1', partitions: [{ name: 'p0', errorCode }, { name: 'p1' }] },
      address: 'a:1',
      beat,
    });
  // Both have the same memory until then.
  const first = request(1n, 'E1');
  const answer = await partial.hear(first);
  const copies = [new SentHeartbeats(), new SentHeartbeats()] as const;
  for (const copy of copies) {
    copy.shortened(first);
    copy.completed(answer);
  }
  for (const [at, copy] of copies.entries())
    copy.completed(await partial.hear(copy.shortened(request(2n, `of copy ${at}`))));
  const next = copies[0].shortened(request(3n, 'of copy 0'));
  expect(next.changes?.state?.partitions).toEqual([]);
  expect((await rejection(partial.hear(next))).code).toBe('HEARTBEAT_PARTIAL');
  expect(partial.detector.view(SITE)?.state?.partitions[0]?.errorCode).toBe('of copy 1');
});
