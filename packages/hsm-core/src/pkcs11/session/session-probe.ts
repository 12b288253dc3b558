/**
 * Tells whether a session is sound. A sound session says that the user is logged in, makes and destroys a private
 * session object, and still has the partition's own keys under their handles. It is asked after an answer that could be
 * about the object at hand or about the session (return-values.ts). An object must not be called damaged because a link
 * was down, and one object must not cost a whole partition.
 */
import { CKA, CKO, CKR_OK, CKS_RW_USER_FUNCTIONS, type Cryptoki, type Template } from '@antipode/cryptoki';
import type { Handle } from '../../model/object.ts';

const DATA: Template = [
  [CKA.CLASS, CKO.DATA],
  [CKA.TOKEN, false],
  [CKA.PRIVATE, true],
  [CKA.VALUE, Buffer.from('antipode session probe')],
];

export class SessionProbe {
  readonly #cryptoki: Cryptoki;
  readonly #session: bigint;
  /**
   * The questions that this token answers in a session that was just opened. Others do not make data objects, or tell
   * no state.
   */
  readonly #questions: readonly (() => boolean)[];
  readonly #own = new Set<Handle>();
  #isAsking = false;

  constructor(options: { cryptoki: Cryptoki; session: bigint }) {
    this.#cryptoki = options.cryptoki;
    this.#session = options.session;
    this.#questions = [() => this.#isLoggedIn(), () => this.#makesObjects()].filter((question) => question());
    this.#cryptoki.watch(() => this.#isSound());
  }

  /** One of our own keys, which stays: a session in which it is gone knows nothing of other handles either. */
  keep(handle: Handle): void {
    this.#own.add(handle);
  }

  release(handle: Handle): void {
    this.#own.delete(handle);
  }

  #isSound(): boolean {
    // The probe's own calls are not asked about.
    if (this.#isAsking) return true;
    this.#isAsking = true;
    try {
      return this.#questions.every((question) => question()) && [...this.#own].every((handle) => this.#has(handle));
    } finally {
      this.#isAsking = false;
    }
  }

  #isLoggedIn(): boolean {
    try {
      return this.#cryptoki.sessionInfo(this.#session).state === CKS_RW_USER_FUNCTIONS;
    } catch {
      return false;
    }
  }

  #makesObjects(): boolean {
    try {
      const made = this.#cryptoki.create(this.#session, DATA);
      return this.#cryptoki.tryCall('C_DestroyObject', this.#session, made) === CKR_OK;
    } catch {
      return false;
    }
  }

  #has(handle: Handle): boolean {
    try {
      return this.#cryptoki.attributes(this.#session, handle, [CKA.ID]) !== undefined;
    } catch {
      return false;
    }
  }
}
