import { MemberRole } from '@antipode/protocol';
import { AntipodeError, fromHex, seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Group } from '../model.ts';
import type { SiteStatus, SiteView } from '../sites/detector.ts';
import type { Write } from '../store/store.ts';
import { pauseAutomation, resumeAutomation } from '../store/tables/groups.ts';
import { type Intent, readIntents, updateIntent } from '../store/tables/intents.ts';
import type { Touched } from '../store/touched-groups.ts';
import { testDatabase } from '../testing/database.ts';
import { SPEC } from '../testing/group.ts';
import { FakeLeadership } from '../testing/leader.ts';
import type { IntentChange } from '../testing/rows.ts';
import { siteView } from '../testing/site-views.ts';
import { generation } from '../testing/situation.ts';
import { PROFILES } from '../timings.ts';
import { Reconciler } from './reconciler.ts';

const TIMINGS = PROFILES.default;

const database = testDatabase();

class Bench {
  readonly clock = new FakeClock();
  readonly leadership = new FakeLeadership();
  readonly enqueued: string[] = [];
  readonly lanes: string[] = [];
  readonly ran: string[] = [];
  readonly running = new Set<string>();
  /** Sites with more than a status. */
  readonly views = new Map<string, SiteView>();
  isQueueUp = true;
  status: SiteStatus = 'up';
  readonly groups: Group[] = [];
  readonly needed: unknown[] = [];
  /** So many of the next readings of a group never end. */
  endless = 0;
  /** Somebody else's work right before the next change of state. */
  beforeWrite: () => Promise<void> = async () => {};
  /** The transaction of the last change of state. */
  transaction: Write | undefined;
  run: () => Promise<void> = async () => {};
  /** Readings of the facts of a group, and how long each takes. */
  reads = 0;
  readingMs = 0;
  touched: Touched = 'all';
  readonly reconciler: Reconciler;

  constructor({ hears = false }: { hears?: boolean } = {}) {
    const take = (): Touched => {
      const { touched } = this;
      this.touched = new Set();
      return touched;
    };
    this.reconciler = new Reconciler({
      store: {
        query: (look) => database.store.query(look),
        snapshot: async (look) => {
          this.reads += 1;
          if (this.readingMs > 0) await this.clock.sleep(this.readingMs);
          if (this.endless > 0) {
            this.endless -= 1;
            await new Promise(() => {});
          }
          return database.store.snapshot(look);
        },
        write: async (epoch, change) => {
          const before = this.beforeWrite;
          this.beforeWrite = async () => {};
          await before();
          return database.store.write(epoch, (trx, record) => {
            this.transaction = trx;
            return change(trx, record);
          });
        },
      },
      election: this.leadership,
      cache: {
        all: this.groups,
        unreadable: [],
        refresh: async () => {},
        learnNeeded: (name, digests) => void this.needed.push([name, digests]),
        learnAcknowledged: () => {},
      },
      detector: {
        snapshot: () => (site) => this.views.get(site) ?? siteView(site, undefined, { status: this.status }),
      },
      journals: { flush: async () => {} },
      runner: {
        isRunning: (id) => this.running.has(id),
        run: (id) => {
          this.ran.push(id);
          return this.run();
        },
      },
      wakeUps: {
        enqueue: async (id, lane) => {
          if (!this.isQueueUp) throw new AntipodeError('QUEUE_UNAVAILABLE', 'Redis is away');
          this.enqueued.push(id);
          this.lanes.push(lane);
        },
      },
      clock: this.clock,
      prng: seededPrng('reconciler'),
      log: silentLog,
      timings: TIMINGS,
      ...(hears ? { touched: { take, giveBack: () => {} } } : {}),
    });
  }

  /** Declares a group, before the others. */
  async declare(name: string, sites = ['a', 'b', 'c']): Promise<void> {
    const members = sites.map((site) => ({ site, serial: `${name}-${site}` }));
    this.groups.unshift(await database.rows.group({ spec: { ...SPEC, name, members, scratch: [] } }));
  }

  /** Lets a pass go as far as it can, and says whether it has ended. */
  async passes(): Promise<boolean> {
    let isOver = false;
    void this.reconciler.pass().then(() => {
      isOver = true;
    });
    await this.clock.advance(0);
    return isOver;
  }
}

const intents = (): Promise<Intent[]> => database.rows.intents();
const open = (
  id: string,
  { kind = 'drill', site = id, ...rest }: Partial<Pick<Intent, 'kind' | 'site'>> & IntentChange = {},
): Promise<void> => database.rows.intended({ id, kind, site, state: { phase: 'planned' } }, rest);
/** The enqueued operations that the test has made itself. */
const enqueuedDrills = async (): Promise<string[]> => {
  const all = await intents();
  return bench.enqueued.filter((one) => all.some(({ id, kind }) => id === one && kind === 'drill'));
};
/** The row of a group cannot be made sense of. */
const spoil = (name: string): Promise<unknown> => setSpec(name, '{');
const mend = (name: string): Promise<unknown> =>
  setSpec(name, JSON.stringify(bench.groups.find(({ spec }) => spec.name === name)!.spec));
const setSpec = (name: string, spec: string): Promise<unknown> =>
  database.rows.write((trx) => trx.updateTable('replication_group').set({ spec }).where('name', '=', name).execute());

let bench: Bench;
beforeEach(async () => {
  bench = new Bench();
  await bench.declare('payments');
});

describe('a pass', () => {
  it('writes down what is due before anybody is woken for it, and once', async () => {
    await bench.reconciler.pass();
    await bench.reconciler.pass();
    const [capture, ...others] = await intents();
    expect([capture, others]).toMatchObject([{ kind: 'capture', site: 'a', status: 'open' }, []]);
    // A look at the active member leaves no event: an idle group would write a thousand a day.
    expect(await database.rows.events()).toEqual([]);
    expect(bench.enqueued).toEqual([capture!.id, capture!.id]);
  });

  it('notes what members may still ask for: nothing yet, where nothing was captured', async () => {
    await bench.reconciler.pass();
    expect(bench.needed).toEqual([['payments', []]]);
  });

  it('does nothing where another coordinator leads', async () => {
    bench.leadership.epoch = undefined;
    await open('due');
    await bench.reconciler.pass();
    expect([(await intents()).length, bench.enqueued]).toEqual([1, []]);
  });

  it('enqueues every open intent whose time has come, so that a wiped queue loses nothing', async () => {
    bench.status = 'down';
    await open('due');
    await open('running');
    await open('later', { nextAttemptMs: bench.clock.wallMs() + 1 });
    await open('parked', { status: 'parked', updatedMs: bench.clock.wallMs() });
    bench.running.add('running');
    await bench.reconciler.pass();
    expect(await enqueuedDrills()).toEqual(['due']);
  });

  it('enqueues what waits for a time that no pause explains: the clock was set since', async () => {
    bench.status = 'down';
    await open('soon', { nextAttemptMs: bench.clock.wallMs() + 30_000 });
    await open('never', { nextAttemptMs: bench.clock.wallMs() + 6 * 3_600_000 });
    await bench.reconciler.pass();
    expect(await enqueuedDrills()).toEqual(['never']);
  });

  it('opens again what has waited for a person for a while', async () => {
    await open('parked', { status: 'parked', attempts: 9, updatedMs: bench.clock.wallMs() - TIMINGS.parkedRetryMs });
    await bench.reconciler.pass();
    expect(await database.rows.intent('parked')).toMatchObject({
      status: 'open',
      attempts: 0,
      nextAttemptMs: bench.clock.wallMs(),
    });
  });

  it('plans the failover of a lost site', async () => {
    bench.status = 'down';
    await bench.reconciler.pass();
    expect(await intents()).toMatchObject([{ kind: 'failover', site: '', state: { phase: 'requested', from: 'a' } }]);
  });

  it('tells the end of a contradiction only when every site was heard in the new term', async () => {
    const saying = (epoch: bigint, epochOwner: string) =>
      siteView('b', { members: [{ group: 'payments', serial: 'payments-b', epoch, epochOwner }] });
    const told = async (view: SiteView): Promise<string[]> => {
      bench.views.set('b', view);
      await bench.reconciler.pass();
      return (await database.rows.events()).filter((kind) => kind.startsWith('contradiction'));
    };
    expect(await told(saying(2n, 'b'))).toEqual(['contradiction-found']);
    for (const status of ['unknown', 'suspect'] as const)
      expect(await told(siteView('b', undefined, { status }))).toEqual(['contradiction-found']);
    expect(await told(saying(2n, 'b'))).toEqual(['contradiction-found']);
    expect(await told(saying(1n, 'a'))).toEqual(['contradiction-found', 'contradiction-ended']);
  });

  it.each([
    [1, []],
    [0, ['failover']],
  ])('plans none so soon after another automatic one: %i ms within the gap', async (withinMs, planned) => {
    const createdMs = bench.clock.wallMs() - TIMINGS.automaticFailoverGapMs + withinMs;
    const state = { phase: 'complete', reason: 'automatic' };
    await database.rows.intended({ id: 'before', kind: 'failover', state, createdMs }, { status: 'done' });
    bench.status = 'down';
    await bench.reconciler.pass();
    expect((await intents()).filter(({ id }) => id !== 'before').map(({ kind }) => kind)).toEqual(planned);
  });

  it('gives each site a lane of its own, and each kind without a site', async () => {
    bench.status = 'down';
    await bench.reconciler.pass();
    await open('drill', { site: 'b' });
    await open('capture', { kind: 'capture', site: 'failover' });
    await open('domain-key', { kind: 'domain-key', site: '' });
    bench.lanes.length = 0;
    await bench.passes();
    expect([...bench.lanes].sort()).toEqual(['domain-key', 'failover', 'site.b', 'site.failover']);
  });
});

describe('a group in trouble', () => {
  const groupsOf = async (kind: Intent['kind']): Promise<string[]> =>
    (await intents()).filter((one) => one.kind === kind).map(({ group }) => group);

  it('that cannot be read does not keep another from failing over', async () => {
    await bench.declare('accounts');
    await spoil('accounts');
    bench.status = 'down';
    await bench.reconciler.pass();
    expect(await groupsOf('failover')).toEqual(['payments']);
    expect(bench.enqueued).toHaveLength(1);
  });

  it('whose reading takes for ever holds up one pass for a moment, and nobody else', async () => {
    for (const name of ['s1', 's2', 's3']) await bench.declare(name);
    bench.endless = 3;
    expect(await bench.passes()).toBe(false);
    await bench.clock.advance(TIMINGS.planMs * 4);
    expect(await groupsOf('capture')).toEqual(['payments']);
    bench.status = 'down';
    void bench.reconciler.pass();
    await bench.clock.advance(TIMINGS.planMs * 4);
    expect(await groupsOf('failover')).toEqual(['payments']);
  });

  it('ends the pass if none can be read: the loop then backs off', async () => {
    await spoil('payments');
    await expect(bench.reconciler.pass()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  });

  it('ends the pass soon if no group of many can be read, and not if others can', async () => {
    for (let count = 0; count < 30; count += 1) await bench.declare(`g${count}`);
    for (const { spec } of bench.groups) await spoil(spec.name);
    await expect(bench.reconciler.pass()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    const first = bench.reads;
    expect(first).toBeLessThan(20);
    // Those that wait longest come first.
    for (const { spec } of bench.groups.slice(-10)) await mend(spec.name);
    await bench.clock.advance(1_000);
    await bench.reconciler.pass();
    expect(bench.reads - first).toBe(31);
    expect(await groupsOf('capture')).toHaveLength(10);
  });

  it('is reported while it lasts, with its start, and so is a pass that fails as a whole', async () => {
    await bench.declare('accounts');
    await spoil('accounts');
    await bench.reconciler.pass();
    const sinceMs = bench.clock.monotonicMs();
    await spoil('payments');
    await bench.clock.advance(1_000);
    await expect(bench.reconciler.pass()).rejects.toThrow();
    expect(bench.reconciler.troubles).toMatchObject([
      { group: 'accounts', error: { code: 'DATABASE_UNAVAILABLE' }, sinceMs },
      { group: 'payments', sinceMs: sinceMs + 1_000 },
      { group: '', error: { code: 'DATABASE_UNAVAILABLE' }, sinceMs: sinceMs + 1_000 },
    ]);
    await mend('payments');
    await bench.reconciler.pass();
    expect(bench.reconciler.troubles).toMatchObject([{ group: 'accounts', sinceMs }]);
  });

  it('that a person has paused since it was read gets no automatic failover', async () => {
    bench.status = 'down';
    const byOlga = { nowMs: bench.clock.wallMs(), operator: 'olga', reason: '' };
    bench.beforeWrite = () => database.rows.write(async (trx) => void (await pauseAutomation(trx, 'payments', byOlga)));
    await bench.reconciler.pass();
    expect(await intents()).toEqual([]);
    await database.rows.write((trx) => resumeAutomation(trx, 'payments', byOlga));
    await bench.reconciler.pass();
    expect(await groupsOf('failover')).toEqual(['payments']);
  });

  it('whose failover has ended since it was read is not failed over again', async () => {
    bench.status = 'down';
    bench.beforeWrite = () => database.rows.epoch({ epoch: 2n, owner: 'b', isActive: true });
    await bench.reconciler.pass();
    expect(await intents()).toEqual([]);
    await bench.reconciler.pass();
    expect(await groupsOf('failover')).toEqual(['payments']);
  });
});

describe('a group that has been read', () => {
  const captured = (name: string, ageMs = 0): Promise<void> =>
    database.rows.captured(
      [generation({ recoveryPointMs: bench.clock.wallMs() - ageMs, manifestDigest: `${name}01` })],
      name,
    );

  /** Nothing is due in either group but what the test asks for. */
  beforeEach(async () => {
    bench = new Bench({ hears: true });
    for (const name of ['accounts', 'cards']) await bench.declare(name);
    for (const name of ['accounts', 'cards']) {
      await captured(name);
      for (const site of ['b', 'c']) await database.rows.acknowledged(site, generation({}), name);
    }
    // The first passes plan a scrub of each.
    for (let count = 0; count < 3; count += 1) await bench.passes();
    bench.reads = 0;
  });

  it('is not read again while nothing is written of it and nothing is due', async () => {
    for (let count = 0; count < 5; count += 1) await bench.passes();
    expect(bench.reads).toBe(0);
  });

  it('is read again once something that was written names it', async () => {
    bench.touched = new Set(['accounts', 'another']);
    for (let count = 0; count < 3; count += 1) await bench.passes();
    expect(bench.reads).toBe(1);
    bench.touched = 'all';
    await bench.passes();
    expect(bench.reads).toBe(3);
  });

  it('is read again when one of its operations begins, waits for a person, or ends', async () => {
    await database.rows.intended({
      id: 'one',
      kind: 'drill',
      group: 'accounts',
      site: 'c',
      state: { phase: 'planned' },
    });
    await bench.passes();
    expect(bench.reads).toBe(1);
    const change = (to: object): Promise<unknown> =>
      database.rows.write((trx) => trx.updateTable('intent').set(to).where('id', '=', 'one').execute());
    await change({ attempts: 3 });
    await bench.passes();
    expect(bench.reads).toBe(1);
    await change({ status: 'parked', updated_ms: BigInt(bench.clock.wallMs()) });
    await bench.passes();
    expect(bench.reads).toBe(2);
    await change({ status: 'done' });
    for (let count = 0; count < 2; count += 1) await bench.passes();
    expect(bench.reads).toBe(3);
  });

  it('is read again from time to time, in case somebody else has written', async () => {
    await bench.clock.advance(TIMINGS.parkedRetryMs * 4);
    await bench.passes();
    expect(bench.reads).toBe(2);
  });

  it('is planned upon facts that are read for it, as soon as something is due', async () => {
    bench.status = 'down';
    // Somebody else has moved the group meanwhile, and nobody has said so.
    await database.rows.epoch({ epoch: 2n, owner: 'b', isActive: true }, 'accounts');
    await bench.passes();
    const failovers = (await intents()).filter(({ kind }) => kind === 'failover');
    const from = failovers.map(({ group, state }) => `${group} from ${(state as { from?: string }).from}`);
    expect(from.sort()).toEqual(['accounts from b', 'cards from a']);
  });
});

it('a pass that has no time for all groups is followed by one that goes on with the others', async () => {
  bench = new Bench();
  for (let count = 0; count < 8; count += 1) await bench.declare(`g${count}`);
  // A reading takes longer than a pass has.
  bench.readingMs = TIMINGS.planMs * 4 + 1;
  for (let count = 0; count < 2; count += 1) {
    void bench.reconciler.pass();
    await bench.clock.advance(bench.readingMs * 2);
  }
  const captures = (await intents()).filter(({ kind }) => kind === 'capture');
  expect(new Set(captures.map(({ group }) => group)).size).toBe(8);
});

describe('an intent that is wanted only by what else is in the database', () => {
  const drill = { kind: 'drill', group: 'payments', site: 'c', state: { phase: 'planned' }, trace: {} } as const;

  it('is made where it is wanted', async () => {
    const made = await bench.reconciler.intend(drill, async () => true);
    expect(made).toEqual({ id: (await intents())[0]?.id, isNew: true });
    expect([bench.enqueued, bench.lanes]).toEqual([[made.id], ['site.c']]);
    expect(await database.rows.events()).toEqual(['drill-intended']);
  });

  it('leaves no trace where it is not, and wakes nobody', async () => {
    expect(await bench.reconciler.intend(drill, async () => false)).toEqual({ id: '', isNew: false });
    await bench.clock.advance(0);
    expect([await intents(), await database.rows.events(), bench.enqueued]).toEqual([[], [], []]);
  });

  it('is looked for in the transaction that makes it', async () => {
    const seen: unknown[] = [];
    await bench.reconciler.intend(drill, async (trx) => {
      seen.push(trx === bench.transaction, await readIntents(trx, { limit: 1 }));
      return true;
    });
    expect(seen).toEqual([true, []]);
  });
});

describe('while the queue takes wake-ups and delivers none', () => {
  const look = async (ms: number): Promise<void> => {
    await bench.clock.advance(ms);
    await bench.reconciler.pass();
  };
  beforeEach(async () => {
    bench.status = 'unknown';
    await open('move', { kind: 'failover', site: '' });
    await open('drill', { kind: 'drill', site: 'b' });
    await bench.reconciler.pass();
  });

  it('a failover runs without it after some passes, and what waits at a site does later', async () => {
    await look(TIMINGS.planMs * 3 - 1);
    expect(bench.ran).toEqual([]);
    await look(1);
    expect(bench.ran).toEqual(['move']);
    await look(TIMINGS.parkedRetryMs);
    expect(bench.ran.toSorted()).toEqual(['drill', 'move', 'move']);
  });

  it('what runs, and what has come further meanwhile, is not run once more', async () => {
    bench.running.add('drill');
    await look(TIMINGS.planMs * 2);
    await database.rows.write((trx) => updateIntent(trx, 'move', { attempts: 1 }, bench.clock.wallMs()));
    await look(TIMINGS.planMs);
    await look(TIMINGS.planMs * 2);
    expect(bench.ran).toEqual([]);
  });
});

describe('while the queue is away', () => {
  beforeEach(() => {
    bench.isQueueUp = false;
  });

  it('intents run without it, and with it again when it is back', async () => {
    await bench.passes();
    expect(bench.ran.length).toBeGreaterThan(0);
    bench.isQueueUp = true;
    const before = bench.ran.length;
    await bench.passes();
    expect(bench.ran.length).toBe(before);
    expect(bench.enqueued.length).toBeGreaterThan(0);
  });

  it('only so many run beside each other', async () => {
    bench.status = 'unknown';
    bench.run = () => new Promise(() => {});
    for (let count = 0; count < 20; count += 1) await open(`due-${count}`);
    await bench.passes();
    expect(bench.ran.length).toBe(8);
  });

  it('others run when those have ended', async () => {
    bench.status = 'unknown';
    for (let count = 0; count < 20; count += 1) await open(`due-${count}`);
    for (let count = 0; count < 3; count += 1) await bench.passes();
    expect(bench.ran.length).toBeGreaterThan(8);
  });

  it('a run that fails for a while does not end the pass', async () => {
    bench.run = async () => {
      throw new AntipodeError('SITE_UNREACHABLE', 'away');
    };
    expect(await bench.passes()).toBe(true);
    expect(await bench.passes()).toBe(true);
  });

  it('a run that takes long does not keep a failover from being planned', async () => {
    bench.run = () => new Promise(() => {});
    await open('long', { kind: 'replication', site: 'b' });
    await bench.passes();
    bench.status = 'down';
    expect(await bench.passes()).toBe(true);
    expect((await intents()).map(({ kind }) => kind)).toContain('failover');
  });

  it('a failover runs at once, however many other runs there are', async () => {
    bench.status = 'unknown';
    bench.run = () => new Promise(() => {});
    for (let count = 0; count < 20; count += 1) await open(`due-${count}`);
    await bench.passes();
    expect(bench.ran.length).toBe(8);
    bench.status = 'down';
    await bench.passes();
    const failover = (await intents()).find(({ kind }) => kind === 'failover');
    expect(bench.ran.slice(8)).toEqual([failover?.id]);
  });
});

it('an automatic failover that would lose an acknowledged generation is logged once, held, and begins when it need not wait', async () => {
  const bench = new Bench();
  await bench.declare('cards', ['a', 'b', 'c', 'd', 'e']);
  const held = (number: bigint) => ({ epoch: 1n, number, manifestDigest: `0${number}` });
  const says = (site: string, number: bigint) => {
    const applied = { epoch: 1n, generation: number, manifestDigest: fromHex(`0${number}`) };
    const seat = { group: 'cards', role: MemberRole.STANDBY, epochOwner: 'a', epoch: 1n, applied };
    bench.views.set(site, siteView(site, { members: [seat], partitions: [{ serial: `cards-${site}` }] }));
  };
  await database.rows.captured(
    [4n, 5n, 6n].map((number) => generation(held(number))),
    'cards',
  );
  await database.rows.acknowledged('b', held(5n), 'cards');
  for (const site of ['a', 'b']) bench.views.set(site, siteView(site, undefined, { status: 'down' }));
  for (const site of ['c', 'd', 'e']) says(site, 4n);
  const failovers = async (): Promise<Intent[]> => (await intents()).filter(({ kind }) => kind === 'failover');
  for (let count = 0; count < 3; count += 1) await bench.passes();
  expect((await database.rows.events()).filter((kind) => kind.startsWith('failover'))).toEqual(['failover-waiting']);
  expect(await failovers()).toEqual([]);
  expect(bench.reconciler.waitOf('cards')).toMatchObject({
    to: 'c',
    generations: [held(5n)],
    losses: [held(5n), held(6n)],
    holders: [{ site: 'b', trouble: 'down' }],
  });
  says('b', 5n);
  await bench.passes();
  expect(bench.reconciler.waitOf('cards')).toBeUndefined();
  expect(await failovers()).toHaveLength(1);
});
