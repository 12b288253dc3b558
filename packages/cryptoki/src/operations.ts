/**
 * Operations that one call begins and another ends (C_SignInit, C_Sign). A session has one at a time. None is left
 * open, whatever goes wrong in between: the token would refuse the next one.
 */
import { openSession, sessionInfo } from './calls/sessions.ts';
import { CKF, CKR_OK } from './constants.ts';
import type { CallArgument, Module } from './module.ts';
import { isBusy, needsRoom } from './return-values.ts';
import { type Mechanism, packMechanism, ulong } from './template.ts';

const FLAGS = {
  C_FindObjectsInit: CKF.FIND_OBJECTS,
  C_EncryptInit: CKF.ENCRYPT,
  C_DecryptInit: CKF.DECRYPT,
  C_DigestInit: CKF.DIGEST,
  C_SignInit: CKF.SIGN,
  C_SignRecoverInit: CKF.SIGN_RECOVER,
  C_VerifyInit: CKF.VERIFY,
} as const;

/** Room in which any operation ends that a call has left open. */
const ENDING_BYTES = 64 * 1024;

/** A device that claims more than this for a blob or a signature is not believed. */
export const ANSWER_BYTES_MAX = 1024n * 1024n;

export class Operations {
  readonly #module: Module;

  /** Where a session has an operation that cannot be ended, the one that begins others in its place. */
  readonly #operating = new Map<bigint, bigint>();

  /** Logs in for the operation that was just begun, while {@link loggingIn} runs. */
  #loginForUse: ((session: bigint) => void) | undefined;

  constructor(module: Module) {
    this.#module = module;
  }

  /** Runs work whose key wants the PIN for each use. */
  loggingIn<T>(login: (session: bigint) => void, work: () => T): T {
    this.#loginForUse = login;
    try {
      return work();
    } finally {
      this.#loginForUse = undefined;
    }
  }

  /** A one-part operation. One that asks for more room gets it, so that none stays open. */
  transform(
    [begin, finish]:
      | readonly ['C_SignInit', 'C_Sign']
      | readonly ['C_SignRecoverInit', 'C_SignRecover']
      | readonly ['C_EncryptInit', 'C_Encrypt']
      | readonly ['C_DecryptInit', 'C_Decrypt'],
    session: bigint,
    mechanism: Mechanism,
    key: bigint,
    data: Uint8Array,
    roomBytes: number,
  ): Buffer {
    const packed = packMechanism(mechanism);
    const attempt = (room: Buffer, used: bigint): { returned: number; length: bigint } => {
      const length = ulong(BigInt(room.length));
      const returned = this.#module.tryCall(finish, used, data, data.length, room, length);
      return { returned, length: length.readBigUInt64LE() };
    };
    const used = this.begin(begin, session, [packed, key], (one) => attempt(Buffer.alloc(ENDING_BYTES), one));
    let room = Buffer.alloc(roomBytes);
    try {
      this.#loginForUse?.(used);
    } catch (thrown) {
      // The operation must end, or the token refuses the next one.
      if (!this.#module.cancel(used, FLAGS[begin])) attempt(room, used);
      throw thrown;
    }
    let answer = attempt(room, used);
    if (needsRoom(answer.returned) && answer.length <= ANSWER_BYTES_MAX) {
      room = Buffer.alloc(Number(answer.length));
      answer = attempt(room, used);
    }
    if (answer.returned !== CKR_OK) throw this.#module.failure(finish, answer.returned);
    return room.subarray(0, Number(answer.length));
  }

  /**
   * Begins an operation, and returns the session that has it. One that an earlier call has left open is ended first;
   * where the device does not let go of it, operations go on in a session of their own.
   */
  begin(
    name:
      | 'C_SignInit'
      | 'C_SignRecoverInit'
      | 'C_EncryptInit'
      | 'C_DecryptInit'
      | 'C_VerifyInit'
      | 'C_DigestInit'
      | 'C_FindObjectsInit',
    session: bigint,
    args: readonly CallArgument[],
    end: (session: bigint) => unknown,
  ): bigint {
    const module = this.#module;
    const used = this.#operating.get(session) ?? session;
    const isFree = (): boolean => {
      const returned = module.tryCall(name, used, ...args);
      if (returned === CKR_OK) return true;
      if (isBusy(returned)) return false;
      throw module.failure(name, returned);
    };
    if (isFree()) return used;
    // A token by PKCS#11 3.0 ends it without having it used.
    if (!module.cancel(used, FLAGS[name])) end(used);
    if (isFree()) return used;
    const fresh = openSession(module, sessionInfo(module, session).slot);
    this.#operating.set(session, fresh);
    if (used !== session) module.tryCall('C_CloseSession', used);
    module.call(name, fresh, ...args);
    return fresh;
  }
}
