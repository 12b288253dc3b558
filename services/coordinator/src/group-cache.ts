/** The groups as last read: heartbeats are answered from here, and wait for no query. */
import { Serial } from '@antipode/runtime';
import type { Group } from './model.ts';
import { readGroups } from './store/groups.ts';
import type { Store } from './store/store.ts';

export class GroupCache {
  readonly #store: Store;
  readonly #refreshes = new Serial();
  #groups: readonly Group[] = [];
  #unreadable: readonly string[] = [];

  constructor({ store }: { store: Store }) {
    this.#store = store;
  }

  get all(): readonly Group[] {
    return this.#groups;
  }

  /** Groups whose rows cannot be made sense of. */
  get unreadable(): readonly string[] {
    return this.#unreadable;
  }

  /** One after another, each of one moment: an older reading never takes the place of a newer one. */
  refresh(): Promise<void> {
    return this.#refreshes.run(async () => {
      const unreadable: string[] = [];
      this.#groups = await this.#store.snapshot((db) => readGroups(db, (group) => unreadable.push(group)));
      this.#unreadable = unreadable;
    });
  }
}
