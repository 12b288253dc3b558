/** The groups as last read: heartbeats are answered from here, and wait for no query. */
import { SerialQueue } from '@antipode/runtime';
import type { Group } from '../model.ts';
import type { Store } from '../store/store.ts';
import { readGroups } from '../store/tables/groups.ts';
import { type FormerSeat, readFormerSeats } from '../store/tables/membership.ts';

export class GroupCache {
  readonly #store: Pick<Store, 'snapshot'>;
  readonly #refreshes = new SerialQueue();
  #groups: readonly Group[] = [];
  #former: readonly FormerSeat[] = [];
  #unreadable: readonly string[] = [];
  readonly #needed = new Map<string, readonly string[]>();

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

  /** At the start of a leadership: what another leader has recorded since is not known. */
  forgetNeeded(): void {
    this.#needed.clear();
  }

  /** One after another, each of one moment: an older reading never takes the place of a newer one. */
  refresh(): Promise<void> {
    return this.#refreshes.run(async () => {
      const unreadable: string[] = [];
      [this.#groups, this.#former] = await this.#store.snapshot(async (db) => [
        await readGroups(db, (group) => unreadable.push(group)),
        await readFormerSeats(db),
      ]);
      this.#unreadable = unreadable;
    });
  }
}
