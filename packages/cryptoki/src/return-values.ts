/**
 * The only place where PKCS#11 return values get a meaning. One table says of each value what to do when it comes
 * alone, and whose fault it can be while one object is being read, proved or made. Below it are the values by which
 * single calls mean something of their own. The CKR_ name is kept in the details of every error.
 *
 * A value that the table does not have starts the worker again once, and is asked about as below.
 */
import { AntipodeError, type ErrorCode } from '@antipode/runtime';

/**
 * The consequence when a call ends with the value and nobody below the provider's methods has dealt with it:
 * - `refuse`: the token does not do this, and repeating would not help (HSM_REFUSED).
 * - `recycle`: the session may be void. The worker is started again and the work repeated, once (HSM_SESSION_VOID).
 * - `wait`: the device is away or failing (HSM_UNAVAILABLE).
 * - `full`, `pin`, `locked`: HSM_FULL, PIN_REFUSED, PIN_LOCKED. A PIN that was refused is never retried.
 */
type Alone = 'refuse' | 'recycle' | 'wait' | 'full' | 'pin' | 'locked';

/**
 * Whose fault the value is while one object is at hand: that object's, the session's (or the device's), or to be found
 * out by asking the session for something that every sound one does (Module.watch).
 */
type Blame = 'object' | 'session' | 'ask';

const TABLE: readonly (readonly [returnValue: number, name: string, alone: Alone, blame: Blame])[] = [
  [0x001, 'CKR_CANCEL', 'recycle', 'ask'],
  [0x002, 'CKR_HOST_MEMORY', 'recycle', 'ask'],
  [0x003, 'CKR_SLOT_ID_INVALID', 'recycle', 'session'],
  [0x005, 'CKR_GENERAL_ERROR', 'recycle', 'ask'],
  [0x006, 'CKR_FUNCTION_FAILED', 'recycle', 'ask'],
  [0x007, 'CKR_ARGUMENTS_BAD', 'refuse', 'object'],
  [0x008, 'CKR_NO_EVENT', 'recycle', 'ask'],
  [0x009, 'CKR_NEED_TO_CREATE_THREADS', 'refuse', 'session'],
  [0x00a, 'CKR_CANT_LOCK', 'refuse', 'session'],
  [0x010, 'CKR_ATTRIBUTE_READ_ONLY', 'refuse', 'object'],
  [0x011, 'CKR_ATTRIBUTE_SENSITIVE', 'refuse', 'object'],
  [0x012, 'CKR_ATTRIBUTE_TYPE_INVALID', 'refuse', 'object'],
  [0x013, 'CKR_ATTRIBUTE_VALUE_INVALID', 'refuse', 'object'],
  [0x01b, 'CKR_ACTION_PROHIBITED', 'refuse', 'object'],
  [0x020, 'CKR_DATA_INVALID', 'refuse', 'object'],
  [0x021, 'CKR_DATA_LEN_RANGE', 'refuse', 'object'],
  [0x030, 'CKR_DEVICE_ERROR', 'wait', 'ask'],
  [0x031, 'CKR_DEVICE_MEMORY', 'full', 'session'],
  [0x032, 'CKR_DEVICE_REMOVED', 'wait', 'session'],
  [0x040, 'CKR_ENCRYPTED_DATA_INVALID', 'refuse', 'object'],
  [0x041, 'CKR_ENCRYPTED_DATA_LEN_RANGE', 'refuse', 'object'],
  [0x050, 'CKR_FUNCTION_CANCELED', 'recycle', 'ask'],
  [0x051, 'CKR_FUNCTION_NOT_PARALLEL', 'recycle', 'ask'],
  [0x054, 'CKR_FUNCTION_NOT_SUPPORTED', 'refuse', 'object'],
  [0x060, 'CKR_KEY_HANDLE_INVALID', 'recycle', 'ask'],
  [0x062, 'CKR_KEY_SIZE_RANGE', 'refuse', 'object'],
  [0x063, 'CKR_KEY_TYPE_INCONSISTENT', 'refuse', 'object'],
  [0x064, 'CKR_KEY_NOT_NEEDED', 'refuse', 'object'],
  [0x065, 'CKR_KEY_CHANGED', 'refuse', 'object'],
  [0x066, 'CKR_KEY_NEEDED', 'refuse', 'object'],
  [0x067, 'CKR_KEY_INDIGESTIBLE', 'refuse', 'object'],
  [0x068, 'CKR_KEY_FUNCTION_NOT_PERMITTED', 'refuse', 'object'],
  [0x069, 'CKR_KEY_NOT_WRAPPABLE', 'refuse', 'object'],
  [0x06a, 'CKR_KEY_UNEXTRACTABLE', 'refuse', 'object'],
  [0x070, 'CKR_MECHANISM_INVALID', 'refuse', 'object'],
  [0x071, 'CKR_MECHANISM_PARAM_INVALID', 'refuse', 'object'],
  [0x082, 'CKR_OBJECT_HANDLE_INVALID', 'recycle', 'ask'],
  [0x090, 'CKR_OPERATION_ACTIVE', 'recycle', 'session'],
  [0x091, 'CKR_OPERATION_NOT_INITIALIZED', 'recycle', 'ask'],
  [0x0a0, 'CKR_PIN_INCORRECT', 'pin', 'session'],
  [0x0a1, 'CKR_PIN_INVALID', 'pin', 'session'],
  [0x0a2, 'CKR_PIN_LEN_RANGE', 'pin', 'session'],
  [0x0a3, 'CKR_PIN_EXPIRED', 'pin', 'session'],
  [0x0a4, 'CKR_PIN_LOCKED', 'locked', 'session'],
  [0x0b0, 'CKR_SESSION_CLOSED', 'recycle', 'session'],
  [0x0b1, 'CKR_SESSION_COUNT', 'recycle', 'session'],
  [0x0b3, 'CKR_SESSION_HANDLE_INVALID', 'recycle', 'session'],
  [0x0b4, 'CKR_SESSION_PARALLEL_NOT_SUPPORTED', 'refuse', 'session'],
  [0x0b5, 'CKR_SESSION_READ_ONLY', 'recycle', 'session'],
  [0x0b6, 'CKR_SESSION_EXISTS', 'recycle', 'session'],
  [0x0b7, 'CKR_SESSION_READ_ONLY_EXISTS', 'recycle', 'session'],
  [0x0b8, 'CKR_SESSION_READ_WRITE_SO_EXISTS', 'recycle', 'session'],
  [0x0c0, 'CKR_SIGNATURE_INVALID', 'refuse', 'object'],
  [0x0c1, 'CKR_SIGNATURE_LEN_RANGE', 'refuse', 'object'],
  [0x0d0, 'CKR_TEMPLATE_INCOMPLETE', 'refuse', 'object'],
  [0x0d1, 'CKR_TEMPLATE_INCONSISTENT', 'refuse', 'object'],
  [0x0e0, 'CKR_TOKEN_NOT_PRESENT', 'wait', 'session'],
  [0x0e1, 'CKR_TOKEN_NOT_RECOGNIZED', 'wait', 'session'],
  [0x0e2, 'CKR_TOKEN_WRITE_PROTECTED', 'refuse', 'session'],
  [0x0f0, 'CKR_UNWRAPPING_KEY_HANDLE_INVALID', 'recycle', 'ask'],
  [0x0f1, 'CKR_UNWRAPPING_KEY_SIZE_RANGE', 'refuse', 'object'],
  [0x0f2, 'CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT', 'refuse', 'object'],
  [0x100, 'CKR_USER_ALREADY_LOGGED_IN', 'recycle', 'session'],
  [0x101, 'CKR_USER_NOT_LOGGED_IN', 'recycle', 'ask'],
  [0x102, 'CKR_USER_PIN_NOT_INITIALIZED', 'pin', 'session'],
  [0x103, 'CKR_USER_TYPE_INVALID', 'refuse', 'object'],
  [0x104, 'CKR_USER_ANOTHER_ALREADY_LOGGED_IN', 'recycle', 'session'],
  [0x105, 'CKR_USER_TOO_MANY_TYPES', 'recycle', 'session'],
  [0x110, 'CKR_WRAPPED_KEY_INVALID', 'refuse', 'object'],
  [0x112, 'CKR_WRAPPED_KEY_LEN_RANGE', 'refuse', 'object'],
  [0x113, 'CKR_WRAPPING_KEY_HANDLE_INVALID', 'recycle', 'ask'],
  [0x114, 'CKR_WRAPPING_KEY_SIZE_RANGE', 'refuse', 'object'],
  [0x115, 'CKR_WRAPPING_KEY_TYPE_INCONSISTENT', 'refuse', 'object'],
  [0x120, 'CKR_RANDOM_SEED_NOT_SUPPORTED', 'refuse', 'object'],
  [0x121, 'CKR_RANDOM_NO_RNG', 'wait', 'session'],
  [0x130, 'CKR_DOMAIN_PARAMS_INVALID', 'refuse', 'object'],
  [0x140, 'CKR_CURVE_NOT_SUPPORTED', 'refuse', 'object'],
  [0x150, 'CKR_BUFFER_TOO_SMALL', 'refuse', 'object'],
  [0x160, 'CKR_SAVED_STATE_INVALID', 'refuse', 'object'],
  [0x170, 'CKR_INFORMATION_SENSITIVE', 'refuse', 'object'],
  [0x180, 'CKR_STATE_UNSAVEABLE', 'refuse', 'object'],
  [0x190, 'CKR_CRYPTOKI_NOT_INITIALIZED', 'recycle', 'session'],
  [0x191, 'CKR_CRYPTOKI_ALREADY_INITIALIZED', 'recycle', 'session'],
  [0x1a0, 'CKR_MUTEX_BAD', 'recycle', 'session'],
  [0x1a1, 'CKR_MUTEX_NOT_LOCKED', 'recycle', 'session'],
  [0x1b0, 'CKR_NEW_PIN_MODE', 'pin', 'session'],
  [0x1b1, 'CKR_NEXT_OTP', 'pin', 'session'],
  [0x1b5, 'CKR_EXCEEDED_MAX_ITERATIONS', 'refuse', 'object'],
  [0x1b6, 'CKR_FIPS_SELF_TEST_FAILED', 'wait', 'session'],
  [0x1b7, 'CKR_LIBRARY_LOAD_FAILED', 'wait', 'session'],
  [0x1b8, 'CKR_PIN_TOO_WEAK', 'pin', 'session'],
  [0x1b9, 'CKR_PUBLIC_KEY_INVALID', 'refuse', 'object'],
  [0x200, 'CKR_FUNCTION_REJECTED', 'refuse', 'object'],
  [0x201, 'CKR_TOKEN_RESOURCE_EXCEEDED', 'wait', 'ask'],
  [0x202, 'CKR_OPERATION_CANCEL_FAILED', 'recycle', 'session'],
  [0x203, 'CKR_KEY_EXHAUSTED', 'refuse', 'object'],
];

const UNKNOWN = ['recycle', 'ask'] as const;

const BY_NUMBER = new Map(TABLE.map(([returnValue, name]) => [returnValue, name]));
const BY_NAME = new Map(TABLE.map(([, name, alone, blame]) => [name, [alone, blame] as const]));

const CODES: Readonly<Record<Alone, ErrorCode>> = {
  refuse: 'HSM_REFUSED',
  recycle: 'HSM_SESSION_VOID',
  wait: 'HSM_UNAVAILABLE',
  full: 'HSM_FULL',
  pin: 'PIN_REFUSED',
  locked: 'PIN_LOCKED',
};

// --- what single calls mean by single values ---

/** C_GetAttributeValue says these of single attributes; all others are given (PKCS#11 3.0, 5.7.5). */
export const TELLS_ATTRIBUTES: ReadonlySet<string> = new Set([
  'CKR_OK',
  'CKR_ATTRIBUTE_SENSITIVE',
  'CKR_ATTRIBUTE_TYPE_INVALID',
  'CKR_BUFFER_TOO_SMALL',
]);

/** C_GetAttributeValue and C_DestroyObject: somebody else has destroyed the object. */
export const IS_GONE = 'CKR_OBJECT_HANDLE_INVALID';

/** C_WrapKey says these of the key; with any other the key cannot be read: half made, or gone. */
export const NOT_WRAPPED: Readonly<Record<string, 'unextractable' | 'not-wrappable'>> = {
  CKR_KEY_UNEXTRACTABLE: 'unextractable',
  CKR_KEY_NOT_WRAPPABLE: 'not-wrappable',
  CKR_KEY_SIZE_RANGE: 'not-wrappable',
};

/**
 * C_UnwrapKey and C_Decrypt: the blob does not open. SoftHSM 2.6.1 says a general error, 2.7 and others the standard's.
 */
export const BLOB_REFUSALS: ReadonlySet<string> = new Set([
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED',
  'CKR_WRAPPED_KEY_INVALID',
  'CKR_WRAPPED_KEY_LEN_RANGE',
  'CKR_ENCRYPTED_DATA_INVALID',
  'CKR_ENCRYPTED_DATA_LEN_RANGE',
  // NSS, of a key whose form is not its type's.
  'CKR_TEMPLATE_INCOMPLETE',
]);

/**
 * Using a key: the token does not offer this mechanism, or not for this size, or the key asks more of what is made with
 * it than a throw-away key gives (CKA_UNWRAP_TEMPLATE). Another mechanism may serve. Anything else is a failed use.
 */
export const CANNOT_EXERCISE: ReadonlySet<string> = new Set([
  'CKR_MECHANISM_INVALID',
  'CKR_MECHANISM_PARAM_INVALID',
  'CKR_KEY_SIZE_RANGE',
  'CKR_FUNCTION_NOT_SUPPORTED',
  'CKR_ARGUMENTS_BAD',
  'CKR_TEMPLATE_INCONSISTENT',
  'CKR_TEMPLATE_INCOMPLETE',
  'CKR_ATTRIBUTE_VALUE_INVALID',
  'CKR_ATTRIBUTE_READ_ONLY',
]);

/** Among the values above: the token lacks the mechanism for any key of the kind, or for this key only. */
export const LACKS_MECHANISM = 'CKR_MECHANISM_INVALID';

/** Using a key: its own flags forbid it. The key is at work, and refuses. */
export const FORBIDS_USE = 'CKR_KEY_FUNCTION_NOT_PERMITTED';

/** C_Verify: the signature is of the right form and is another's. */
export const IS_ANOTHERS = 'CKR_SIGNATURE_INVALID';

/** C_Verify: the token does not take what was signed, in any form. */
export const SIGNATURE_REFUSALS: ReadonlySet<string> = new Set([IS_ANOTHERS, 'CKR_SIGNATURE_LEN_RANGE']);

/** C_UnwrapKey: the quirk of the device that the value may show (hsm-core, quirks.ts). */
export const SHOWS_QUIRK: Readonly<Record<string, 'omits-extractable' | 'wants-point'>> = {
  CKR_ATTRIBUTE_READ_ONLY: 'omits-extractable',
  CKR_TEMPLATE_INCOMPLETE: 'wants-point',
};

/** Any call that gives bytes: the length that it has set is the room that it needs. */
export const needsRoom = (returnValue: number): boolean => returnValueName(returnValue) === 'CKR_BUFFER_TOO_SMALL';

/** A call that begins an operation: an earlier one is still open in this session. */
export const isBusy = (returnValue: number): boolean => returnValueName(returnValue) === 'CKR_OPERATION_ACTIVE';

/** The input of these comes from a peer. In a sound session the token refuses the input, whatever the value. */
const TAKES_INPUT: ReadonlySet<string> = new Set(['C_UnwrapKey', 'C_DeriveKey']);

export function returnValueName(returnValue: number): string {
  return BY_NUMBER.get(returnValue) ?? `CKR_0x${returnValue.toString(16).padStart(8, '0')}`;
}

/** The number of a value that the standard names. */
export const returnValueNumber = (name: string): number => TABLE.find(([, named]) => named === name)![0];

/** Whose fault a value is while one object is at hand. */
export function blameOf(returnValue: string): Blame {
  return (BY_NAME.get(returnValue) ?? UNKNOWN)[1];
}

/** The catalogue's code for a value that comes alone. */
export function codeOf(returnValue: string): ErrorCode {
  return CODES[(BY_NAME.get(returnValue) ?? UNKNOWN)[0]];
}

/**
 * A PKCS#11 call that did not return CKR_OK. It stays below the provider's methods; {@link translate} makes it ours.
 */
class CallFailure extends Error {
  readonly call: string;
  readonly returnValue: string;

  constructor(call: string, returnValue: number | string) {
    const name = typeof returnValue === 'string' ? returnValue : returnValueName(returnValue);
    super(`${call} returned ${name}`);
    this.call = call;
    this.returnValue = name;
  }
}

/** A refusal of what the call asked for, or of the object that it was about. */
export class CryptokiFailure extends CallFailure {}

/** The session or the device is at fault, whatever the call was about: no judgement of any object follows from it. */
export class SessionFailure extends CallFailure {}

/** The return value's name when `thrown` is a refused PKCS#11 call; otherwise throws it on. */
export function returnValueOf(thrown: unknown): string {
  if (thrown instanceof CryptokiFailure) return thrown.returnValue;
  throw thrown;
}

/** The return value's name, whoever is at fault. Throws `thrown` on if it is not a failed call. */
export function answerOf(thrown: unknown): string {
  if (thrown instanceof CallFailure) return thrown.returnValue;
  throw thrown;
}

/**
 * Turns a refused call into an error of the catalogue; what is already one passes through. A session that was just
 * opened cannot be void: there the HSM is not ready.
 */
export function translate(thrown: unknown, { isOpening = false }: { isOpening?: boolean } = {}): AntipodeError {
  if (!(thrown instanceof CallFailure)) return AntipodeError.from(thrown);
  const { call, returnValue } = thrown;
  const isInput = thrown instanceof CryptokiFailure && TAKES_INPUT.has(call);
  const alone = isInput ? 'HSM_REFUSED' : codeOf(returnValue);
  const code = isOpening && alone === 'HSM_SESSION_VOID' ? 'HSM_UNAVAILABLE' : alone;
  const details = { call, returnValue };
  return new AntipodeError(code, `the HSM answered ${returnValue} to ${call}`, { details, cause: thrown });
}
