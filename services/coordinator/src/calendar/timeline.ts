/**
 * The time by which the coordinators decide what is due. It is set once from a wall clock and then only counted, so
 * that a clock that is set ahead or back moves no deadline and no age. The leader writes a mark into the database every
 * few seconds. The next leader counts on from that mark, so that deadlines survive a restart and include the time it
 * took.
 *
 * Every stamp in the database is of this time. It is converted to wall-clock time only to be shown.
 */
import { type Boot, type Clock, elapsedMs, type Log, readBoot } from '@antipode/runtime';

/** The record from which the next leader counts on. */
export interface TimelineMark {
  /** Time of the timeline. */
  readonly atMs: number;
  /** The wall clock at that moment. */
  readonly wallMs: number;
  /**
   * Identifies the boot of the machine that wrote the mark, with its uptime then. Empty and 0 if the machine reports
   * none.
   */
  readonly bootId: string;
  readonly uptimeMs: number;
}

export interface ClockStep {
  /** Above 0 where the clock was set ahead. */
  readonly byMs: number;
  readonly ageMs: number;
}

/** Clocks are corrected in small steps all the time. Only a larger step is reported. */
const STEP_MS_MIN = 2_000;

export class Timeline implements Clock {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #boot: () => Boot | undefined;
  /** The timeline is this much ahead of the monotonic clock of the process. */
  #aheadMs: number;
  /** By the last look: how far the wall clock was from the timeline, and the uptime from the monotonic clock. */
  #wallAheadMs: number;
  #uptimeAheadMs: number | undefined;
  /** The mark that was read last, and when, by the monotonic clock. */
  #lastRead: { readonly atMs: number; readonly whenMs: number } | undefined;
  /** The last mark of which it is known when it was written, and that moment. */
  #seen: { readonly atMs: number; readonly sinceMs: number } | undefined;
  #step: { readonly byMs: number; readonly atMs: number } | undefined;

  constructor({ clock, log, boot = readBoot }: { clock: Clock; log: Log; boot?: () => Boot | undefined }) {
    this.#clock = clock;
    this.#log = log;
    this.#boot = boot;
    this.#aheadMs = clock.wallMs() - clock.monotonicMs();
    this.#wallAheadMs = 0;
    this.#uptimeAheadMs = this.#readUptimeAhead();
  }

  /**
   * Now, on the timeline, in whole milliseconds. This is not a wall clock. The name is the one that the `Clock` port
   * gives to the time of stamps.
   */
  wallMs(): number {
    return Math.floor(this.#clock.monotonicMs() + this.#aheadMs);
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  sleptMs(): number {
    return this.#clock.sleptMs?.() ?? 0;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#clock.sleep(ms, signal);
  }

  isSliceOver(sinceMs: number): boolean {
    return this.#clock.isSliceOver(sinceMs);
  }

  makeWay(): Promise<void> {
    return this.#clock.makeWay();
  }

  /** Converts a moment of the timeline to the wall-clock time that people see. */
  toWallMs(atMs: number): number {
    return Math.round(atMs + this.#clock.wallMs() - this.wallMs());
  }

  /** The last step of the wall clock that was noticed in the life of this process. */
  get lastStep(): ClockStep | undefined {
    return this.#step && { byMs: this.#step.byMs, ageMs: Math.round(this.wallMs() - this.#step.atMs) };
  }

  get mark(): TimelineMark {
    const boot = this.#boot();
    return {
      atMs: Math.round(this.wallMs()),
      wallMs: Math.round(this.#clock.wallMs()),
      bootId: boot?.id ?? '',
      uptimeMs: boot?.uptimeMs ?? 0,
    };
  }

  /**
   * Notes the mark of the leader, which another process is. A mark that differs from the one before was written between
   * the two looks, so that this process can count on from it without a wall clock. The first mark may be of any age.
   * @param options.lookMs how often a leader writes a mark, and this process looks
   */
  watch({ atMs, wallMs }: TimelineMark, { lookMs }: { lookMs: number }): void {
    const whenMs = elapsedMs(this.#clock);
    const before = this.#lastRead;
    this.#lastRead = { atMs, whenMs };
    // A lower one is of a database that was put back.
    if (before === undefined || atMs <= before.atMs || atMs <= (this.#seen?.atMs ?? 0)) return;
    // It can be old already: leader and database were apart, or this process and the database. The timeline is counted by
    // monotonic clocks, so that the mark was written as long after the one before as it says.
    const expectedMs = this.#seen && this.#seen.sinceMs + atMs - this.#seen.atMs;
    const isPlausible = expectedMs !== undefined && expectedMs >= before.whenMs && expectedMs <= whenMs;
    // Otherwise the wall clocks of the two machines say how old it is, if that is possible by the two looks.
    const byWallMs = whenMs - (this.#clock.wallMs() - wallMs);
    const isOlder = byWallMs >= before.whenMs - lookMs && byWallMs < whenMs - lookMs;
    // The earlier moment: a stamp that lies ahead of the timeline would count as long past, and ages would be too low.
    const assumedMs = Math.max(before.whenMs, isOlder ? byWallMs : whenMs - lookMs);
    this.#seen = { atMs, sinceMs: isPlausible ? expectedMs : assumedMs };
  }

  /** Notes a mark that this process has written. */
  wrote({ atMs }: TimelineMark): void {
    const sinceMs = elapsedMs(this.#clock) - (this.wallMs() - atMs);
    this.#lastRead = { atMs, whenMs: sinceMs };
    this.#seen = { atMs, sinceMs };
  }

  /**
   * Counts on from where the leader before left it, and never back. On the same machine without a restart of it, by the
   * machine's uptime. On another machine from the last mark that this process has seen written, by its own monotonic
   * clock. By the wall clocks only if it has seen none.
   */
  continueFrom(mark: TimelineMark, { lookMs }: { lookMs: number }): void {
    this.watch(mark, { lookMs });
    const boot = this.#boot();
    const isSameBoot = boot !== undefined && boot.id === mark.bootId && boot.uptimeMs >= mark.uptimeMs;
    const byWallMs = this.#clock.wallMs() - mark.wallMs;
    const bySeenMs = this.#seen && this.#seen.atMs + elapsedMs(this.#clock) - this.#seen.sinceMs - mark.atMs;
    const passedMs = isSameBoot ? boot.uptimeMs - mark.uptimeMs : Math.max(0, bySeenMs ?? byWallMs);
    this.#aheadMs = mark.atMs + passedMs - this.#clock.monotonicMs();
    this.#wallAheadMs = this.#clock.wallMs() - this.wallMs();
    this.#uptimeAheadMs = this.#readUptimeAhead();
    if (isSameBoot && Math.abs(byWallMs - passedMs) >= STEP_MS_MIN) this.#tell(Math.round(byWallMs - passedMs));
    else if (!isSameBoot && bySeenMs === undefined && byWallMs < 0)
      this.#log.warn('the clock is behind the mark of the previous leader; the timeline stands still until then', {
        behindMs: Math.round(-byWallMs),
      });
  }

  /**
   * Reads the clocks once. Reports a step of the wall clock, and counts time during which the whole machine was
   * suspended.
   */
  look(): void {
    const uptimeAheadMs = this.#readUptimeAhead();
    const sleptMs = (uptimeAheadMs ?? 0) - (this.#uptimeAheadMs ?? uptimeAheadMs ?? 0);
    if (sleptMs >= STEP_MS_MIN) {
      this.#aheadMs += sleptMs;
      this.#uptimeAheadMs = uptimeAheadMs;
      this.#log.warn('the machine was suspended', { sleptMs: Math.round(sleptMs) });
    }
    const wallAheadMs = this.#clock.wallMs() - this.wallMs();
    const byMs = Math.round(wallAheadMs - this.#wallAheadMs);
    this.#wallAheadMs = wallAheadMs;
    if (Math.abs(byMs) >= STEP_MS_MIN) this.#tell(byMs);
  }

  #tell(byMs: number): void {
    this.#step = { byMs, atMs: this.wallMs() };
    this.#log.warn(`the wall clock was set ${byMs > 0 ? 'ahead' : 'back'}; deadlines do not move`, { byMs });
  }

  #readUptimeAhead(): number | undefined {
    const boot = this.#boot();
    return boot && boot.uptimeMs - this.#clock.monotonicMs();
  }
}

/**
 * The age of a stamp of the timeline. A stamp in the future can only be wrong. It counts as long past, so that nothing
 * waits for it.
 */
export function agoMs({ nowMs, stampMs }: { nowMs: number; stampMs: number }): number {
  return stampMs > nowMs ? Number.POSITIVE_INFINITY : nowMs - stampMs;
}
