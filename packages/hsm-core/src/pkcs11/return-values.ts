/**
 * The only place where PKCS#11 return values become errors of the catalogue. Most of them are the token refusing
 * (`operator`): repeating would not help. Those that say "not now" are `retry`. A PIN that was refused is never retried.
 */
import { AntipodeError, type ErrorCode } from '@antipode/runtime';

const NAMES: Readonly<Record<number, string>> = {
  0x001: 'CKR_CANCEL',
  0x002: 'CKR_HOST_MEMORY',
  0x003: 'CKR_SLOT_ID_INVALID',
  0x005: 'CKR_GENERAL_ERROR',
  0x006: 'CKR_FUNCTION_FAILED',
  0x007: 'CKR_ARGUMENTS_BAD',
  0x010: 'CKR_ATTRIBUTE_READ_ONLY',
  0x011: 'CKR_ATTRIBUTE_SENSITIVE',
  0x012: 'CKR_ATTRIBUTE_TYPE_INVALID',
  0x013: 'CKR_ATTRIBUTE_VALUE_INVALID',
  0x01b: 'CKR_ACTION_PROHIBITED',
  0x020: 'CKR_DATA_INVALID',
  0x021: 'CKR_DATA_LEN_RANGE',
  0x030: 'CKR_DEVICE_ERROR',
  0x031: 'CKR_DEVICE_MEMORY',
  0x032: 'CKR_DEVICE_REMOVED',
  0x040: 'CKR_ENCRYPTED_DATA_INVALID',
  0x041: 'CKR_ENCRYPTED_DATA_LEN_RANGE',
  0x050: 'CKR_FUNCTION_CANCELED',
  0x054: 'CKR_FUNCTION_NOT_SUPPORTED',
  0x060: 'CKR_KEY_HANDLE_INVALID',
  0x062: 'CKR_KEY_SIZE_RANGE',
  0x063: 'CKR_KEY_TYPE_INCONSISTENT',
  0x068: 'CKR_KEY_FUNCTION_NOT_PERMITTED',
  0x069: 'CKR_KEY_NOT_WRAPPABLE',
  0x06a: 'CKR_KEY_UNEXTRACTABLE',
  0x070: 'CKR_MECHANISM_INVALID',
  0x071: 'CKR_MECHANISM_PARAM_INVALID',
  0x082: 'CKR_OBJECT_HANDLE_INVALID',
  0x090: 'CKR_OPERATION_ACTIVE',
  0x091: 'CKR_OPERATION_NOT_INITIALIZED',
  0x0a0: 'CKR_PIN_INCORRECT',
  0x0a1: 'CKR_PIN_INVALID',
  0x0a2: 'CKR_PIN_LEN_RANGE',
  0x0a3: 'CKR_PIN_EXPIRED',
  0x0a4: 'CKR_PIN_LOCKED',
  0x0b0: 'CKR_SESSION_CLOSED',
  0x0b1: 'CKR_SESSION_COUNT',
  0x0b3: 'CKR_SESSION_HANDLE_INVALID',
  0x0c0: 'CKR_SIGNATURE_INVALID',
  0x0c1: 'CKR_SIGNATURE_LEN_RANGE',
  0x0d0: 'CKR_TEMPLATE_INCOMPLETE',
  0x0d1: 'CKR_TEMPLATE_INCONSISTENT',
  0x0e0: 'CKR_TOKEN_NOT_PRESENT',
  0x0e1: 'CKR_TOKEN_NOT_RECOGNIZED',
  0x0f0: 'CKR_UNWRAPPING_KEY_HANDLE_INVALID',
  0x0f1: 'CKR_UNWRAPPING_KEY_SIZE_RANGE',
  0x0f2: 'CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT',
  0x100: 'CKR_USER_ALREADY_LOGGED_IN',
  0x101: 'CKR_USER_NOT_LOGGED_IN',
  0x102: 'CKR_USER_PIN_NOT_INITIALIZED',
  0x110: 'CKR_WRAPPED_KEY_INVALID',
  0x112: 'CKR_WRAPPED_KEY_LEN_RANGE',
  0x113: 'CKR_WRAPPING_KEY_HANDLE_INVALID',
  0x150: 'CKR_BUFFER_TOO_SMALL',
  0x190: 'CKR_CRYPTOKI_NOT_INITIALIZED',
  0x191: 'CKR_CRYPTOKI_ALREADY_INITIALIZED',
};

const CODES: Readonly<Record<string, ErrorCode>> = {
  CKR_HOST_MEMORY: 'HSM_UNAVAILABLE',
  CKR_DEVICE_ERROR: 'HSM_UNAVAILABLE',
  CKR_DEVICE_REMOVED: 'HSM_UNAVAILABLE',
  CKR_TOKEN_NOT_PRESENT: 'HSM_UNAVAILABLE',
  CKR_SESSION_CLOSED: 'HSM_UNAVAILABLE',
  CKR_SESSION_HANDLE_INVALID: 'HSM_UNAVAILABLE',
  CKR_SESSION_COUNT: 'HSM_UNAVAILABLE',
  CKR_CRYPTOKI_NOT_INITIALIZED: 'HSM_UNAVAILABLE',
  CKR_USER_NOT_LOGGED_IN: 'HSM_UNAVAILABLE',
  CKR_DEVICE_MEMORY: 'HSM_FULL',
  CKR_PIN_INCORRECT: 'PIN_REFUSED',
  CKR_PIN_INVALID: 'PIN_REFUSED',
  CKR_PIN_LEN_RANGE: 'PIN_REFUSED',
  CKR_PIN_EXPIRED: 'PIN_REFUSED',
  CKR_USER_PIN_NOT_INITIALIZED: 'PIN_REFUSED',
  CKR_PIN_LOCKED: 'PIN_LOCKED',
};

export function returnValueName(returnValue: number): string {
  return NAMES[returnValue] ?? `CKR_0x${returnValue.toString(16).padStart(8, '0')}`;
}

/** A PKCS#11 call that did not return CKR_OK. Stays inside pkcs11/; {@link translate} makes it ours. */
export class CryptokiFailure extends Error {
  readonly call: string;
  readonly returnValue: string;

  constructor(call: string, returnValue: number) {
    const name = returnValueName(returnValue);
    super(`${call} returned ${name}`);
    this.call = call;
    this.returnValue = name;
  }
}

/** The return value's name when `thrown` is a refused PKCS#11 call; otherwise throws it on. */
export function returnValueOf(thrown: unknown): string {
  if (thrown instanceof CryptokiFailure) return thrown.returnValue;
  throw thrown;
}

/** The catalogue's code for a return value. */
export function codeOf(returnValue: string): ErrorCode {
  return CODES[returnValue] ?? 'HSM_REFUSED';
}

/** Turns a refused call into an error of the catalogue; what is already one passes through. */
export function translate(thrown: unknown): AntipodeError {
  if (!(thrown instanceof CryptokiFailure)) return AntipodeError.from(thrown);
  const { call, returnValue } = thrown;
  return new AntipodeError(codeOf(returnValue), `the HSM answered ${returnValue} to ${call}`, {
    details: { call, returnValue },
    cause: thrown,
  });
}
