/**
 * Looks for what operators must know, at the coordinator that leads, and puts it on record (ledger.ts). Receivers hear
 * from there (receivers.ts). Nothing is looked for where neither a receiver nor a heartbeat
 * is configured.
 */
import type { Clock, Log } from '@antipode/runtime';
import type { RenewableLeadership } from '../election.ts';
import type { Store } from '../store/store.ts';
import { dropNotices, dropReceivers, putNotice, readNotices, readReceivers } from '../store/tables/notices.ts';
import type { Condition } from './causes.ts';
import { conditionsOf, couldSee, type Seen } from './conditions.ts';
import { type Notice, nextOf } from './ledger.ts';
import type { Receivers } from './receivers.ts';

export interface NoticesPorts {
  readonly store: Pick<Store, 'query' | 'write'>;
  readonly election: Pick<RenewableLeadership, 'epoch' | 'sinceMs'>;
  /** On the timeline. */
  readonly clock: Clock;
  readonly log: Log;
  readonly receivers: Receivers;
  /** Everything that can be the cause of a notice. */
  readonly see: (epoch: bigint) => Promise<Seen>;
  /** A new leader has not heard all sites before. */
  readonly settleMs: number;
  readonly factor: number;
}

/** A receiver that is away for longer learns no more of what is over. */
const KEPT_MS = 7 * 86_400_000;
/** Whatever happens: beyond that, receivers hear of what is on record first. */
const LIVE_MAX = 5_000;

export class Notices {
  readonly #ports: NoticesPorts;
  /** Monotonic, of the last pass that ended well. */
  #passedMs: number | undefined;

  constructor(ports: NoticesPorts) {
    this.#ports = ports;
  }

  get passedMs(): number | undefined {
    return this.#passedMs;
  }

  async pass(): Promise<void> {
    const { election, clock, store, receivers, see, settleMs, factor, log } = this.#ports;
    const { epoch, sinceMs } = election;
    const hasSettled = sinceMs !== undefined && clock.monotonicMs() - sinceMs >= settleMs;
    if (epoch === undefined || !hasSettled) return;
    const seen = await see(epoch);
    const nowMs = clock.wallMs();
    const [notices, records] = await store.query(async (db) => [await readNotices(db), await readReceivers(db)]);
    const live = notices.filter(({ resolvedMs }) => resolvedMs === undefined);
    const conditions = this.#bounded(conditionsOf(seen), live);
    const { put, drop } = nextOf(live, conditions, { nowMs, factor, couldSee: (notice) => couldSee(notice, seen) });
    const all = receivers.all.map((receiver) => receiver.hook.name);
    const former = records.map(({ name }) => name).filter((name) => !all.includes(name));
    const over = notices.filter((notice) => this.#isDone(notice, { records, nowMs })).map(({ id }) => id);
    if (put.length + drop.length + former.length + over.length > 0)
      await store.write(epoch, async (trx, record) => {
        await dropReceivers(trx, former);
        await dropNotices(trx, [...drop, ...over]);
        for (const notice of put) {
          await putNotice(trx, notice);
          const { id, group, site } = notice;
          if (notice.raisedMs === nowMs) record({ kind: 'notice-raised', group, site, details: { notice: id } });
          if (notice.resolvedMs === nowMs) record({ kind: 'notice-resolved', group, site, details: { notice: id } });
        }
      });
    for (const { id, raisedMs, text } of put)
      if (raisedMs === nowMs) log.warn('a notice is raised', { notice: id, text });
    this.#passedMs = clock.monotonicMs();
  }

  #bounded(conditions: readonly Condition[], live: readonly Notice[]): readonly Condition[] {
    if (conditions.length <= LIVE_MAX) return conditions;
    this.#ports.log.warn('too many causes of notices at once; some are left out', {
      causes: conditions.length,
      live: live.length,
    });
    return conditions.slice(0, LIVE_MAX);
  }

  /** Over, and every receiver knows, or none will be told any more. */
  #isDone(
    notice: Notice,
    { records, nowMs }: { records: Awaited<ReturnType<typeof readReceivers>>; nowMs: number },
  ): boolean {
    const { resolvedMs } = notice;
    if (resolvedMs === undefined) return false;
    if (nowMs - resolvedMs >= KEPT_MS) return true;
    const { receivers } = this.#ports;
    return receivers.all.every((receiver) => {
      const record = records.find(({ name }) => name === receiver.hook.name);
      if (record === undefined) return false;
      const isUnderWay = record.batch?.parts.some((part) => part.notice === notice.id) ?? false;
      return !isUnderWay && receivers.dueOf(receiver, { notices: [notice], record }).length === 0;
    });
  }
}
