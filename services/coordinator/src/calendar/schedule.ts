/**
 * Drills by calendar, in UTC, only on the leader. A look asks which fire time was the last since the look before, so that
 * none is lost to a process that was paused, a coordinator that was away, or a clock that was set. A fire time is written
 * down, once, with its intent; of several that were missed the latest is made up for, not all of them.
 *
 * The calendar is the one thing here that goes by the clock on the wall: that is what its operator looks at.
 */
import { AntipodeError, type Clock, type Log } from '@antipode/runtime';
import type { Leadership } from '../election.ts';
import type { GroupSpec } from '../model.ts';
import type { Store, Write } from '../store/store.ts';
import { forgetFires, readLastFire, recordFire } from '../store/tables/fires.ts';
import { latestMatch, parseCron } from './cron.ts';

export interface SchedulePorts {
  readonly store: Pick<Store, 'query' | 'write'>;
  readonly election: Leadership;
  /** The clock on the wall. */
  readonly clock: Clock;
  readonly log: Log;
  /** Starts the drill of a group, where `isWanted` says so in the same transaction. */
  readonly drill: (group: string, isWanted: (trx: Write) => Promise<boolean>) => Promise<unknown>;
}

const MINUTE_MS = 60_000;
/** A clock that is kept right in small steps has not been set back: what it has fired stays fired. */
const SET_BACK_MS = 5 * MINUTE_MS;

/** @throws REQUEST_INVALID */
export function checkCron(expression: string): void {
  if (expression === '' || parseCron(expression) !== undefined) return;
  throw new AntipodeError(
    'REQUEST_INVALID',
    `"${expression}" is not a cron expression of five fields (UTC), such as "0 3 * * 0"`,
    { details: { field: 'drill_cron' } },
  );
}

export class Schedule {
  readonly #ports: SchedulePorts;
  /** How far each calendar was looked at, by group. */
  readonly #looked = new Map<string, { cron: string; untilMs: number }>();
  /** The last that could not be started, by group: told once. */
  readonly #failed = new Map<string, string>();

  constructor(ports: SchedulePorts) {
    this.#ports = ports;
  }

  /** One look at every calendar. */
  async look(groups: readonly GroupSpec[]): Promise<void> {
    if (this.#ports.election.epoch === undefined) return this.#looked.clear();
    for (const name of this.#looked.keys())
      if (!groups.some((spec) => spec.name === name && spec.drillCron !== '')) this.#looked.delete(name);
    const failures: unknown[] = [];
    for (const { name, drillCron } of groups) {
      // A calendar that cannot be read keeps none of the others from its time.
      if (drillCron !== '') await this.#lookAt(name, drillCron).catch((thrown: unknown) => failures.push(thrown));
    }
    if (failures.length > 0) throw failures[0];
  }

  async #lookAt(group: string, expression: string): Promise<void> {
    const cron = parseCron(expression);
    if (cron === undefined) return;
    const nowMs = Math.floor(this.#ports.clock.wallMs() / MINUTE_MS) * MINUTE_MS;
    const known = this.#looked.get(group);
    let afterMs = known?.cron === expression ? known.untilMs : await this.#lastLooked(group, expression, nowMs);
    if (afterMs > nowMs + SET_BACK_MS) afterMs = await this.#setBack(group, nowMs, afterMs);
    const fireMs = latestMatch(cron, { afterMs, untilMs: nowMs });
    // One that could not be started is looked for again by the next look.
    if (fireMs !== undefined && !(await this.#fire(group, fireMs))) return;
    this.#looked.set(group, { cron: expression, untilMs: Math.max(afterMs, nowMs) });
  }

  /** By the database: the last fire time, or when this calendar was seen first. One that was never seen begins now. */
  async #lastLooked(group: string, expression: string, nowMs: number): Promise<number> {
    const { store, election } = this.#ports;
    const begun = `${nameOf(group)} from ${expression}`;
    const [last, since] = await store.query(async (db) => [
      await readLastFire(db, nameOf(group)),
      await readLastFire(db, begun),
    ]);
    if (last === undefined && since === undefined)
      await store.write(election.require(), (trx) => recordFire(trx, begun, nowMs));
    return Math.max(last ?? 0, since ?? 0) || nowMs;
  }

  /** Fire times that the clock had reached too early come again when it really reaches them. */
  async #setBack(group: string, nowMs: number, aheadMs: number): Promise<number> {
    const { store, election, log } = this.#ports;
    log.warn('the clock was set back: drills that started too early run again', {
      group,
      byMs: aheadMs - nowMs,
    });
    await store.write(election.require(), (trx) => forgetFires(trx, { schedule: nameOf(group), afterMs: nowMs }));
    return nowMs;
  }

  /** Idempotent by (schedule, fire time). */
  async #fire(group: string, fireMs: number): Promise<boolean> {
    const { log, drill } = this.#ports;
    try {
      await drill(group, (trx) => recordFire(trx, nameOf(group), fireMs));
      this.#failed.delete(group);
      return true;
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      const what = `${fireMs} ${error.code}`;
      log.at(this.#failed.get(group) === what ? 'debug' : 'warn', 'a scheduled drill could not be started', {
        group,
        fireMs,
        error,
      });
      this.#failed.set(group, what);
      return false;
    }
  }
}

const nameOf = (group: string): string => `drill ${group}`;
