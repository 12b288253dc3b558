/**
 * A thin binding of Cryptoki over koffi: calls, and nothing else (what they point to is laid out in template.ts). Synchronous on purpose: it runs in a
 * process of its own, where blocking harms nobody, and asynchronous calls cost more than they save (ADR 0002).
 *
 * The module is loaded with RTLD_DEEPBIND, so that a vendor library does not bind to the OpenSSL inside Node.
 * Layout: LP64, CK_ULONG of 8 bytes, little-endian, structures naturally aligned (PKCS#11 3.0 base, section 2.1).
 */
import { AntipodeError } from '@antipode/runtime';
import koffi from 'koffi';
import { CKF_OS_LOCKING_OK, CKF_RW_SESSION, CKF_SERIAL_SESSION, CKU_USER } from './constants.ts';
import { AttributeReader } from './reading/attribute-reader.ts';
import { blameOf, CryptokiFailure, IS_GONE, returnValueName, SessionFailure } from './return-values.ts';
import {
  ATTRIBUTE_SIZE,
  addressOf,
  type Mechanism,
  pack,
  packMechanism,
  type Template,
  ulong,
  writeAttribute,
} from './template.ts';

export { type Mechanism, mechanism, structure, type Template, type TemplateValue, ulong } from './template.ts';

/** Function name -> index in CK_FUNCTION_LIST (pkcs11f.h order) and its arguments: n = number, p = pointer. */
const FUNCTIONS = {
  C_Initialize: [0, 'p'],
  C_Finalize: [1, 'p'],
  C_GetInfo: [2, 'p'],
  C_GetSlotList: [4, 'npp'],
  C_GetTokenInfo: [6, 'np'],
  C_OpenSession: [12, 'nnppp'],
  C_CloseSession: [13, 'n'],
  C_GetSessionInfo: [15, 'np'],
  C_Login: [18, 'nnpn'],
  C_Logout: [19, 'n'],
  C_CreateObject: [20, 'npnp'],
  C_CopyObject: [21, 'nnpnp'],
  C_DestroyObject: [22, 'nn'],
  C_GetAttributeValue: [24, 'nnpn'],
  C_SetAttributeValue: [25, 'nnpn'],
  C_FindObjectsInit: [26, 'npn'],
  C_FindObjects: [27, 'npnp'],
  C_FindObjectsFinal: [28, 'n'],
  C_EncryptInit: [29, 'npn'],
  C_Encrypt: [30, 'npnpp'],
  C_DecryptInit: [33, 'npn'],
  C_Decrypt: [34, 'npnpp'],
  C_SignInit: [42, 'npn'],
  C_Sign: [43, 'npnpp'],
  C_SignRecoverInit: [46, 'npn'],
  C_SignRecover: [47, 'npnpp'],
  C_VerifyInit: [48, 'npn'],
  C_Verify: [49, 'npnpn'],
  C_GenerateKey: [58, 'nppnp'],
  C_GenerateKeyPair: [59, 'nppnpnpp'],
  C_WrapKey: [60, 'npnnpp'],
  C_UnwrapKey: [61, 'npnpnpnp'],
  C_DeriveKey: [62, 'npnpnp'],
} as const;

type FunctionName = keyof typeof FUNCTIONS;
type Native = (...args: (number | bigint | Uint8Array | null)[]) => number | bigint;

export interface TokenInfo {
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly flags: number;
  readonly firmware: string;
}

const FIRST_POINTER = 8; // CK_VERSION, padded to the alignment of a pointer.

export class Cryptoki {
  readonly #functions: Readonly<Record<FunctionName, Native>>;

  /** koffi unloads a library whose handle is collected, although functions of it are still held: a later call crashes. */
  readonly library: object;

  /** Where a session has an operation that cannot be ended, the one that begins others in its place. */
  readonly #operating = new Map<bigint, bigint>();

  /** Logs in for the operation that was just begun, while {@link loggingIn} runs. */
  #loginForUse: ((session: bigint) => void) | undefined;

  /** Told of every call that the module has answered. */
  #answered: (() => void) | undefined;

  /** Tells whether the session is sound, where a return value does not say what is at fault. */
  #isSound: (() => boolean) | undefined;

  private constructor(library: object, functions: Readonly<Record<FunctionName, Native>>) {
    this.library = library;
    this.#functions = functions;
  }

  /**
   * Loads a module and initialises it for this process. `parameters` reach C_Initialize in the place that the standard
   * reserves, as NSS wants them; a module that wants none refuses them. @throws MODULE_UNAVAILABLE
   */
  static load(module: string, parameters?: string): Cryptoki {
    try {
      const library = koffi.load(module, { deep: true });
      const list = Buffer.alloc(8);
      const returned = Number(library.func('C_GetFunctionList', 'ulong', ['void *'])(list));
      if (returned !== 0) throw new CryptokiFailure('C_GetFunctionList', returned);
      const base = list.readBigUInt64LE();
      const functions = {} as Record<FunctionName, Native>;
      for (const [name, [index, parameters]] of Object.entries(FUNCTIONS)) {
        const prototype = koffi.proto(
          'ulong',
          [...parameters].map((kind) => (kind === 'n' ? 'ulong' : 'void *')),
        );
        const pointer = koffi.decode(base + BigInt(FIRST_POINTER + index * 8), 'void *') as bigint;
        functions[name as FunctionName] = koffi.decode(pointer, prototype) as Native;
      }
      const cryptoki = new Cryptoki(library, functions);
      cryptoki.call('C_Initialize', initializeArguments(parameters));
      return cryptoki;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new AntipodeError('MODULE_UNAVAILABLE', `cannot use the PKCS#11 module ${module}: ${reason}`, {
        details: { module },
        cause,
      });
    }
  }

  /** From now on a value that could be anybody's fault is asked about: see {@link blameOf}. */
  watch(isSound: () => boolean): void {
    this.#isSound = isSound;
  }

  /** From now on every answer of the module is a sign of life: many calls in a row are no call that hangs. */
  reportAnswers(answered: () => void): void {
    this.#answered = answered;
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

  /** Calls a function. @throws CryptokiFailure or SessionFailure unless it returns CKR_OK */
  call(name: FunctionName, ...args: (number | bigint | Uint8Array | null)[]): void {
    const returned = this.tryCall(name, ...args);
    if (returned !== 0) throw this.failure(name, returned);
  }

  /** The error of a call that returned this value. */
  failure(name: FunctionName, returned: number): CryptokiFailure | SessionFailure {
    const blame = blameOf(returnValueName(returned));
    const isSession = blame === 'session' || (blame === 'ask' && this.#isSound?.() === false);
    return isSession ? new SessionFailure(name, returned) : new CryptokiFailure(name, returned);
  }

  tryCall(name: FunctionName, ...args: (number | bigint | Uint8Array | null)[]): number {
    const returned = Number(this.#functions[name](...args));
    this.#answered?.();
    return returned;
  }

  finalize(): void {
    this.tryCall('C_Finalize', null);
  }

  slots(): bigint[] {
    const count = ulong(0n);
    this.call('C_GetSlotList', 1, null, count);
    const list = Buffer.alloc(Math.max(8, Number(count.readBigUInt64LE()) * 8));
    this.call('C_GetSlotList', 1, list, count);
    return readUlongs(list, Number(count.readBigUInt64LE()));
  }

  tokenInfo(slot: bigint): TokenInfo {
    const info = Buffer.alloc(208); // CK_TOKEN_INFO
    this.call('C_GetTokenInfo', slot, info);
    const text = (from: number, length: number): string =>
      info
        .subarray(from, from + length)
        .toString('utf8')
        .replace(/[\0 ]+$/, '');
    return {
      label: text(0, 32),
      manufacturer: text(32, 32),
      model: text(64, 16),
      serial: text(80, 16),
      flags: Number(info.readBigUInt64LE(96)),
      firmware: `${info[186]}.${info[187]}`,
    };
  }

  openSession(slot: bigint): bigint {
    const session = ulong(0n);
    this.call('C_OpenSession', slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, null, null, session);
    return session.readBigUInt64LE();
  }

  /** One attempt. The bytes are used for the call only. */
  login(session: bigint, pin: Uint8Array): void {
    this.call('C_Login', session, CKU_USER, pin, pin.length);
  }

  /**
   * All handles that match, in one search. Where the token fails of it, it may be failing of one object's attribute: SoftHSM
   * refuses the whole search then. All objects are looked at one by one instead, and those that it cannot tell do not match.
   */
  find(session: bigint, template: Template): bigint[] {
    try {
      return this.#search(session, template);
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure) || template.length === 0) throw thrown;
      return this.#search(session, []).filter((handle) => this.#matches(session, handle, template));
    }
  }

  #matches(session: bigint, object: bigint, template: Template): boolean {
    return template.every(([type, value]) => {
      const wanted =
        value instanceof Uint8Array ? value : typeof value === 'boolean' ? Buffer.of(value ? 1 : 0) : undefined;
      const room = Buffer.alloc(wanted === undefined ? 8 : wanted.length + 1);
      const attribute = Buffer.alloc(ATTRIBUTE_SIZE);
      writeAttribute(attribute, 0, { type, address: addressOf(room), length: room.length });
      const returned = this.tryCall('C_GetAttributeValue', session, object, attribute, 1);
      if (returned !== 0) return false;
      const found = room.subarray(0, Number(attribute.readBigUInt64LE(16)));
      return Buffer.compare(found, wanted ?? ulong(BigInt(value as number))) === 0;
    });
  }

  #search(session: bigint, template: Template): bigint[] {
    const packed = pack(template);
    const used = this.#begin('C_FindObjectsInit', session, [packed, template.length], (one) =>
      this.tryCall('C_FindObjectsFinal', one),
    );
    try {
      const handles: bigint[] = [];
      const room = Buffer.alloc(8 * 1024);
      const count = ulong(0n);
      for (;;) {
        this.call('C_FindObjects', used, room, room.length / 8, count);
        const found = Number(count.readBigUInt64LE());
        handles.push(...readUlongs(room, found));
        if (found < room.length / 8) return handles;
      }
    } finally {
      this.tryCall('C_FindObjectsFinal', used);
    }
  }

  /**
   * Reads attributes of one object, bytes and booleans; one that the token does not have, or does not tell, is absent from
   * the result. A CK_ULONG may be: NSS gives it into the room of one only, as {@link AttributeReader} offers where told.
   * Undefined when the object is gone.
   */
  attributes(session: bigint, object: bigint, types: readonly number[]): Map<number, Buffer> | undefined {
    const wanted = types.map((type) => ({ type, size: 'variable' }) as const);
    const reader = new AttributeReader({ cryptoki: this, session, wanted });
    if (!reader.read(object) || !reader.complete(object, types)) return undefined;
    return new Map(types.flatMap((type) => (reader.value(type) === undefined ? [] : [[type, reader.value(type)!]])));
  }

  create(session: bigint, template: Template): bigint {
    const packed = pack(template);
    const handle = ulong(0n);
    try {
      this.call('C_CreateObject', session, packed, template.length, handle);
    } finally {
      // It may hold the value of a data object.
      packed.fill(0);
    }
    return handle.readBigUInt64LE();
  }

  copy(session: bigint, object: bigint, template: Template): bigint {
    const packed = pack(template);
    const handle = ulong(0n);
    this.call('C_CopyObject', session, object, packed, template.length, handle);
    return handle.readBigUInt64LE();
  }

  setAttributes(session: bigint, object: bigint, template: Template): void {
    this.call('C_SetAttributeValue', session, object, pack(template), template.length);
  }

  /** False when the object was already gone. */
  destroy(session: bigint, object: bigint): boolean {
    const returned = this.tryCall('C_DestroyObject', session, object);
    if (returned === 0) return true;
    if (returnValueName(returned) === IS_GONE) return false;
    throw this.failure('C_DestroyObject', returned);
  }

  generateKey(session: bigint, mechanism: Mechanism, template: Template): bigint {
    const [packed, packedMechanism, handle] = [pack(template), packMechanism(mechanism), ulong(0n)];
    this.call('C_GenerateKey', session, packedMechanism, packed, template.length, handle);
    return handle.readBigUInt64LE();
  }

  generateKeyPair(
    session: bigint,
    mechanism: Mechanism,
    publicTemplate: Template,
    privateTemplate: Template,
  ): { publicKey: bigint; privateKey: bigint } {
    const packedMechanism = packMechanism(mechanism);
    const [packedPublic, packedPrivate] = [pack(publicTemplate), pack(privateTemplate)];
    const [publicKey, privateKey] = [ulong(0n), ulong(0n)];
    this.call(
      'C_GenerateKeyPair',
      session,
      packedMechanism,
      packedPublic,
      publicTemplate.length,
      packedPrivate,
      privateTemplate.length,
      publicKey,
      privateKey,
    );
    return { publicKey: publicKey.readBigUInt64LE(), privateKey: privateKey.readBigUInt64LE() };
  }

  wrapKey(session: bigint, mechanism: Mechanism, wrappingKey: bigint, key: bigint): Buffer {
    const packed = packMechanism(mechanism);
    // Big enough for RSA-4096 in PKCS#8; a larger key asks for its size first.
    const room = Buffer.alloc(4096);
    const length = ulong(BigInt(room.length));
    const returned = this.tryCall('C_WrapKey', session, packed, wrappingKey, key, room, length);
    if (returned === 0) return Buffer.from(room.subarray(0, Number(length.readBigUInt64LE())));
    const needed = length.readBigUInt64LE();
    if (returnValueName(returned) !== 'CKR_BUFFER_TOO_SMALL' || needed > ANSWER_BYTES_MAX)
      throw this.failure('C_WrapKey', returned);
    const larger = Buffer.alloc(Number(needed));
    this.call('C_WrapKey', session, packed, wrappingKey, key, larger, length);
    return larger.subarray(0, Number(length.readBigUInt64LE()));
  }

  unwrapKey(
    session: bigint,
    mechanism: Mechanism,
    unwrappingKey: bigint,
    blob: Uint8Array,
    template: Template,
  ): bigint {
    const [packed, packedMechanism, handle] = [pack(template), packMechanism(mechanism), ulong(0n)];
    this.call(
      'C_UnwrapKey',
      session,
      packedMechanism,
      unwrappingKey,
      blob,
      blob.length,
      packed,
      template.length,
      handle,
    );
    return handle.readBigUInt64LE();
  }

  deriveKey(session: bigint, mechanism: Mechanism, baseKey: bigint, template: Template): bigint {
    const [packed, packedMechanism, handle] = [pack(template), packMechanism(mechanism), ulong(0n)];
    this.call('C_DeriveKey', session, packedMechanism, baseKey, packed, template.length, handle);
    return handle.readBigUInt64LE();
  }

  sign(session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array): Buffer {
    return this.#transform('C_SignInit', 'C_Sign', session, mechanism, key, data, 1024);
  }

  signRecover(session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array): Buffer {
    return this.#transform('C_SignRecoverInit', 'C_SignRecover', session, mechanism, key, data, 1024);
  }

  encrypt(session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array): Buffer {
    return this.#transform('C_EncryptInit', 'C_Encrypt', session, mechanism, key, data, data.length + 1024);
  }

  decrypt(session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array): Buffer {
    return this.#transform('C_DecryptInit', 'C_Decrypt', session, mechanism, key, data, data.length + 1024);
  }

  verify(session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array, signature: Uint8Array): void {
    const packed = packMechanism(mechanism);
    const used = this.#begin('C_VerifyInit', session, [packed, key], (one) =>
      this.tryCall('C_Verify', one, data, data.length, signature, signature.length),
    );
    this.call('C_Verify', used, data, data.length, signature, signature.length);
  }

  /** A one-part operation. One that asks for more room gets it, so that none stays open. */
  #transform(
    begin: 'C_SignInit' | 'C_SignRecoverInit' | 'C_EncryptInit' | 'C_DecryptInit',
    finish: 'C_Sign' | 'C_SignRecover' | 'C_Encrypt' | 'C_Decrypt',
    session: bigint,
    mechanism: Mechanism,
    key: bigint,
    data: Uint8Array,
    roomBytes: number,
  ): Buffer {
    const packed = packMechanism(mechanism);
    const attempt = (room: Buffer, used: bigint): { returned: number; length: bigint } => {
      const length = ulong(BigInt(room.length));
      const returned = this.tryCall(finish, used, data, data.length, room, length);
      return { returned, length: length.readBigUInt64LE() };
    };
    const used = this.#begin(begin, session, [packed, key], (one) => attempt(Buffer.alloc(ENDING_BYTES), one));
    let room = Buffer.alloc(roomBytes);
    try {
      this.#loginForUse?.(used);
    } catch (thrown) {
      // What was begun ends, or the next operation of the session would be refused.
      attempt(room, used);
      throw thrown;
    }
    let answer = attempt(room, used);
    if (returnValueName(answer.returned) === 'CKR_BUFFER_TOO_SMALL' && answer.length <= ANSWER_BYTES_MAX) {
      room = Buffer.alloc(Number(answer.length));
      answer = attempt(room, used);
    }
    if (answer.returned !== 0) throw this.failure(finish, answer.returned);
    return room.subarray(0, Number(answer.length));
  }

  /**
   * Begins an operation, and returns the session that has it. One that an earlier call has left open is ended first; where
   * the device does not let go of it, operations go on in a session of their own.
   */
  #begin(
    name: 'C_SignInit' | 'C_SignRecoverInit' | 'C_EncryptInit' | 'C_DecryptInit' | 'C_VerifyInit' | 'C_FindObjectsInit',
    session: bigint,
    args: readonly (number | bigint | Uint8Array)[],
    end: (session: bigint) => unknown,
  ): bigint {
    const used = this.#operating.get(session) ?? session;
    const isFree = (): boolean => {
      const returned = this.tryCall(name, used, ...args);
      if (returned === 0) return true;
      if (returnValueName(returned) === 'CKR_OPERATION_ACTIVE') return false;
      throw this.failure(name, returned);
    };
    if (isFree()) return used;
    end(used);
    if (isFree()) return used;
    const info = Buffer.alloc(32); // CK_SESSION_INFO, whose first member is the slot
    this.call('C_GetSessionInfo', session, info);
    const fresh = this.openSession(info.readBigUInt64LE());
    this.#operating.set(session, fresh);
    if (used !== session) this.tryCall('C_CloseSession', used);
    this.call(name, fresh, ...args);
    return fresh;
  }
}

/** Room in which any operation ends that a call has left open. */
const ENDING_BYTES = 64 * 1024;

/** A device that claims more than this for a blob or a signature is not believed. */
const ANSWER_BYTES_MAX = 1024n * 1024n;

/**
 * CK_C_INITIALIZE_ARGS, and behind it the parameters that it points to. NSS has a member more than the standard: the
 * parameters stand where others have pReserved, which comes after.
 */
function initializeArguments(parameters: string | undefined): Buffer {
  const text = parameters === undefined ? '' : `${parameters}\0`;
  const packed = Buffer.alloc(INITIALIZE_ARGS_SIZE + Buffer.byteLength(text));
  packed.writeBigUInt64LE(BigInt(CKF_OS_LOCKING_OK), 32);
  if (text === '') return packed;
  packed.write(text, INITIALIZE_ARGS_SIZE);
  packed.writeBigUInt64LE(addressOf(packed) + BigInt(INITIALIZE_ARGS_SIZE), 40);
  return packed;
}

const INITIALIZE_ARGS_SIZE = 56;

function readUlongs(bytes: Buffer, count: number): bigint[] {
  return [...new BigUint64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + count * 8))];
}
