import { type Boot, Log, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { agoMs, Timeline } from './timeline.ts';

const HOUR_MS = 3_600_000;
const LOOK_MS = 2_000;

/** A machine: its clock, which somebody may set, and its uptime, which nobody can. */
class Machine {
  readonly clock = new FakeClock();
  readonly lines: string[] = [];
  bootId = 'first';
  #upSinceMs = -60_000;
  /** The uptime goes on while the monotonic clock of Linux stands still. */
  sleptMs = 0;

  boot = (): Boot => ({ id: this.bootId, uptimeMs: this.clock.monotonicMs() - this.#upSinceMs + this.sleptMs });

  restart(): void {
    this.bootId = `${this.bootId}-again`;
    this.#upSinceMs = this.clock.monotonicMs() - 1_000;
  }

  timeline(): Timeline {
    const log = new Log({ level: 'warn', format: 'text', write: (line) => this.lines.push(line) });
    return new Timeline({ clock: this.clock, log, boot: this.boot });
  }
}

describe('the timeline', () => {
  it('begins at the time of the clock, and goes on whatever the clock is set to', async () => {
    const machine = new Machine();
    const timeline = machine.timeline();
    const startMs = machine.clock.wallMs();
    expect(timeline.wallMs()).toBe(startMs);
    await machine.clock.advance(1_000);
    machine.clock.stepWall(-6 * HOUR_MS);
    await machine.clock.advance(1_000);
    machine.clock.stepWall(12 * HOUR_MS);
    await machine.clock.advance(1_000);
    expect(timeline.wallMs()).toBe(startMs + 3_000);
  });

  it('tells of each step once, ahead and back, and shows stamps by the clock of now', async () => {
    const machine = new Machine();
    const timeline = machine.timeline();
    const stampMs = timeline.wallMs();
    timeline.look();
    expect([timeline.lastStep, machine.lines]).toEqual([undefined, []]);
    await machine.clock.advance(10_000);
    machine.clock.stepWall(-6 * HOUR_MS);
    timeline.look();
    timeline.look();
    await machine.clock.advance(5_000);
    expect(timeline.lastStep).toEqual({ byMs: -6 * HOUR_MS, ageMs: 5_000 });
    expect(machine.lines).toHaveLength(1);
    // Fifteen seconds ago, by the clock that hangs on the wall now.
    expect(timeline.toWallMs(stampMs)).toBe(machine.clock.wallMs() - 15_000);
    machine.clock.stepWall(6 * HOUR_MS);
    timeline.look();
    expect(timeline.lastStep).toEqual({ byMs: 6 * HOUR_MS, ageMs: 0 });
  });

  it('is not disturbed by a clock that is kept right in small steps', async () => {
    const machine = new Machine();
    const timeline = machine.timeline();
    for (let count = 0; count < 100; count += 1) {
      machine.clock.stepWall(-100);
      await machine.clock.advance(1_000);
      timeline.look();
    }
    expect([timeline.lastStep, machine.lines]).toEqual([undefined, []]);
  });

  it('counts the time in which the whole machine slept', async () => {
    const machine = new Machine();
    const timeline = machine.timeline();
    const startMs = timeline.wallMs();
    machine.sleptMs = HOUR_MS;
    machine.clock.stepWall(HOUR_MS);
    timeline.look();
    expect(timeline.wallMs()).toBe(startMs + HOUR_MS);
    expect(timeline.lastStep).toBeUndefined();
  });
});

describe('the next process', () => {
  it.each([0, -6 * HOUR_MS, 6 * HOUR_MS])(
    'counts the time in between, though the clock was set by %i',
    async (byMs) => {
      const machine = new Machine();
      const former = machine.timeline();
      await machine.clock.advance(5_000);
      const { mark } = former;
      await machine.clock.advance(70_000);
      machine.clock.stepWall(byMs);
      const next = machine.timeline();
      next.continueFrom(mark, { lookMs: LOOK_MS });
      expect(next.wallMs()).toBe(former.wallMs());
      expect(next.lastStep?.byMs).toBe(byMs === 0 ? undefined : byMs);
      await machine.clock.advance(1_000);
      next.look();
      expect(next.wallMs()).toBe(former.wallMs());
    },
  );

  it('after a restart of the machine goes by the clock, and never back', async () => {
    const machine = new Machine();
    const { mark } = machine.timeline();
    await machine.clock.advance(70_000);
    machine.restart();
    const later = machine.timeline();
    later.continueFrom(mark, { lookMs: LOOK_MS });
    expect(later.wallMs()).toBe(mark.atMs + 70_000);
    machine.clock.stepWall(-6 * HOUR_MS);
    const behind = machine.timeline();
    behind.continueFrom(mark, { lookMs: LOOK_MS });
    expect(behind.wallMs()).toBe(mark.atMs);
    expect(machine.lines.join()).toContain('the timeline stands still');
  });

  it('on a system that tells no uptime goes by the clock too', () => {
    const clock = new FakeClock();
    const nothing = { log: silentLog, boot: () => undefined };
    const { mark } = new Timeline({ clock, ...nothing });
    clock.stepWall(9_000);
    const next = new Timeline({ clock, ...nothing });
    next.continueFrom(mark, { lookMs: LOOK_MS });
    next.look();
    expect([mark.bootId, next.wallMs()]).toEqual(['', mark.atMs + 9_000]);
  });
});

describe('a process on another machine', () => {
  /** Two machines whose monotonic clocks go alike. The wall clock of the second is set apart. */
  const pair = async (byMs: number) => {
    const [ours, theirs] = [new Machine(), new Machine()];
    theirs.bootId = 'other';
    ours.clock.stepWall(byMs);
    const advance = async (ms: number): Promise<void> => {
      await ours.clock.advance(ms);
      await theirs.clock.advance(ms);
    };
    await advance(10_000);
    return { ours, theirs, leader: theirs.timeline(), next: ours.timeline(), advance };
  };
  const lookMs = LOOK_MS;

  it.each([-6 * HOUR_MS, 0, 6 * HOUR_MS])(
    'counts on from a mark that it saw written, its clock set by %i',
    async (byMs) => {
      const { ours, leader, next, advance } = await pair(byMs);
      next.watch(leader.mark, { lookMs });
      await advance(2_000);
      const { mark } = leader;
      await advance(500);
      next.watch(mark, { lookMs });
      next.watch(mark, { lookMs });
      await advance(70_000);
      next.continueFrom(mark, { lookMs });
      // By one look ahead at most, and never behind: a stamp that lies ahead counts as long past.
      expect(next.wallMs() - leader.wallMs()).toBeGreaterThanOrEqual(0);
      expect(next.wallMs() - leader.wallMs()).toBeLessThanOrEqual(LOOK_MS);
      expect([next.lastStep, ours.lines]).toEqual([undefined, []]);
      expect(next.toWallMs(next.wallMs())).toBe(ours.clock.wallMs());
    },
  );

  it('counts a mark from when it was written, though it could be read much later', async () => {
    const { leader, next, advance } = await pair(6 * HOUR_MS);
    for (let look = 0; look < 2; look += 1) {
      next.watch(leader.mark, { lookMs });
      await advance(LOOK_MS);
    }
    // The last one that the leader wrote. For a minute nobody reaches the database.
    const { mark } = leader;
    await advance(60_000);
    next.continueFrom(mark, { lookMs });
    expect(next.wallMs() - leader.wallMs()).toBeGreaterThanOrEqual(0);
    expect(next.wallMs() - leader.wallMs()).toBeLessThanOrEqual(LOOK_MS);
  });

  it('counts the mark that was written after its last look, though it stood still meanwhile', async () => {
    const { leader, next, advance } = await pair(6 * HOUR_MS);
    next.watch(leader.mark, { lookMs });
    await advance(600_000);
    next.continueFrom(leader.mark, { lookMs });
    expect(next.wallMs() - leader.wallMs()).toBe(LOOK_MS);
  });

  it('counts the first mark that it saw change from when it was written, though it was read much later', async () => {
    const { leader, next, advance } = await pair(-300);
    next.watch(leader.mark, { lookMs });
    // The next one is the last that the leader writes. For a minute nobody reaches the database.
    await advance(100);
    const { mark } = leader;
    await advance(60_000);
    next.watch(mark, { lookMs });
    await advance(9_000);
    next.continueFrom(mark, { lookMs });
    expect(next.wallMs() - leader.wallMs()).toBeGreaterThanOrEqual(-300);
    expect(next.wallMs() - leader.wallMs()).toBeLessThanOrEqual(LOOK_MS);
  });

  it('goes by the wall clocks where it has seen no mark written, since that may be long ago', async () => {
    const { leader, next, advance, ours } = await pair(0);
    const { mark } = leader;
    await advance(HOUR_MS);
    for (let look = 0; look < 3; look += 1) {
      next.watch(mark, { lookMs });
      await advance(LOOK_MS);
    }
    next.continueFrom(mark, { lookMs });
    expect(next.wallMs()).toBe(ours.clock.wallMs());
    expect(next.wallMs()).toBe(leader.wallMs());
  });

  it('does not go back with a database that was put back', async () => {
    const { leader, next, advance } = await pair(-6 * HOUR_MS);
    const { mark: older } = leader;
    await advance(2_000);
    next.watch(leader.mark, { lookMs });
    await advance(2_000);
    next.watch(leader.mark, { lookMs });
    await advance(5_000);
    next.watch(older, { lookMs });
    await advance(2_000);
    next.continueFrom(older, { lookMs });
    expect(next.wallMs() - leader.wallMs()).toBeGreaterThanOrEqual(0);
    expect(next.wallMs() - leader.wallMs()).toBeLessThanOrEqual(LOOK_MS);
  });

  it('counts on from its own mark, which nobody has followed', async () => {
    const { ours, next, advance } = await pair(0);
    const startMs = next.wallMs();
    const { mark } = next;
    next.wrote(mark);
    ours.restart();
    await advance(5_000);
    ours.clock.stepWall(6 * HOUR_MS);
    next.continueFrom(mark, { lookMs });
    expect(next.wallMs()).toBe(startMs + 5_000);
  });
});

it('a stamp that lies ahead is long past: nothing waits for it', () => {
  expect(agoMs({ nowMs: 100_000, stampMs: 40_000 })).toBe(60_000);
  expect(agoMs({ nowMs: 100_000, stampMs: 100_000 })).toBe(0);
  expect(agoMs({ nowMs: 100_000, stampMs: 100_001 })).toBe(Number.POSITIVE_INFINITY);
});
