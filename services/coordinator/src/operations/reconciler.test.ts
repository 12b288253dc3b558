import { MemberRole } from '@antipode/protocol';
import { AntipodeError, fromHex, seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Election } from '../election.ts';
import type { GroupCache } from '../groups/group-cache.ts';
import type { Group } from '../model.ts';
import type { WakeUps } from '../queue/wake-ups.ts';
import type { Detector, SiteStatus } from '../sites/detector.ts';
import type { JournalBook } from '../sites/journals.ts';
import type { Store } from '../store/store.ts';
import type { Intent, NewIntent } from '../store/tables/intents.ts';
import { PROFILES } from '../timings.ts';
import { Reconciler } from './reconciler.ts';
import type { Runner } from './runner.ts';

const TIMINGS = PROFILES.default;
const TRANSACTION = { name: 'the transaction' };

/** The database, in memory: intents, no generation yet, and what was asked of it. */
const table = vi.hoisted(() => new Map<string, Intent>());
const asked = vi.hoisted(() => ({ failoversSince: [] as number[] }));
vi.mock(import('../store/tables/intents.ts'), () => ({
  insertIntent: async (_trx: unknown, one: NewIntent, nowMs: number) => {
    const isSame = ({ kind, group, site, status }: Intent): boolean =>
      kind === one.kind && group === one.group && site === one.site && ['open', 'parked'].includes(status);
    const open = [...table.values()].find(isSame);
    if (open !== undefined) return { id: open.id, isNew: false };
    const row = {
      status: 'open',
      attempts: 0,
      performing: 0,
      requestId: `${one.id}.0`,
      errorCode: '',
      errorMessage: '',
    } as const;
    table.set(one.id, { ...one, ...row, nextAttemptMs: nowMs, createdMs: nowMs, updatedMs: nowMs });
    return { id: one.id, isNew: true };
  },
  readOpenIntents: async () => [...table.values()].filter(({ status }) => ['open', 'parked'].includes(status)),
  readFailed: async () => [...table.values()].filter(({ status }) => status === 'failed'),
  readDone: async (_db: unknown, { sinceMs }: { sinceMs: number }) => {
    asked.failoversSince.push(sinceMs);
    return [...table.values()].filter(({ kind, status }) => kind === 'failover' && status === 'done');
  },
  updateIntent: async (_trx: unknown, id: string, change: Partial<Intent>, updatedMs: number) => {
    table.set(id, { ...table.get(id)!, ...change, updatedMs });
    return true;
  },
}));
const records = vi.hoisted(() => ({
  newest: undefined as unknown,
  acknowledged: [] as unknown[],
  ahead: [] as unknown[],
}));
vi.mock(import('../store/tables/generations.ts'), () => ({
  readNewest: async () => records.newest as never,
  readAcknowledged: async () => records.acknowledged as never,
  readAhead: async () => records.ahead as never,
}));

/** Groups by name; one without a row cannot be read. */
const groups = vi.hoisted(() => new Map<string, Group>());
/** Groups whose reading waits, until the test lets it end. */
const slow = vi.hoisted(() => new Map<string, Promise<void>>());
const epochs = vi.hoisted(() => ({ areCurrent: true }));
vi.mock(import('../store/tables/groups.ts'), () => ({
  readGroup: async (_db: unknown, name: string) => {
    await slow.get(name);
    const group = groups.get(name);
    if (group === undefined) throw new AntipodeError('DATABASE_UNAVAILABLE', 'a row cannot be parsed');
    return group;
  },
  areEpochsCurrent: async () => epochs.areCurrent,
}));
vi.mock(import('../store/tables/scrubs.ts'), () => ({ readScrubs: async () => [] }));

class Bench {
  readonly clock = new FakeClock();
  readonly enqueued: string[] = [];
  readonly lanes: string[] = [];
  readonly ran: string[] = [];
  readonly events: string[] = [];
  readonly running = new Set<string>();
  /** What was heard of a site, where that is more than its status. */
  readonly views = new Map<string, object>();
  isQueueUp = true;
  epoch: bigint | undefined = 1n;
  status: SiteStatus = 'up';
  readonly group: Group;
  readonly groups: Group[] = [];
  readonly needed: unknown[] = [];
  run: () => Promise<void> = async () => {};
  readonly reconciler: Reconciler;

  constructor() {
    const members = ['a', 'b', 'c'].map((site, at) => ({
      site,
      serial: site,
      role: at === 0 ? 'active' : 'standby',
      divergent: 0,
    }));
    const group = {
      spec: { name: 'payments', members, scratch: [], rpoMs: 300_000, failoverPolicy: 'automatic', drillCron: '' },
      members,
      epoch: 1n,
      owner: 'a',
      highestEpoch: 1n,
      highestOwner: 'a',
      domainKeyVersion: 1,
    } as unknown as Group;
    this.group = group;
    this.groups.push(group);
    groups.clear();
    slow.clear();
    epochs.areCurrent = true;
    groups.set('payments', group);
    this.reconciler = new Reconciler({
      store: {
        query: (work: (db: unknown) => unknown) => work(undefined),
        snapshot: (work: (db: unknown) => unknown) => work(undefined),
        write: (_epoch: bigint, work: (trx: unknown, record: (event: { kind: string }) => void) => unknown) =>
          work(TRANSACTION, ({ kind }) => this.events.push(kind)),
      } as unknown as Store,
      election: (() => {
        const epoch = (): bigint | undefined => this.epoch;
        return {
          get epoch() {
            return epoch();
          },
          require: epoch,
        } as unknown as Election;
      })(),
      cache: {
        all: this.groups,
        unreadable: [],
        refresh: async () => {},
        learnNeeded: (name: string, digests: string[]) => void this.needed.push([name, digests]),
      } as unknown as GroupCache,
      detector: {
        snapshot: () => (site: string) => this.views.get(site) ?? { status: this.status },
      } as unknown as Detector,
      journals: { flush: async () => {} } as unknown as JournalBook,
      runner: {
        isRunning: (id: string) => this.running.has(id),
        run: (id: string) => {
          this.ran.push(id);
          return this.run();
        },
      } as unknown as Runner,
      wakeUps: {
        enqueue: async (id: string, lane: string) => {
          if (!this.isQueueUp) throw new AntipodeError('QUEUE_UNAVAILABLE', 'Redis is away');
          this.enqueued.push(id);
          this.lanes.push(lane);
        },
      } as unknown as WakeUps,
      clock: this.clock,
      prng: seededPrng('reconciler'),
      log: silentLog,
      timings: TIMINGS,
    });
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

const intents = (): Intent[] => [...table.values()];
const open = (id: string, rest: Partial<Intent> = {}): void => {
  const row = { kind: 'drill', group: 'payments', site: id, state: { phase: 'planned' }, status: 'open' } as const;
  const blank = {
    attempts: 0,
    performing: 0,
    requestId: `${id}.0`,
    nextAttemptMs: 0,
    errorCode: '',
    errorMessage: '',
    trace: {},
    createdMs: 0,
    updatedMs: 0,
  };
  table.set(id, { id, ...row, ...blank, ...rest });
};

let bench: Bench;
beforeEach(() => {
  table.clear();
  asked.failoversSince = [];
  bench = new Bench();
});

describe('a pass', () => {
  it('writes down what is due before anybody is woken for it, and once', async () => {
    await bench.reconciler.pass();
    await bench.reconciler.pass();
    expect(intents()).toMatchObject([{ kind: 'capture', site: 'a', status: 'open' }]);
    // A look at the active member is no event: an idle group would write a thousand a day.
    expect(bench.events).toEqual([]);
    expect(bench.enqueued).toEqual([intents()[0]!.id, intents()[0]!.id]);
  });

  it('notes what members may still ask for: nothing yet, where nothing was captured', async () => {
    await bench.reconciler.pass();
    expect(bench.needed).toEqual([['payments', []]]);
  });

  it('does nothing where another coordinator leads', async () => {
    bench.epoch = undefined;
    open('due');
    await bench.reconciler.pass();
    expect([intents().length, bench.enqueued]).toEqual([1, []]);
  });

  it('enqueues every open intent whose time has come, so that a wiped queue loses nothing', async () => {
    bench.status = 'down';
    open('due');
    open('running');
    open('later', { nextAttemptMs: bench.clock.wallMs() + 1 });
    open('parked', { status: 'parked', updatedMs: bench.clock.wallMs() });
    bench.running.add('running');
    await bench.reconciler.pass();
    expect(bench.enqueued.filter((id) => table.get(id)?.kind === 'drill')).toEqual(['due']);
  });

  it('enqueues what waits for a time that no pause explains: the clock was set since', async () => {
    bench.status = 'down';
    open('soon', { nextAttemptMs: bench.clock.wallMs() + 30_000 });
    open('never', { nextAttemptMs: bench.clock.wallMs() + 6 * 3_600_000 });
    await bench.reconciler.pass();
    expect(bench.enqueued.filter((id) => table.get(id)?.kind === 'drill')).toEqual(['never']);
  });

  it('opens again what has waited for a person for a while', async () => {
    open('parked', { status: 'parked', attempts: 9, updatedMs: bench.clock.wallMs() - TIMINGS.parkedRetryMs });
    await bench.reconciler.pass();
    expect(table.get('parked')).toMatchObject({
      status: 'open',
      attempts: 0,
      nextAttemptMs: bench.clock.wallMs(),
    });
  });

  it('plans the failover of a lost site', async () => {
    bench.status = 'down';
    await bench.reconciler.pass();
    expect(intents()).toMatchObject([{ kind: 'failover', site: '', state: { phase: 'requested', from: 'a' } }]);
    expect(asked.failoversSince).toEqual([bench.clock.wallMs() - TIMINGS.automaticFailoverGapMs]);
  });

  it('gives each site a lane of its own, and each kind that has none', async () => {
    bench.status = 'down';
    await bench.reconciler.pass();
    open('drill', { site: 'b' });
    open('capture', { kind: 'capture', site: 'failover' });
    open('enrolment', { kind: 'enrolment', site: '' });
    bench.lanes.length = 0;
    await bench.passes();
    expect([...bench.lanes].sort()).toEqual(['enrolment', 'failover', 'site.b', 'site.failover']);
  });
});

describe('a group in trouble', () => {
  const others = (...names: string[]): void => {
    for (const name of names) {
      const group = { ...bench.group, spec: { ...bench.group.spec, name } };
      bench.groups.unshift(group);
      groups.set(name, group);
    }
  };
  const groupsOf = (kind: Intent['kind']): string[] =>
    intents()
      .filter((one) => one.kind === kind)
      .map(({ group }) => group);

  it('that cannot be read does not keep another from failing over', async () => {
    others('accounts');
    groups.delete('accounts');
    bench.status = 'down';
    await bench.reconciler.pass();
    expect(groupsOf('failover')).toEqual(['payments']);
    expect(bench.enqueued).toHaveLength(1);
  });

  it('whose reading takes for ever holds up one pass for a moment, and nobody else', async () => {
    others('s1', 's2', 's3');
    for (const name of ['s1', 's2', 's3']) slow.set(name, new Promise(() => {}));
    expect(await bench.passes()).toBe(false);
    await bench.clock.advance(TIMINGS.planMs * 4);
    expect(groupsOf('capture')).toEqual(['payments']);
    bench.status = 'down';
    void bench.reconciler.pass();
    await bench.clock.advance(TIMINGS.planMs * 4);
    expect(groupsOf('failover')).toEqual(['payments']);
  });

  it('is no reason to go on where none can be read: the loop then backs off', async () => {
    groups.clear();
    await expect(bench.reconciler.pass()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  });

  it('is told while it lasts, with the time since when, and so is a pass that fails as a whole', async () => {
    others('accounts');
    groups.delete('accounts');
    await bench.reconciler.pass();
    const sinceMs = bench.clock.monotonicMs();
    const known = new Map(groups);
    groups.clear();
    await bench.clock.advance(1_000);
    await expect(bench.reconciler.pass()).rejects.toThrow();
    expect(bench.reconciler.troubles).toMatchObject([
      { group: 'accounts', error: { code: 'DATABASE_UNAVAILABLE' }, sinceMs },
      { group: 'payments', sinceMs: sinceMs + 1_000 },
      { group: '', error: { code: 'DATABASE_UNAVAILABLE' }, sinceMs: sinceMs + 1_000 },
    ]);
    for (const [name, group] of known) groups.set(name, group);
    await bench.reconciler.pass();
    expect(bench.reconciler.troubles).toMatchObject([{ group: 'accounts', sinceMs }]);
  });

  it('whose failover has ended since it was read is not failed over again', async () => {
    bench.status = 'down';
    epochs.areCurrent = false;
    await bench.reconciler.pass();
    expect(intents()).toEqual([]);
    epochs.areCurrent = true;
    await bench.reconciler.pass();
    expect(groupsOf('failover')).toEqual(['payments']);
  });
});

describe('an intent that is wanted only by what else is in the database', () => {
  const drill = { kind: 'drill', group: 'payments', site: 'c', state: { phase: 'planned' }, trace: {} } as const;

  it('is made where it is wanted', async () => {
    const made = await bench.reconciler.intend(drill, async () => true);
    expect(made).toEqual({ id: intents()[0]?.id, isNew: true });
    expect([bench.events, bench.enqueued, bench.lanes]).toEqual([['drill-intended'], [made.id], ['site.c']]);
  });

  it('leaves no trace where it is not, and wakes nobody', async () => {
    expect(await bench.reconciler.intend(drill, async () => false)).toEqual({ id: '', isNew: false });
    await bench.clock.advance(0);
    expect([intents(), bench.events, bench.enqueued]).toEqual([[], [], []]);
  });

  it('is looked for in the transaction that makes it', async () => {
    const seen: unknown[] = [];
    await bench.reconciler.intend(drill, async (trx) => {
      seen.push(trx, intents().length);
      return true;
    });
    expect(seen).toEqual([TRANSACTION, 0]);
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
    for (let count = 0; count < 20; count += 1) open(`due-${count}`);
    await bench.passes();
    expect(bench.ran.length).toBe(8);
  });

  it('others run when those have ended', async () => {
    bench.status = 'unknown';
    for (let count = 0; count < 20; count += 1) open(`due-${count}`);
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
    open('long', { kind: 'replication', site: 'b' });
    await bench.passes();
    bench.status = 'down';
    expect(await bench.passes()).toBe(true);
    expect(intents().map(({ kind }) => kind)).toContain('failover');
  });

  it('a failover runs at once, however many other runs there are', async () => {
    bench.status = 'unknown';
    bench.run = () => new Promise(() => {});
    for (let count = 0; count < 20; count += 1) open(`due-${count}`);
    await bench.passes();
    expect(bench.ran.length).toBe(8);
    bench.status = 'down';
    await bench.passes();
    const failover = intents().find(({ kind }) => kind === 'failover');
    expect(bench.ran.slice(8)).toEqual([failover?.id]);
  });
});

it('an automatic failover that would lose what is acknowledged is told once, held, and begins when it need not wait', async () => {
  const bench = new Bench();
  const held = (number: bigint) => ({ epoch: 1n, number, manifestDigest: `0${number}` });
  const says = (site: string, number: bigint) =>
    bench.views.set(site, {
      status: 'up',
      state: {
        members: [
          {
            group: 'payments',
            role: MemberRole.STANDBY,
            epochOwner: 'a',
            epoch: 1n,
            applied: { epoch: 1n, generation: number, manifestDigest: fromHex(`0${number}`) },
          },
        ],
        partitions: [{ serial: site, errorCode: '' }],
      },
    });
  Object.assign(records, {
    newest: { ...held(5n), domainKeyVersion: 1, trace: {} },
    acknowledged: [{ ...held(5n), site: 'b' }],
    ahead: [held(5n), held(6n)],
  });
  bench.views.set('a', { status: 'down' }).set('b', { status: 'down' });
  const more = ['d', 'e'].map((site) => ({ ...bench.group.members[2]!, site, serial: site }));
  groups.set('payments', { ...bench.group, members: [...bench.group.members, ...more] });
  for (const site of ['c', 'd', 'e']) says(site, 4n);
  try {
    for (let count = 0; count < 3; count += 1) await bench.passes();
    expect(bench.events.filter((kind) => kind.startsWith('failover'))).toEqual(['failover-waiting']);
    expect(intents().filter(({ kind }) => kind === 'failover')).toEqual([]);
    expect(bench.reconciler.waitOf('payments')).toMatchObject({
      to: 'c',
      generations: [held(5n)],
      losses: [held(5n), held(6n)],
      holders: [{ site: 'b', trouble: 'down' }],
    });
    says('b', 5n);
    await bench.passes();
    expect(bench.reconciler.waitOf('payments')).toBeUndefined();
    expect(intents().filter(({ kind }) => kind === 'failover')).toHaveLength(1);
  } finally {
    Object.assign(records, { newest: undefined, acknowledged: [], ahead: [] });
  }
});
