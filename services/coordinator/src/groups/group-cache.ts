/** The groups as last read: heartbeats are answered from here, and wait for no query. */
import { isDeepStrictEqual } from 'node:util';
import { type Clock, SerialQueue } from '@antipode/runtime';
import type { Group } from '../model.ts';
import type { Store } from '../store/store.ts';
import { type ApprovalRecord, readApprovals } from '../store/tables/approvals.ts';
import type { Acknowledged } from '../store/tables/generations.ts';
import { readGroups } from '../store/tables/groups.ts';
import { type FormerSeat, readDeletedGroups, readFormerSeats } from '../store/tables/membership.ts';
import type { Touched, TouchReader } from '../store/touched-groups.ts';
import { coveringActions } from './approvals.ts';

export interface CacheNews {
  readonly touched: TouchReader;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** How often everything is read, in case somebody else has written. */
  readonly allMs: number;
}

export class GroupCache {
  readonly #store: Pick<Store, 'snapshot'>;
  readonly #news: CacheNews | undefined;
  #allReadMs = Number.NEGATIVE_INFINITY;
  readonly #refreshes = new SerialQueue();
  #groups: readonly Group[] = [];
  #former: readonly FormerSeat[] = [];
  #releases: readonly ApprovalRecord[] = [];
  #unreadable: readonly string[] = [];
  #deleted: readonly string[] = [];
  readonly #needed = new Map<string, readonly string[]>();
  readonly #acknowledged = new Map<string, readonly Acknowledged[]>();

  /** @param options.news what may have changed between two readings; absent for everything */
  constructor({ store, news }: { store: Pick<Store, 'snapshot'>; news?: CacheNews }) {
    this.#store = store;
    this.#news = news;
  }

  get all(): readonly Group[] {
    return this.#groups;
  }

  /** Members that were removed. */
  get former(): readonly FormerSeat[] {
    return this.#former;
  }

  /** Names of groups that were deleted. A group of today can have one of them. */
  get deleted(): readonly string[] {
    return this.#deleted;
  }

  /** Approvals to take seats away, newest first. An agent that guards its seat gives it up for one of them only. */
  get releases(): readonly ApprovalRecord[] {
    return this.#releases;
  }

  /** Groups whose rows cannot be made sense of. */
  get unreadable(): readonly string[] {
    return this.#unreadable;
  }

  /** Digests of manifests that members may still ask for; undefined before the group was looked at under this leadership. */
  needed(group: string): readonly string[] | undefined {
    return this.#needed.get(group);
  }

  learnNeeded(group: string, digests: readonly string[]): void {
    this.#needed.set(group, digests);
  }

  /** The newest that each member has acknowledged; undefined before the group was looked at under this leadership. */
  acknowledged(group: string): readonly Acknowledged[] | undefined {
    return this.#acknowledged.get(group);
  }

  learnAcknowledged(group: string, acknowledged: readonly Acknowledged[]): void {
    this.#acknowledged.set(group, acknowledged);
  }

  /** At the start of a leadership: what another leader has recorded since is not known. */
  forgetNeeded(): void {
    this.#needed.clear();
    this.#acknowledged.clear();
  }

  /**
   * Reads what may have changed. One after another, each of one moment: an older reading never takes the place of a newer
   * one.
   */
  refresh(): Promise<void> {
    return this.#refreshes.run(async () => {
      const touched = this.#takeTouched();
      if (touched !== 'all' && touched.size === 0) return;
      try {
        await this.#read(touched);
      } catch (thrown) {
        this.#news?.touched.giveBack(touched);
        throw thrown;
      }
    });
  }

  #takeTouched(): Touched {
    if (this.#news === undefined) return 'all';
    const { touched, clock, allMs } = this.#news;
    const isDue = clock.monotonicMs() - this.#allReadMs >= allMs;
    const names = touched.take();
    return isDue ? 'all' : names;
  }

  async #read(touched: Touched): Promise<void> {
    const startMs = this.#news?.clock.monotonicMs() ?? 0;
    const names = touched === 'all' ? undefined : touched;
    const unreadable: string[] = [];
    const read = await this.#store.snapshot(async (db) => ({
      groups: await readGroups(db, (group) => unreadable.push(group), names && [...names]),
      former: await readFormerSeats(db),
      deleted: await readDeletedGroups(db),
      releases: await readApprovals(db, { actions: coveringActions('release') }),
    }));
    this.#groups = merged(this.#groups, read.groups, names ?? new Set(this.#groups.map(({ spec }) => spec.name)));
    this.#unreadable =
      names === undefined ? unreadable : [...this.#unreadable.filter((name) => !names.has(name)), ...unreadable];
    this.#former = read.former;
    this.#deleted = read.deleted;
    this.#releases = read.releases;
    if (names === undefined) this.#allReadMs = startMs;
  }
}

/**
 * By name, as the database sorts them: those that were read again take the place of what was there of these names. A group
 * that is as before stays the same object, and a list without a change the same list: indexes are made of them.
 */
function merged(before: readonly Group[], read: readonly Group[], names: ReadonlySet<string>): readonly Group[] {
  const earlier = new Map(before.map((group) => [group.spec.name, group]));
  const fresh = read.map((group) => {
    const known = earlier.get(group.spec.name);
    return known !== undefined && isDeepStrictEqual(known, group) ? known : group;
  });
  const kept = before.filter(({ spec }) => !names.has(spec.name));
  const isAsBefore =
    kept.length + fresh.length === before.length && fresh.every((group) => earlier.get(group.spec.name) === group);
  if (isAsBefore) return before;
  return [...kept, ...fresh].sort((one, other) => (one.spec.name < other.spec.name ? -1 : 1));
}
