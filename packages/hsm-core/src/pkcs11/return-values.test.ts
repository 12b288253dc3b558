import { AntipodeError, type ErrorCode } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { CryptokiFailure, codeOf, returnValueName, returnValueOf, translate } from './return-values.ts';

it.each<[number, string, ErrorCode]>([
  [0x030, 'CKR_DEVICE_ERROR', 'HSM_UNAVAILABLE'],
  [0x032, 'CKR_DEVICE_REMOVED', 'HSM_UNAVAILABLE'],
  [0x0e0, 'CKR_TOKEN_NOT_PRESENT', 'HSM_UNAVAILABLE'],
  [0x0b3, 'CKR_SESSION_HANDLE_INVALID', 'HSM_UNAVAILABLE'],
  [0x101, 'CKR_USER_NOT_LOGGED_IN', 'HSM_UNAVAILABLE'],
  [0x031, 'CKR_DEVICE_MEMORY', 'HSM_FULL'],
  [0x0a0, 'CKR_PIN_INCORRECT', 'PIN_REFUSED'],
  [0x0a2, 'CKR_PIN_LEN_RANGE', 'PIN_REFUSED'],
  [0x0a3, 'CKR_PIN_EXPIRED', 'PIN_REFUSED'],
  [0x0a4, 'CKR_PIN_LOCKED', 'PIN_LOCKED'],
  [0x005, 'CKR_GENERAL_ERROR', 'HSM_REFUSED'],
  [0x06a, 'CKR_KEY_UNEXTRACTABLE', 'HSM_REFUSED'],
  [0x0d1, 'CKR_TEMPLATE_INCONSISTENT', 'HSM_REFUSED'],
  [0x8000_0002, 'CKR_0x80000002', 'HSM_REFUSED'],
])('makes %i, %s, a %s', (returnValue, name, code) => {
  expect(returnValueName(returnValue)).toBe(name);
  const failure = new CryptokiFailure('C_Login', returnValue);
  expect(translate(failure)).toMatchObject({ code, details: { call: 'C_Login', returnValue: name }, cause: failure });
});

it('never has a PIN that was refused tried again', () => {
  for (const name of ['CKR_PIN_INCORRECT', 'CKR_PIN_INVALID', 'CKR_PIN_LOCKED', 'CKR_PIN_EXPIRED'])
    expect(new AntipodeError(codeOf(name), 'refused').disposition).toBe('operator');
});

it('repeats only what says "not now"', () => {
  const retried = Array.from({ length: 0x200 }, (_, returnValue) => returnValueName(returnValue)).filter(
    (name) => new AntipodeError(codeOf(name), 'x').disposition === 'retry',
  );
  expect(retried.sort()).toEqual([
    'CKR_CRYPTOKI_NOT_INITIALIZED',
    'CKR_DEVICE_ERROR',
    'CKR_DEVICE_REMOVED',
    'CKR_HOST_MEMORY',
    'CKR_SESSION_CLOSED',
    'CKR_SESSION_COUNT',
    'CKR_SESSION_HANDLE_INVALID',
    'CKR_TOKEN_NOT_PRESENT',
    'CKR_USER_NOT_LOGGED_IN',
  ]);
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
