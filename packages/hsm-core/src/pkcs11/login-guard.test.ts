import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CKF_TOKEN_INITIALIZED,
  CKF_USER_PIN_COUNT_LOW,
  CKF_USER_PIN_FINAL_TRY,
  CKF_USER_PIN_LOCKED,
} from './constants.ts';
import { LoginGuard } from './login-guard.ts';

const FLAGS = CKF_TOKEN_INITIALIZED;
const pin = (text = '12345678'): Secret => new Secret(Buffer.from(text));

let stateFolder: string;

beforeEach(() => {
  stateFolder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-login-'));
});

afterEach(() => rmSync(stateFolder, { recursive: true }));

/** The guard as a process finds it that has just started. */
const guard = (serial = 'abc'): LoginGuard => new LoginGuard({ stateFolder, serial });
const record = (): string => readFileSync(join(stateFolder, 'login-abc.json'), 'utf8');
const details = { serial: 'abc' };

it('records the attempt before it is made, and forgets it when it succeeded', () => {
  const before = guard();
  before.begin(pin(), FLAGS);
  expect(JSON.parse(record())).toMatchObject({ outcome: 'trying' });
  before.succeeded();
  expect(readdirSync(stateFolder)).toEqual([]);
  guard().begin(pin(), FLAGS);
});

describe('a PIN that was refused', () => {
  beforeEach(() => {
    const first = guard();
    first.begin(pin(), FLAGS);
    first.refused(pin());
  });

  it('is not tried again, by no process, however often', () => {
    for (let start = 0; start < 2; start += 1)
      expect(thrown(() => guard().begin(pin(), FLAGS))).toMatchObject({ code: 'PIN_REFUSED', details });
  });

  it('is tried again when it is another', () => {
    guard().begin(pin('87654321'), FLAGS);
    expect(JSON.parse(record())).toMatchObject({ outcome: 'trying' });
  });

  it('counts for its own token only', () => {
    guard('def').begin(pin(), FLAGS);
  });
});

describe('an attempt whose outcome nobody saw', () => {
  beforeEach(() => guard().begin(pin(), FLAGS));

  it('counts as refused when the token says that a wrong PIN was entered, also when it forgets that later', () => {
    expect(thrown(() => guard().begin(pin(), FLAGS | CKF_USER_PIN_COUNT_LOW))).toMatchObject({
      code: 'PIN_REFUSED',
      details,
    });
    expect(thrown(() => guard().begin(pin(), FLAGS)).code).toBe('PIN_REFUSED');
  });

  it('may be repeated when the token says nothing', () => {
    guard().begin(pin(), FLAGS);
  });

  it('does not count against another PIN', () => {
    guard().begin(pin('87654321'), FLAGS | CKF_USER_PIN_COUNT_LOW);
  });
});

it.each([
  ['locked', CKF_USER_PIN_LOCKED],
  ['one wrong PIN from being locked', CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY],
])('tries nothing on a token that is %s, and records nothing', (_how, flags) => {
  expect(thrown(() => guard().begin(pin(), FLAGS | flags))).toMatchObject({ code: 'PIN_LOCKED', details });
  expect(readdirSync(stateFolder)).toEqual([]);
});

it('keeps too little of a PIN to find it by: 16 bits, salted anew each time, for the owner only', () => {
  const marks = Array.from({ length: 2 }, () => {
    guard().begin(pin(), FLAGS);
    return JSON.parse(record()) as { salt: string; mark: string };
  });
  for (const { salt, mark } of marks) expect([mark.length, salt.length]).toEqual([4, 32]);
  expect(new Set(marks.map(({ salt }) => salt)).size).toBe(2);
  expect(record()).not.toMatch(/12345678|3132333435363738|MTIzNDU2Nzg/);
  expect(statSync(join(stateFolder, 'login-abc.json')).mode & 0o777).toBe(0o600);
});

it('asks an operator rather than guess when its record cannot be read', () => {
  writeFileSync(join(stateFolder, 'login-abc.json'), '{"outcome":');
  expect(thrown(() => guard().begin(pin(), FLAGS)).code).toBe('FILE_UNWRITABLE');
});
