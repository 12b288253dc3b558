/**
 * The other side of a secret key that may be used in one direction only: a copy of it in the session, with the uses
 * that undo or check those of the key. Only so are a key that only decrypts, verifies or unwraps, and what one that
 * only encrypts, signs or wraps has made, tried for what they are (I13).
 *
 * The copy may do more than the key: as much as anybody can make of the key who holds the PIN, since C_CopyObject is
 * theirs too. It is of the session, has what protects the key (SENSITIVE, EXTRACTABLE, ALLOWED_MECHANISMS), and ends
 * with the proof. Where the token makes none (COPYABLE=false), less is tried.
 */
import { CKA, CryptokiFailure } from '@antipode/cryptoki';
import { ATTRIBUTES, type AttributeName, type Attributes } from '../../model/attributes.ts';
import type { TokenSession } from '../token-session.ts';

const OTHER_SIDE: readonly (readonly [use: AttributeName, other: AttributeName])[] = [
  ['encrypt', 'decrypt'],
  ['decrypt', 'encrypt'],
  ['sign', 'verify'],
  ['verify', 'sign'],
  ['wrap', 'unwrap'],
  ['unwrap', 'wrap'],
  // What AES_ECB_ENCRYPT_DATA derives is what encrypting gives.
  ['derive', 'encrypt'],
];

export class Partner {
  readonly #context: TokenSession;
  readonly #key: { readonly handle: bigint; readonly attributes: Attributes };
  #copy: bigint | undefined;
  #isRefused = false;

  constructor(context: TokenSession, key: { handle: bigint; attributes: Attributes }) {
    this.#context = context;
    this.#key = key;
  }

  /** Which object has this use: the key, where it may, or else its copy; undefined where there is none. */
  for(use: AttributeName): bigint | undefined {
    const { handle, attributes } = this.#key;
    return attributes[use] === true ? handle : this.#made();
  }

  #made(): bigint | undefined {
    if (this.#copy !== undefined || this.#isRefused) return this.#copy;
    const { cryptoki, session } = this.#context;
    const { handle, attributes } = this.#key;
    const added = new Set(
      OTHER_SIDE.filter(([use, other]) => attributes[use] === true && attributes[other] !== true).map(
        ([, other]) => other,
      ),
    );
    try {
      this.#copy = cryptoki.copy(session, handle, [
        [CKA.TOKEN, false],
        ...[...added].map((name) => [ATTRIBUTES[name].type, true] as const),
      ]);
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      this.#isRefused = true;
    }
    return this.#copy;
  }

  end(): void {
    const { cryptoki, session } = this.#context;
    if (this.#copy !== undefined) cryptoki.destroy(session, this.#copy);
    this.#copy = undefined;
    this.#isRefused = true;
  }
}
