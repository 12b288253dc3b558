/** Public halves of private keys that had to be found by use, each with what was read under the key's handle. */
import { kindOfObject } from '../../key-kinds/kinds.ts';
import type { Handle, ObservedObject } from '../../model/object.ts';
import type { WrappingSession } from '../token-session.ts';
import { PublicKeys } from './public-keys.ts';

interface Known {
  readonly publicHalf: Uint8Array;
  /** Absent until the key is read next. */
  readonly readDigest?: string;
}

export class PublicHalves {
  readonly #context: WrappingSession;
  readonly #remembers: boolean;
  readonly #known = new Map<Handle, Known>();

  /** Where handles are used again, the next read may be of another key: nothing is remembered. */
  constructor(context: WrappingSession, { reusesHandles }: { reusesHandles: boolean }) {
    this.#context = context;
    this.#remembers = !reusesHandles;
  }

  /** The objects, each private key with its public half where there is a way to it. */
  complete<One extends ObservedObject | undefined>(
    objects: readonly One[],
    expected: readonly (Uint8Array | undefined)[] = [],
  ): One[] {
    const publicKeys = new PublicKeys(objects.filter((object) => object !== undefined));
    return objects.map((object, index) => {
      const pair = object && kindOfObject(object)?.pair;
      if (
        object?.objectClass !== 'private-key' ||
        pair?.findPublicHalf === undefined ||
        object.publicHalf !== undefined
      )
        return object;
      const { handle, readDigest } = object;
      const publicHalf =
        this.#of(object) ?? pair.findPublicHalf(this.#context, object, { publicKeys, expected: expected[index] });
      if (publicHalf === undefined) return object;
      this.#known.set(handle, { publicHalf, readDigest });
      return { ...object, publicHalf };
    });
  }

  /** A key's own use has borne it out: reading the key back needs no second one. */
  proved(handle: Handle, publicHalf: Uint8Array): void {
    if (this.#remembers) this.#known.set(handle, { publicHalf });
  }

  forget(handle: Handle): void {
    this.#known.delete(handle);
  }

  /** Of the same object only: a handle may have come to mean another. */
  #of({ handle, readDigest }: ObservedObject): Uint8Array | undefined {
    const known = this.#known.get(handle);
    if (known === undefined || !this.#remembers) return undefined;
    if ((known.readDigest ?? readDigest) === readDigest) return known.publicHalf;
    this.#known.delete(handle);
    return undefined;
  }
}
