/** The groups as last read: heartbeats are answered from here, and wait for no query. */
import { SerialQueue } from '@antipode/runtime';
import type { Group } from '../model.ts';
import type { Store } from '../store/store.ts';
import { type ApprovalRecord, readApprovals } from '../store/tables/approvals.ts';
import type { Acknowledged } from '../store/tables/generations.ts';
import { readGroups } from '../store/tables/groups.ts';
import { type FormerSeat, readDeletedGroups, readFormerSeats } from '../store/tables/membership.ts';

export class GroupCache {
  readonly #store: Pick<Store, 'snapshot'>;
  readonly #refreshes = new SerialQueue();
  #groups: readonly Group[] = [];
  #former: readonly FormerSeat[] = [];
  #releases: readonly ApprovalRecord[] = [];
  #unreadable: readonly string[] = [];
  #deleted: readonly string[] = [];
  readonly #needed = new Map<string, readonly string[]>();
  readonly #acknowledged = new Map<string, readonly Acknowledged[]>();

  constructor({ store }: { store: Pick<Store, 'snapshot'> }) {
    this.#store = store;
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

  /** One after another, each of one moment: an older reading never takes the place of a newer one. */
  refresh(): Promise<void> {
    return this.#refreshes.run(async () => {
      const unreadable: string[] = [];
      [this.#groups, this.#former, this.#deleted, this.#releases] = await this.#store.snapshot(async (db) => [
        await readGroups(db, (group) => unreadable.push(group)),
        await readFormerSeats(db),
        await readDeletedGroups(db),
        (await readApprovals(db, {})).filter(({ action }) => action === 'release' || action === 'break-glass'),
      ]);
      this.#unreadable = unreadable;
    });
  }
}
