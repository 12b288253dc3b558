/**
 * The CKA_KEY_TYPE by which this token knows a kind of key. Most kinds have one number everywhere. Where a kind has two,
 * the first number that the token takes is the one that it knows.
 */
import { CryptokiFailure } from '@antipode/cryptoki';
import { kindOfType } from '../key-kinds/kinds.ts';
import type { KeyType } from '../model/object.ts';

export class KeyTypeNumbers {
  readonly #known = new Map<KeyType, number>();

  of(type: KeyType): number {
    return this.#known.get(type) ?? kindOfType(type).number;
  }

  /** Runs `make`, which asks for the number by {@link of}, and once more by the other number if the token refuses. */
  trying<T>(type: KeyType | undefined, make: () => T): T {
    const other = type === undefined ? undefined : kindOfType(type).alsoNumber;
    if (type === undefined || other === undefined || this.#known.has(type)) return make();
    try {
      const made = make();
      this.#known.set(type, kindOfType(type).number);
      return made;
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
    }
    this.#known.set(type, other);
    try {
      return make();
    } catch (thrown) {
      this.#known.delete(type);
      throw thrown;
    }
  }
}
