/**
 * Loads a PKCS#11 module into this process and calls its functions. Synchronous on purpose: it runs in a process of its
 * own, where blocking harms nobody, and asynchronous calls cost more than they save (ADR 0002).
 *
 * The module is loaded with RTLD_DEEPBIND, so that a vendor library does not bind to the OpenSSL inside Node.
 */
import { AntipodeError, systemClock } from '@antipode/runtime';
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

/** The same of what PKCS#11 3.0 adds, behind the 68 functions of 2.40 (CK_FUNCTION_LIST_3_0). */
const FUNCTIONS_3 = {
  C_SessionCancel: [71, 'nn'],
} as const;

export type FunctionName = keyof typeof FUNCTIONS;
/** A call that the module has answered. */
export interface AnsweredCall {
  readonly name: FunctionName | LaterFunctionName;
  readonly returned: number;
  readonly tookMs: number;
}

export type CallArgument = number | bigint | Uint8Array | null;
type Library = ReturnType<typeof koffi.load>;
type Native = (...args: CallArgument[]) => number | bigint;

type LaterFunctionName = keyof typeof FUNCTIONS_3;

const FIRST_POINTER = 8; // CK_VERSION, padded to the alignment of a pointer.

/** How most modules name their functions. */
const STANDARD_PREFIX = 'C';

export class Module {
  readonly #functions: Readonly<Record<FunctionName, Native>>;

  /** Of a module by PKCS#11 3.0 or later. */
  readonly #later: Readonly<Record<LaterFunctionName, Native>> | undefined;

  /**
   * koffi unloads a library whose handle is collected, although functions of it are still held: a later call crashes.
   */
  readonly library: object;

  /** Told of every call that the module has answered. */
  #answered: ((call: AnsweredCall) => void) | undefined;

  /** Tells whether the session is sound, where a return value does not say what is at fault. */
  #isSound: (() => boolean) | undefined;

  private constructor(library: object, list: bigint) {
    this.library = library;
    this.#functions = functionsAt(list, FUNCTIONS);
    this.#later = majorVersionAt(list) >= 3 ? functionsAt(list, FUNCTIONS_3) : undefined;
  }

  /**
   * Loads a module; `start` makes the first calls of it. `prefix` is that of its entry points, where the module has
   * others than the standard's (NSS in FIPS mode: FC). @throws MODULE_UNAVAILABLE
   */
  static load<T>(path: string, start: (module: Module) => T, prefix = STANDARD_PREFIX): T {
    try {
      const library = koffi.load(path, { deep: true });
      return start(new Module(library, interfaceOf(library, prefix) ?? functionListOf(library, prefix)));
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
  reportAnswers(answered: (call: AnsweredCall) => void): void {
    this.#answered = answered;
  }

  /** Calls a function. @throws CryptokiFailure or SessionFailure unless it returns CKR_OK */
  call(name: FunctionName, ...args: CallArgument[]): void {
    const returned = this.tryCall(name, ...args);
    if (returned !== CKR_OK) throw this.failure(name, returned);
  }

  /**
   * Ends operations of a session as PKCS#11 3.0 has it (section 5.6.11). False where the module is older, or does not.
   */
  cancel(session: bigint, operations: number): boolean {
    if (this.#later === undefined) return false;
    const beganMs = systemClock.monotonicMs();
    const returned = Number(this.#later.C_SessionCancel(session, operations));
    this.#answered?.({ name: 'C_SessionCancel', returned, tookMs: systemClock.monotonicMs() - beganMs });
    return returned === CKR_OK;
  }

  /** Calls a function, and gives what it returned. */
  tryCall(name: FunctionName, ...args: CallArgument[]): number {
    const beganMs = systemClock.monotonicMs();
    const returned = Number(this.#functions[name](...args));
    this.#answered?.({ name, returned, tookMs: systemClock.monotonicMs() - beganMs });
    return returned;
  }

  /** The error of a call that returned this value. */
  failure(name: FunctionName, returned: number): CryptokiFailure | SessionFailure {
    const blame = blameOf(returnValueName(returned));
    const isSession = blame === 'session' || (blame === 'ask' && this.#isSound?.() === false);
    return isSession ? new SessionFailure(name, returned) : new CryptokiFailure(name, returned);
  }
}

/** CK_INTERFACE: a name, a function list, flags. A version of null asks for the one that the module prefers. */
function interfaceOf(library: Library, prefix: string): bigint | undefined {
  const name = `${prefix}_GetInterface`;
  let get: Native;
  try {
    get = library.func(name, 'ulong', ['void *', 'void *', 'void *', 'ulong']) as Native;
  } catch {
    // A module by PKCS#11 2.40.
    return undefined;
  }
  const found = Buffer.alloc(8);
  if (Number(get(Buffer.from('PKCS 11\0'), null, found, 0)) !== CKR_OK) return undefined;
  const [, list] = koffi.decode(found.readBigUInt64LE(), koffi.array('uint64', 2, 'Array')) as bigint[];
  return list === undefined ? undefined : BigInt(list);
}

function functionListOf(library: Library, prefix: string): bigint {
  const name = `${prefix}_GetFunctionList`;
  const list = Buffer.alloc(8);
  const returned = Number(library.func(name, 'ulong', ['void *'])(list));
  if (returned !== CKR_OK) throw new CryptokiFailure(name, returned);
  return list.readBigUInt64LE();
}

const majorVersionAt = (list: bigint): number => koffi.decode(list, 'uint8') as number;

function functionsAt<Name extends string>(
  list: bigint,
  table: Readonly<Record<Name, readonly [index: number, parameters: string]>>,
): Record<Name, Native> {
  const functions = {} as Record<Name, Native>;
  for (const [name, [index, parameters]] of Object.entries(table) as [Name, readonly [number, string]][]) {
    const prototype = koffi.proto(
      'ulong',
      [...parameters].map((kind) => (kind === 'n' ? 'ulong' : 'void *')),
    );
    const pointer = koffi.decode(list + BigInt(FIRST_POINTER + index * 8), 'void *') as bigint;
    functions[name] = koffi.decode(pointer, prototype) as Native;
  }
  return functions;
}
