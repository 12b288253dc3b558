/**
 * Objects that lie in the store of a token, and that the token does not show. To PKCS#11 they look as if somebody had
 * destroyed them. So a capture must know of them, or damage at the active member would bury the key at every other one.
 */
import { AntipodeError } from '@antipode/runtime';
import type { Handle, ObjectId } from '../../model/object.ts';
import type { NativeCloner } from '../../provider/native-cloner.ts';
import type { HiddenObject } from '../../provider/reader.ts';

export class HiddenObjects {
  readonly #stored: NonNullable<NativeCloner['stored']>;
  /** By the look before. Undefined before the first. */
  #before: ReadonlySet<ObjectId> | undefined;
  /** The module was loaded right before: to load it again shows none of these. */
  #atFirst: ReadonlySet<ObjectId> = new Set();

  constructor(stored: NonNullable<NativeCloner['stored']>) {
    this.#stored = stored;
  }

  /**
   * `shown` are all objects that the token shows.
   * @throws HSM_SESSION_VOID where two looks saw a sound object that the module does not show
   */
  async beside(shown: readonly Handle[]): Promise<readonly HiddenObject[]> {
    const found = await this.#stored(shown);
    const before = this.#before;
    this.#before = new Set(found.map(({ id }) => id));
    if (before === undefined) this.#atFirst = this.#before;
    const hidden = found.map(
      ({ id, hasContent }): HiddenObject => ({ id, hasContent, seenTwice: before?.has(id) === true }),
    );
    // SoftHSM never shows an object again under a name that this process has destroyed. So it is where somebody puts an
    // older copy of the store in its place: a deleted key would serve, and nobody here would know.
    const isStale = found.some(({ id, isSound }) => isSound && before?.has(id) === true && !this.#atFirst.has(id));
    if (isStale)
      throw new AntipodeError('HSM_SESSION_VOID', 'the module does not show an object that lies in the store', {
        hint: 'Nothing is to be done: the agent loads the module afresh.',
      });
    return hidden;
  }
}
