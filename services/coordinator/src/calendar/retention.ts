/**
 * Deletes old records once an hour, on the leader. A step that fails is tried again in the next pass and does not stop
 * the other steps.
 */
import { AntipodeError, type Clock, type Log } from '@antipode/runtime';
import type { Leadership } from '../election.ts';
import type { GroupCache } from '../groups/group-cache.ts';
import type { Store } from '../store/store.ts';
import { APPROVAL_DAYS } from '../store/tables/approvals.ts';
import {
  type Retire,
  retireApprovals,
  retireApprovalUses,
  retireEvents,
  retireFires,
  retireGenerations,
  retireIntents,
  retireSiteTokens,
  retireUnchangedCaptures,
} from '../store/tables/retention.ts';

export interface RetentionPorts {
  readonly store: Store;
  readonly election: Pick<Leadership, 'epoch'>;
  readonly cache: Pick<GroupCache, 'all'>;
  readonly clock: Clock;
  readonly log: Log;
}

export const RETENTION_INTERVAL_MS = 3_600_000;
const DAY_MS = 86_400_000;
const INTENT_DAYS = 30;
const UNCHANGED_DAYS = 1;
const GENERATION_DAYS = 30;
/** However old: a group that seldom changes keeps its line. */
const GENERATIONS_KEPT = 100;
const FIRE_DAYS = 400;
const SITE_TOKEN_DAYS = 30;
/** A year, and the time to look at it. */
const EVENT_DAYS = 400;
/** However old: time alone, which somebody may have set wrongly before the first start, takes away no whole log. */
const EVENTS_KEPT = 10_000;
/** A year of arrears is worked off in some passes. */
const BATCHES_MAX = 50;

export class Retention {
  readonly #ports: RetentionPorts;

  constructor(ports: RetentionPorts) {
    this.#ports = ports;
  }

  async pass(): Promise<void> {
    const { cache, clock } = this.#ports;
    const nowMs = clock.wallMs();
    const before = (days: number): number => nowMs - days * DAY_MS;
    await this.#retire('intents', retireIntents({ beforeMs: before(INTENT_DAYS) }));
    await this.#retire('captures without a change', retireUnchangedCaptures({ beforeMs: before(UNCHANGED_DAYS) }));
    for (const { spec } of cache.all) {
      const beforeMs = before(GENERATION_DAYS);
      await this.#retire('generations', retireGenerations(spec.name, { beforeMs, keep: GENERATIONS_KEPT }), spec.name);
    }
    await this.#retire('fire times', retireFires({ beforeMs: before(FIRE_DAYS) }));
    const approvals = { beforeMs: before(APPROVAL_DAYS) };
    await this.#retire('approvals', retireApprovals(approvals));
    await this.#retire('uses of approvals', retireApprovalUses(approvals));
    await this.#retire('tokens of sites', retireSiteTokens({ beforeMs: before(SITE_TOKEN_DAYS) }));
    // By whole days: each batch leaves a row behind for ever.
    const eventsBeforeMs = Math.floor(before(EVENT_DAYS) / DAY_MS) * DAY_MS;
    await this.#retire('events', retireEvents({ beforeMs: eventsBeforeMs, keep: EVENTS_KEPT, atMs: nowMs }));
  }

  async #retire(what: string, batch: Retire, group?: string): Promise<void> {
    const { store, election, log } = this.#ports;
    let count = 0;
    try {
      for (let batches = 0; batches < BATCHES_MAX; batches += 1) {
        const { epoch } = election;
        const taken = epoch === undefined ? 0 : await store.write(epoch, (trx) => batch(trx));
        count += taken;
        if (taken === 0) break;
      }
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (error.disposition === 'defect') throw error;
      log.warn('old records could not be removed', { what, group, error });
    }
    if (count > 0) log.info('old records removed', { what, group, count });
  }
}
