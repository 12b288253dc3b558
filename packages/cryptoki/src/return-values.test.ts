import { AntipodeError, type ErrorCode } from '@antipode/runtime';
import { expect, it } from 'vitest';
import {
  blameOf,
  CryptokiFailure,
  codeOf,
  returnValueName,
  returnValueOf,
  SessionFailure,
  translate,
} from './return-values.ts';

it.each<[number, string, ErrorCode]>([
  [0x030, 'CKR_DEVICE_ERROR', 'HSM_UNAVAILABLE'],
  [0x032, 'CKR_DEVICE_REMOVED', 'HSM_UNAVAILABLE'],
  [0x0e0, 'CKR_TOKEN_NOT_PRESENT', 'HSM_UNAVAILABLE'],
  [0x0b3, 'CKR_SESSION_HANDLE_INVALID', 'HSM_SESSION_VOID'],
  [0x101, 'CKR_USER_NOT_LOGGED_IN', 'HSM_SESSION_VOID'],
  [0x090, 'CKR_OPERATION_ACTIVE', 'HSM_SESSION_VOID'],
  [0x006, 'CKR_FUNCTION_FAILED', 'HSM_SESSION_VOID'],
  [0x082, 'CKR_OBJECT_HANDLE_INVALID', 'HSM_SESSION_VOID'],
  [0x031, 'CKR_DEVICE_MEMORY', 'HSM_FULL'],
  [0x0a0, 'CKR_PIN_INCORRECT', 'PIN_REFUSED'],
  [0x0a2, 'CKR_PIN_LEN_RANGE', 'PIN_REFUSED'],
  [0x0a3, 'CKR_PIN_EXPIRED', 'PIN_REFUSED'],
  [0x0a4, 'CKR_PIN_LOCKED', 'PIN_LOCKED'],
  [0x005, 'CKR_GENERAL_ERROR', 'HSM_SESSION_VOID'],
  [0x06a, 'CKR_KEY_UNEXTRACTABLE', 'HSM_REFUSED'],
  [0x0d1, 'CKR_TEMPLATE_INCONSISTENT', 'HSM_REFUSED'],
  [0x8000_0002, 'CKR_0x80000002', 'HSM_SESSION_VOID'],
])('makes %i, %s, a %s', (returnValue, name, code) => {
  expect(returnValueName(returnValue)).toBe(name);
  const failure = new CryptokiFailure('C_Login', returnValue);
  expect(translate(failure)).toMatchObject({ code, details: { call: 'C_Login', returnValue: name }, cause: failure });
});

it('never has a PIN that was refused tried again', () => {
  for (const name of ['CKR_PIN_INCORRECT', 'CKR_PIN_INVALID', 'CKR_PIN_LOCKED', 'CKR_PIN_EXPIRED'])
    expect(new AntipodeError(codeOf(name), 'refused').disposition).toBe('operator');
});

it('starts the worker again for no value that refuses what was asked', () => {
  const all = Array.from({ length: 0x204 }, (_, returnValue) => returnValueName(returnValue));
  const refused = all.filter((name) => codeOf(name) === 'HSM_REFUSED');
  expect(refused.filter((name) => blameOf(name) !== 'object').sort()).toEqual([
    'CKR_CANT_LOCK',
    'CKR_NEED_TO_CREATE_THREADS',
    'CKR_SESSION_PARALLEL_NOT_SUPPORTED',
    'CKR_TOKEN_WRITE_PROTECTED',
  ]);
  // Where the object may be at fault, or nobody knows, the session is asked.
  expect(all.filter((name) => codeOf(name) === 'HSM_SESSION_VOID' && blameOf(name) === 'object')).toEqual([]);
});

it('says that an HSM is not ready, and not that a session is void, where there is none yet', () => {
  const failure = new SessionFailure('C_OpenSession', 0x0b1);
  expect(translate(failure).code).toBe('HSM_SESSION_VOID');
  expect(translate(failure, { isOpening: true }).code).toBe('HSM_UNAVAILABLE');
});

it('never takes a failure of the session for a refusal of the object', () => {
  const failure = new SessionFailure('C_Sign', 0x0b3);
  expect(() => returnValueOf(failure)).toThrow(failure);
});

it('passes an error of the catalogue through, and makes a defect of anything else', () => {
  const error = new AntipodeError('MECHANISM_MISSING', 'no');
  expect(translate(error)).toBe(error);
  expect(translate(new TypeError('x')).code).toBe('INVARIANT_BROKEN');
});

it('looks into refused calls only, and throws anything else on', () => {
  expect(returnValueOf(new CryptokiFailure('C_WrapKey', 0x06a))).toBe('CKR_KEY_UNEXTRACTABLE');
  const other = new TypeError('x');
  expect(() => returnValueOf(other)).toThrow(other);
});
