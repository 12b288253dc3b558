import { DatabaseSync } from 'node:sqlite';
import { AntipodeError, type Clock, silentLog } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { Kysely, SqliteDialect } from 'kysely';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Election } from './election.ts';
import type { GroupSpec } from './model.ts';
import { checkCron, Schedule } from './schedule.ts';
import type { Schema } from './store/schema.ts';
import type { Store, Write } from './store/store.ts';

describe('a cron expression', () => {
  it.each(['', '0 3 * * 0', '*/5 * * * *', '0 3 * * SUN', ' 0  3 1 1-6/2 * '])('may be "%s"', (expression) => {
    expect(() => checkCron(expression)).not.toThrow();
  });

  it.each([
    '0 3 * *',
    '* * * * * *',
    '@daily',
    '60 * * * *',
    '0 24 * * *',
    '0 3 32 * *',
    '0 3 * 13 *',
    '0 3 * * 8',
    '-1 * * * *',
    '*/0 * * * *',
    'every night',
    ' ',
  ])('may not be "%s"', (expression) => {
    const error = thrown(() => checkCron(expression));
    expect(error.code).toBe('REQUEST_INVALID');
    expect(error.details['field']).toBe('drill_cron');
  });
});

/** node-cron knows no clock but the machine's, so that is what stands still here. */
const clock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => Date.now(),
  sleep: async () => {},
};

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** A Thursday. */
const START = Date.UTC(2026, 0, 1, 12);
const at = (day: number, hour: number, minute = 0): number => Date.UTC(2026, 0, day, hour, minute);

/** What all coordinators of these tests share: fire times, in memory, with the same SQL. */
class Table {
  readonly #memory = new DatabaseSync(':memory:');
  readonly #db: Kysely<Schema>;

  constructor() {
    this.#memory.exec('CREATE TABLE schedule_fire (schedule text, fire_ms int, PRIMARY KEY (schedule, fire_ms))');
    const prepare = (text: string) => {
      const statement = this.#memory.prepare(text);
      statement.setReadBigInts(true);
      const bound = (given: readonly unknown[]) => given as (string | bigint)[];
      return {
        reader: statement.columns().length > 0,
        all: (given: readonly unknown[]) => statement.all(...bound(given)),
        run: (given: readonly unknown[]) => statement.run(...bound(given)),
        iterate: (given: readonly unknown[]) => statement.iterate(...bound(given)),
      };
    };
    this.#db = new Kysely<Schema>({
      dialect: new SqliteDialect({ database: { prepare, close: () => this.#memory.close() } }),
    });
  }

  get store(): Store {
    return {
      query: (work: (db: Kysely<Schema>) => Promise<unknown>) => work(this.#db),
      write: (_epoch: bigint, work: (trx: Write) => Promise<unknown>) =>
        this.#db.transaction().execute((trx) => work(trx)),
    } as unknown as Store;
  }

  kept(fireMs: number): void {
    this.#memory.prepare('INSERT INTO schedule_fire VALUES (?, ?)').run('drill payments', fireMs);
  }

  get fires(): number[] {
    return this.#memory
      .prepare('SELECT fire_ms FROM schedule_fire ORDER BY fire_ms')
      .all()
      .map(({ fire_ms }) => Number(fire_ms));
  }
}

class Leader {
  readonly drilled: string[] = [];
  epoch: bigint | undefined = 1n;
  failure: AntipodeError | undefined;
  readonly schedule: Schedule;

  constructor(table: Table) {
    const lead = (): bigint | undefined => this.epoch;
    const election = {
      get epoch() {
        return lead();
      },
      require: () => {
        const epoch = lead();
        if (epoch === undefined) throw new AntipodeError('LEADERSHIP_LOST', 'another leads');
        return epoch;
      },
    } as unknown as Election;
    this.schedule = new Schedule({
      store: table.store,
      election,
      clock,
      log: silentLog,
      // As the reconciler does it: the row of the fire time stands or falls with the intent.
      drill: (group, isWanted) =>
        table.store.write(election.require(), async (trx) => {
          if (!(await isWanted(trx))) return;
          if (this.failure !== undefined) throw this.failure;
          this.drilled.push(group);
        }),
    });
  }

  follow(drillCron: string): Promise<void> {
    return this.schedule.follow([{ name: 'payments', drillCron } as GroupSpec]);
  }
}

describe('the schedule', () => {
  let table: Table;
  let leaders: Leader[];
  const lead = (): Leader => {
    const made = new Leader(table);
    leaders.push(made);
    return made;
  };

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'], now: START });
    table = new Table();
    leaders = [];
  });
  afterEach(async () => {
    for (const { schedule } of leaders) await schedule.close();
    vi.useRealTimers();
  });

  it('drills at each fire time, in UTC, and remembers it', async () => {
    const leader = lead();
    await leader.follow('30 3 * * *');
    await vi.advanceTimersByTimeAsync(2 * DAY_MS);
    expect(leader.drilled).toEqual(['payments', 'payments']);
    expect(table.fires).toEqual([at(2, 3, 30), at(3, 3, 30)]);
  });

  it('drills once, although two coordinators take themselves for the leader', async () => {
    const both = [lead(), lead()];
    for (const leader of both) await leader.follow('0 3 * * *');
    await vi.advanceTimersByTimeAsync(DAY_MS);
    expect(both.flatMap(({ drilled }) => drilled)).toEqual(['payments']);
  });

  it('makes up for what was missed while nobody led: the latest, once', async () => {
    table.kept(at(1, 3) - 5 * DAY_MS);
    const leader = lead();
    await leader.follow('0 3 * * *');
    expect(leader.drilled).toEqual(['payments']);
    expect(table.fires.at(-1)).toBe(at(1, 3));
    const next = lead();
    await next.follow('0 3 * * *');
    expect(next.drilled).toEqual([]);
  });

  it('makes up for nothing where nothing was missed, or nothing ever due', async () => {
    const never = lead();
    await never.follow('0 3 * * *');
    table.kept(at(1, 3));
    const kept = lead();
    await kept.follow('0 3 * * *');
    const uneven = lead();
    await uneven.follow('0 1,2,3,13 * * *');
    expect([never.drilled, kept.drilled, uneven.drilled]).toEqual([[], [], []]);
  });

  it('makes up for a missed time, although times are not evenly spread', async () => {
    table.kept(at(1, 10));
    const leader = lead();
    await leader.follow('0 10,11,13 * * *');
    expect(table.fires).toEqual([at(1, 10), at(1, 11)]);
  });

  it('makes up for no time that was never due', async () => {
    table.kept(at(1, 3));
    vi.setSystemTime(at(2, 12));
    const leader = lead();
    await leader.follow('0 3 * * 1,4');
    expect(leader.drilled).toEqual([]);
  });

  it('drills nothing where another leads, also when leadership is lost between two fire times', async () => {
    const other = lead();
    other.epoch = undefined;
    await other.follow('0 3 * * *');
    expect(vi.getTimerCount()).toBe(0);
    const former = lead();
    await former.follow('0 3 * * *');
    former.epoch = undefined;
    await vi.advanceTimersByTimeAsync(DAY_MS);
    expect([other.drilled, former.drilled]).toEqual([[], []]);
    expect(table.fires).toEqual([]);
  });

  it('follows a changed expression, and forgets a group without one', async () => {
    const leader = lead();
    await leader.follow('0 3 * * *');
    await leader.follow('0 4 * * *');
    await vi.advanceTimersByTimeAsync(DAY_MS);
    expect(table.fires).toEqual([at(2, 4)]);
    await leader.follow('');
    await vi.advanceTimersByTimeAsync(DAY_MS);
    expect(table.fires).toEqual([at(2, 4)]);
  });

  it('keeps its tasks when it is told the same again', async () => {
    const leader = lead();
    await leader.follow('*/5 * * * *');
    await vi.advanceTimersByTimeAsync(4 * MINUTE_MS);
    await leader.follow('*/5 * * * *');
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect(leader.drilled).toEqual(['payments']);
  });

  it('goes on after a drill that could not be started', async () => {
    const leader = lead();
    leader.failure = new AntipodeError('GENERATION_UNKNOWN', 'none yet');
    await leader.follow('0 3 * * *');
    await vi.advanceTimersByTimeAsync(DAY_MS);
    leader.failure = undefined;
    await vi.advanceTimersByTimeAsync(DAY_MS);
    expect(leader.drilled).toEqual(['payments']);
    expect(table.fires).toEqual([at(3, 3)]);
  });

  it('takes a drill that could not be started for missed: the next leader makes up for it', async () => {
    table.kept(at(1, 3) - DAY_MS);
    const leader = lead();
    leader.failure = new AntipodeError('DATABASE_UNAVAILABLE', 'away');
    await leader.follow('0 3 * * *');
    expect(table.fires).toEqual([at(1, 3) - DAY_MS]);
    const next = lead();
    await next.follow('0 3 * * *');
    expect([leader.drilled, next.drilled]).toEqual([[], ['payments']]);
  });

  it('drills nothing more once it is closed', async () => {
    const leader = lead();
    await leader.follow('0 3 * * *');
    await leader.schedule.close();
    await vi.advanceTimersByTimeAsync(2 * DAY_MS);
    expect(leader.drilled).toEqual([]);
  });
});
