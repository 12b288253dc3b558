import { AntipodeError, Log } from '@antipode/runtime';
import { FakeClock, thrown } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { recordFire } from '../store/tables/fires.ts';
import { testDatabase } from '../testing/database.ts';
import { SPEC } from '../testing/group.ts';
import { FakeLeadership, FIRST_EPOCH } from '../testing/leader.ts';
import { checkCron, Schedule } from './schedule.ts';

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
  ])('must not be "%s"', (expression) => {
    const error = thrown(() => checkCron(expression));
    expect(error.code).toBe('REQUEST_INVALID');
    expect(error.details['field']).toBe('drill_cron');
  });
});

const DAY_MS = 86_400_000;
/** A Thursday. */
const START = Date.UTC(2026, 0, 1, 12);
const at = (day: number, hour: number, minute = 0): number => Date.UTC(2026, 0, day, hour, minute);

/** The database that all coordinators of these tests share. */
const database = testDatabase();

const kept = (fireMs: number): Promise<boolean> =>
  database.store.write(FIRST_EPOCH, (trx) => recordFire(trx, 'drill payments', fireMs));
const fires = async (): Promise<number[]> => {
  const rows = await database.store.query((db) =>
    db
      .selectFrom('schedule_fire')
      .select('fire_ms')
      .where('schedule', '=', 'drill payments')
      .orderBy('fire_ms')
      .execute(),
  );
  return rows.map(({ fire_ms }) => Number(fire_ms));
};

class Leader {
  readonly drilled: string[] = [];
  readonly lines: string[] = [];
  readonly leadership = new FakeLeadership();
  failure: AntipodeError | undefined;
  readonly schedule: Schedule;

  constructor(clock: FakeClock) {
    const { leadership } = this;
    this.schedule = new Schedule({
      store: database.store,
      election: leadership,
      clock,
      log: new Log({ level: 'warn', format: 'text', write: (line) => this.lines.push(line) }),
      // As the reconciler does it: the row of the fire time stands or falls with the intent.
      drill: (group, isWanted) =>
        database.store.write(leadership.require(), async (trx) => {
          if (!(await isWanted(trx))) return;
          if (this.failure !== undefined) throw this.failure;
          this.drilled.push(group);
        }),
    });
  }

  look(drillCron: string): Promise<void> {
    return this.schedule.look([{ ...SPEC, drillCron }]);
  }
}

describe('the schedule', () => {
  let clock: FakeClock;
  const lead = (): Leader => new Leader(clock);
  /** Looks at the calendar every so often, as the coordinator's loop does. */
  const passes = async (leader: Leader, drillCron: string, ms: number, everyMs = 30_000): Promise<void> => {
    for (let passedMs = 0; passedMs < ms; passedMs += everyMs) {
      await leader.look(drillCron);
      await clock.advance(everyMs);
    }
    await leader.look(drillCron);
  };

  beforeEach(() => {
    clock = new FakeClock({ originMs: START });
  });

  it('drills at each fire time, in UTC, and remembers it', async () => {
    const leader = lead();
    await passes(leader, '30 3 * * *', 2 * DAY_MS);
    expect(leader.drilled).toEqual(['payments', 'payments']);
    expect(await fires()).toEqual([at(2, 3, 30), at(3, 3, 30)]);
  });

  it('loses no fire time to a pause of the process, however long', async () => {
    const leader = lead();
    for (const pauseMs of [2_500, 90_000, 2 * DAY_MS]) {
      const before = leader.drilled.length;
      await leader.look('* * * * *');
      await clock.advance(60_000 - (clock.wallMs() % 60_000) - 1);
      await leader.look('* * * * *');
      await clock.advance(pauseMs);
      await leader.look('* * * * *');
      expect(leader.drilled.length).toBeGreaterThan(before);
    }
  });

  it('keeps the first fire time of a calendar, though nobody led when it came', async () => {
    const first = lead();
    await first.look('0 3 * * *');
    await clock.advance(DAY_MS);
    const next = lead();
    await next.look('0 3 * * *');
    expect([next.drilled, await fires()]).toEqual([['payments'], [at(2, 3)]]);
  });

  it('makes up for what a clock that was set ahead went over, and says so when it is set back', async () => {
    const leader = lead();
    await leader.look('0 3 * * *');
    clock.stepWall(3 * DAY_MS);
    await leader.look('0 3 * * *');
    expect(await fires()).toEqual([at(4, 3)]);
    clock.stepWall(-3 * DAY_MS);
    await passes(leader, '0 3 * * *', DAY_MS);
    expect(await fires()).toEqual([at(2, 3)]);
    expect(leader.lines.join()).toContain('the clock was set back');
    await passes(leader, '0 3 * * *', 3 * DAY_MS);
    expect(await fires()).toEqual([2, 3, 4, 5].map((day) => at(day, 3)));
  });

  it('keeps every fire time after a clock that was set back before this coordinator led', async () => {
    await kept(at(30, 3));
    const leader = lead();
    await passes(leader, '0 3 * * *', 2 * DAY_MS);
    expect(await fires()).toEqual([at(2, 3), at(3, 3)]);
  });

  it('drills once, although its clock is put back by a minute at the fire time', async () => {
    const leader = lead();
    await passes(leader, '1 12 * * *', 90_000);
    clock.stepWall(-60_000);
    await passes(leader, '1 12 * * *', 180_000);
    expect(leader.drilled).toEqual(['payments']);
  });

  it('drills once, although two coordinators take themselves for the leader', async () => {
    const both = [lead(), lead()];
    for (let hour = 0; hour <= 24; hour += 1) {
      for (const leader of both) await leader.look('0 3 * * *');
      await clock.advance(DAY_MS / 24);
    }
    expect(both.flatMap(({ drilled }) => drilled)).toEqual(['payments']);
  });

  it('makes up for what was missed while nobody led: the latest, once', async () => {
    await kept(at(1, 3) - 5 * DAY_MS);
    const leader = lead();
    await leader.look('0 3 * * *');
    expect(leader.drilled).toEqual(['payments']);
    expect((await fires()).at(-1)).toBe(at(1, 3));
    const next = lead();
    await next.look('0 3 * * *');
    expect(next.drilled).toEqual([]);
  });

  it('makes up for what was missed months ago', async () => {
    await kept(Date.UTC(2025, 5, 1));
    const leader = lead();
    await leader.look('0 3 1 7 *');
    expect((await fires()).at(-1)).toBe(Date.UTC(2025, 6, 1, 3));
  });

  it('makes up for nothing where nothing was missed, or nothing ever due', async () => {
    const never = lead();
    await never.look('0 3 * * *');
    await kept(at(1, 3));
    const regular = lead();
    await regular.look('0 3 * * *');
    const uneven = lead();
    await uneven.look('0 1,2,3,13 * * *');
    expect([never.drilled, regular.drilled, uneven.drilled]).toEqual([[], [], []]);
  });

  it('makes up for a missed time, although times are not evenly spread', async () => {
    await kept(at(1, 10));
    const leader = lead();
    await leader.look('0 10,11,13 * * *');
    expect(await fires()).toEqual([at(1, 10), at(1, 11)]);
  });

  it('makes up for no time that was never due', async () => {
    await kept(at(1, 3));
    await clock.advance(DAY_MS);
    const leader = lead();
    await leader.look('0 3 * * 1,4');
    expect(leader.drilled).toEqual([]);
  });

  it('drills nothing where another leads, also when leadership is lost between two fire times', async () => {
    const other = lead();
    other.leadership.epoch = undefined;
    await passes(other, '0 3 * * *', DAY_MS);
    const former = lead();
    await former.look('0 3 * * *');
    former.leadership.epoch = undefined;
    await passes(former, '0 3 * * *', DAY_MS);
    expect([other.drilled, former.drilled]).toEqual([[], []]);
    expect(await fires()).toEqual([]);
  });

  it('follows a changed expression, and forgets a group without one', async () => {
    const leader = lead();
    await leader.look('0 3 * * *');
    await passes(leader, '0 4 * * *', DAY_MS);
    expect(await fires()).toEqual([at(2, 4)]);
    await passes(leader, '', DAY_MS);
    expect(await fires()).toEqual([at(2, 4)]);
  });

  it('tries a drill again that could not be started, tells of it once, and goes on', async () => {
    const leader = lead();
    leader.failure = new AntipodeError('GENERATION_UNKNOWN', 'none yet');
    await passes(leader, '0 3 * * *', DAY_MS);
    expect(leader.lines).toHaveLength(1);
    leader.failure = undefined;
    await passes(leader, '0 3 * * *', DAY_MS);
    expect(await fires()).toEqual([at(2, 3), at(3, 3)]);
  });

  it('takes a drill that could not be started for missed: the next leader makes up for it', async () => {
    await kept(at(1, 3) - DAY_MS);
    const leader = lead();
    leader.failure = new AntipodeError('DATABASE_UNAVAILABLE', 'away');
    await leader.look('0 3 * * *');
    expect(await fires()).toEqual([at(1, 3) - DAY_MS]);
    const next = lead();
    await next.look('0 3 * * *');
    expect([leader.drilled, next.drilled]).toEqual([[], ['payments']]);
  });
});
