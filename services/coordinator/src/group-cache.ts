/** The groups as last read: heartbeats are answered from here, so that a slow database never costs an active member its lease. */
import type { Group } from './model.ts';
import { readGroups } from './store/groups.ts';
import type { Store } from './store/store.ts';

export class GroupCache {
  readonly #store: Store;
  #groups: readonly Group[] = [];

  constructor({ store }: { store: Store }) {
    this.#store = store;
  }

  get all(): readonly Group[] {
    return this.#groups;
  }

  of(name: string): Group | undefined {
    return this.#groups.find(({ spec }) => spec.name === name);
  }

  async refresh(): Promise<void> {
    this.#groups = await this.#store.query(readGroups);
  }
}
