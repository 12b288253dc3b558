/**
 * Loads a PKCS#11 module into this process and calls its functions. Synchronous on purpose: it runs in a process of its
 * own, where blocking harms nobody, and asynchronous calls cost more than they save (ADR 0002).
 *
 * The module is loaded with RTLD_DEEPBIND, so that a vendor library does not bind to the OpenSSL inside Node.
 */
import { AntipodeError } from '@antipode/runtime';
import koffi from 'koffi';
import { CKR_OK } from './constants.ts';
import { blameOf, CryptokiFailure, returnValueName, SessionFailure } from './return-values.ts';

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
  C_DigestInit: [37, 'np'],
  C_DigestUpdate: [39, 'npn'],
  C_DigestKey: [40, 'nn'],
  C_DigestFinal: [41, 'npp'],
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

export type FunctionName = keyof typeof FUNCTIONS;
export type CallArgument = number | bigint | Uint8Array | null;
type Native = (...args: CallArgument[]) => number | bigint;

const FIRST_POINTER = 8; // CK_VERSION, padded to the alignment of a pointer.

export class Module {
  readonly #functions: Readonly<Record<FunctionName, Native>>;

  /**
   * koffi unloads a library whose handle is collected, although functions of it are still held: a later call crashes.
   */
  readonly library: object;

  /** Told of every call that the module has answered. */
  #answered: (() => void) | undefined;

  /** Tells whether the session is sound, where a return value does not say what is at fault. */
  #isSound: (() => boolean) | undefined;

  private constructor(library: object, functions: Readonly<Record<FunctionName, Native>>) {
    this.library = library;
    this.#functions = functions;
  }

  /** Loads a module; `start` makes the first calls of it. @throws MODULE_UNAVAILABLE */
  static load<T>(path: string, start: (module: Module) => T): T {
    try {
      const library = koffi.load(path, { deep: true });
      const list = Buffer.alloc(8);
      const returned = Number(library.func('C_GetFunctionList', 'ulong', ['void *'])(list));
      if (returned !== CKR_OK) throw new CryptokiFailure('C_GetFunctionList', returned);
      return start(new Module(library, functionsAt(list.readBigUInt64LE())));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new AntipodeError('MODULE_UNAVAILABLE', `cannot use the PKCS#11 module ${path}: ${reason}`, {
        details: { module: path },
        cause,
      });
    }
  }

  /** From now on a value that could be anybody's fault is asked about: see {@link blameOf}. */
  watch(isSound: () => boolean): void {
    this.#isSound = isSound;
  }

  /** From now on every answer of the module is a sign of life: many calls in a row do not count as one that hangs. */
  reportAnswers(answered: () => void): void {
    this.#answered = answered;
  }

  /** Calls a function. @throws CryptokiFailure or SessionFailure unless it returns CKR_OK */
  call(name: FunctionName, ...args: CallArgument[]): void {
    const returned = this.tryCall(name, ...args);
    if (returned !== CKR_OK) throw this.failure(name, returned);
  }

  /** Calls a function, and gives what it returned. */
  tryCall(name: FunctionName, ...args: CallArgument[]): number {
    const returned = Number(this.#functions[name](...args));
    this.#answered?.();
    return returned;
  }

  /** The error of a call that returned this value. */
  failure(name: FunctionName, returned: number): CryptokiFailure | SessionFailure {
    const blame = blameOf(returnValueName(returned));
    const isSession = blame === 'session' || (blame === 'ask' && this.#isSound?.() === false);
    return isSession ? new SessionFailure(name, returned) : new CryptokiFailure(name, returned);
  }
}

function functionsAt(list: bigint): Record<FunctionName, Native> {
  const functions = {} as Record<FunctionName, Native>;
  for (const [name, [index, parameters]] of Object.entries(FUNCTIONS)) {
    const prototype = koffi.proto(
      'ulong',
      [...parameters].map((kind) => (kind === 'n' ? 'ulong' : 'void *')),
    );
    const pointer = koffi.decode(list + BigInt(FIRST_POINTER + index * 8), 'void *') as bigint;
    functions[name as FunctionName] = koffi.decode(pointer, prototype) as Native;
  }
  return functions;
}
