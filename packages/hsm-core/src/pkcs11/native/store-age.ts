/** Tells by the stamps in a store for which groups it is an older copy of itself (provider/store-stamps.ts). */
import { AntipodeError } from '@antipode/runtime';
import type { NativeCloner } from '../../provider/native-cloner.ts';

export class StoreAge {
  readonly #stamps: NativeCloner['stamps'];

  /** Without stamps, no store is older. */
  constructor(stamps: NativeCloner['stamps']) {
    this.#stamps = stamps;
  }

  /**
   * Called before a look. The result is called when the look has read everything.
   * @throws HSM_SESSION_VOID where the store was exchanged meanwhile: nobody can say which of the two the look has read
   */
  begin(): () => readonly string[] {
    const before = new Set(this.#stamps?.older());
    return () => {
      const after = this.#stamps?.older() ?? [];
      if (after.length === before.size && after.every((group) => before.has(group))) return after;
      throw new AntipodeError('HSM_SESSION_VOID', 'the store of the token was exchanged during a look', {
        hint: 'Nothing is to be done: the agent loads the module afresh, and looks again.',
      });
    };
  }
}
