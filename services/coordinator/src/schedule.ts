/**
 * Drills by calendar: node-cron in UTC, only on the leader. A tick inserts its fire time, once, and an intent; what was
 * missed while nobody led is made up by the latest one, not by a storm.
 */
import { AntipodeError, type Clock, type Closeable, type Log } from '@antipode/runtime';
import { createTask, type ScheduledTask, validate } from 'node-cron';
import type { Election } from './election.ts';
import type { GroupSpec } from './model.ts';
import type { Store, Write } from './store/store.ts';

export interface SchedulePorts {
  readonly store: Store;
  readonly election: Election;
  readonly clock: Clock;
  readonly log: Log;
  /** Starts the drill of a group, where `isWanted` says so in the same transaction. */
  readonly drill: (group: string, isWanted: (trx: Write) => Promise<boolean>) => Promise<unknown>;
}

const MINUTE_MS = 60_000;
/** How far back a missed fire time is looked for, minute by minute: a week without any leader is no missed tick. */
const MAKE_UP_MS_MAX = 8 * 86_400_000;

/** @throws REQUEST_INVALID */
export function checkCron(expression: string): void {
  if (expression === '' || (validate(expression) && expression.trim().split(/\s+/).length === 5)) return;
  throw new AntipodeError(
    'REQUEST_INVALID',
    `"${expression}" is no cron expression of five fields (UTC), such as "0 3 * * 0"`,
    { details: { field: 'drill_cron' } },
  );
}

export class Schedule implements Closeable {
  readonly #ports: SchedulePorts;
  readonly #tasks = new Map<string, { cron: string; task: ScheduledTask }>();

  constructor(ports: SchedulePorts) {
    this.#ports = ports;
  }

  /** Makes the tasks what the groups ask for. Called after every change of groups and of leadership. */
  async follow(groups: readonly GroupSpec[]): Promise<void> {
    const wanted = this.#ports.election.epoch === undefined ? [] : groups.filter(({ drillCron }) => drillCron !== '');
    for (const [name, { cron, task }] of this.#tasks) {
      if (wanted.some((spec) => spec.name === name && spec.drillCron === cron)) continue;
      await task.destroy();
      this.#tasks.delete(name);
    }
    for (const { name, drillCron } of wanted) {
      if (this.#tasks.has(name)) continue;
      const task = createTask(drillCron, (context) => this.#fire(name, context.date.getTime()), {
        timezone: 'UTC',
        name: `drill-${name}`,
        noOverlap: true,
      });
      this.#tasks.set(name, { cron: drillCron, task });
      await task.start();
      await this.#makeUp(name, task);
    }
  }

  async close(): Promise<void> {
    for (const { task } of this.#tasks.values()) await task.destroy();
    this.#tasks.clear();
  }

  /** Idempotent by (schedule, fire time). */
  async #fire(group: string, dateMs: number): Promise<void> {
    const { log, drill } = this.#ports;
    const fireMs = Math.floor(dateMs / MINUTE_MS) * MINUTE_MS;
    try {
      await drill(group, async (trx) => {
        const inserted = await trx
          .insertInto('schedule_fire')
          .values({ schedule: `drill ${group}`, fire_ms: BigInt(fireMs) })
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirst();
        return inserted.numInsertedOrUpdatedRows === 1n;
      });
    } catch (thrown) {
      log.warn('a scheduled drill could not be started', { group, error: AntipodeError.from(thrown) });
    }
  }

  /** The last fire time before now, when it was not kept. A schedule that never fired starts with its next time. */
  async #makeUp(group: string, task: ScheduledTask): Promise<void> {
    const { store, clock } = this.#ports;
    const last = await store.query((db) =>
      db
        .selectFrom('schedule_fire')
        .select('fire_ms')
        .where('schedule', '=', `drill ${group}`)
        .orderBy('fire_ms', 'desc')
        .limit(1)
        .executeTakeFirst(),
    );
    if (last === undefined) return;
    const nowMs = Math.floor(clock.wallMs() / MINUTE_MS) * MINUTE_MS;
    const oldestMs = Math.max(Number(last.fire_ms) + MINUTE_MS, nowMs - MAKE_UP_MS_MAX);
    for (let fireMs = nowMs; fireMs >= oldestMs; fireMs -= MINUTE_MS) {
      if (task.match(new Date(fireMs))) return this.#fire(group, fireMs);
    }
  }
}
