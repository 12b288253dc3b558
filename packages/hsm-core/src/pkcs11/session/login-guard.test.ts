import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CKF_SO_PIN_FINAL_TRY,
  CKF_TOKEN_INITIALIZED,
  CKF_USER_PIN_COUNT_LOW,
  CKF_USER_PIN_FINAL_TRY,
  CKF_USER_PIN_LOCKED,
} from '@antipode/cryptoki';
import { Secret } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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

it('records the attempt before it is made, and only that it succeeded after it did', () => {
  const before = guard();
  before.begin(pin(), FLAGS);
  expect(Object.keys(JSON.parse(record()))).toEqual(['trying']);
  before.succeeded(pin());
  expect(Object.keys(JSON.parse(record()))).toEqual(['succeeded']);
  guard().begin(pin(), FLAGS);
});

it('records no more of a PIN after many logins than after one', () => {
  const marks = new Set<string>();
  for (let start = 0; start < 3; start += 1) {
    const [here, secret] = [guard(), pin()];
    here.begin(secret, FLAGS);
    marks.add(JSON.stringify(JSON.parse(record()).trying));
    here.succeeded(secret);
    marks.add(JSON.stringify(JSON.parse(record()).succeeded));
  }
  expect(marks.size).toBe(1);
});

describe('the PIN that succeeded last', () => {
  const OTHERS = FLAGS | CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY;
  beforeEach(() => {
    guard().begin(pin(), FLAGS);
    guard().succeeded(pin());
  });

  it('is tried although other programs have left one attempt, and each time that it succeeds', () => {
    for (let start = 0; start < 3; start += 1) {
      guard().begin(pin(), OTHERS);
      guard().succeeded(pin());
    }
  });

  it('makes no other PIN good', () => {
    expect(thrown(() => guard().begin(pin('87654321'), OTHERS)).code).toBe('PIN_LOCKED');
    guard().begin(pin(), OTHERS);
  });

  it('is not good any more once the token has refused it, and is never tried again', () => {
    guard().begin(pin(), FLAGS);
    guard().refused(pin());
    for (const flags of [FLAGS, OTHERS]) expect(thrown(() => guard().begin(pin(), flags)).code).toBe('PIN_REFUSED');
  });

  it('stays good when another PIN is refused', () => {
    guard().begin(pin('87654321'), FLAGS);
    guard().refused(pin('87654321'));
    guard().begin(pin(), OTHERS);
  });

  it('may be repeated after an attempt that was lost, until one attempt is left: then not before the token is cleared', () => {
    guard().begin(pin(), FLAGS);
    guard().begin(pin(), FLAGS | CKF_USER_PIN_COUNT_LOW);
    expect(thrown(() => guard().begin(pin(), OTHERS))).toMatchObject({
      code: 'PIN_LOCKED',
      hint: expect.stringContaining('another program'),
    });
    guard().begin(pin(), FLAGS);
  });
});

it.each(['../../escaped', 'a/b', '../..', 'a.b', 'x'.repeat(80), 'Seriennummer ä'])(
  'keeps the record of serial "%s" in its folder, under a name of its own',
  (serial) => {
    guard(serial).begin(pin(), FLAGS);
    guard(serial).refused(pin());
    expect(thrown(() => guard(serial).begin(pin(), FLAGS)).code).toBe('PIN_REFUSED');
    guard(`${serial}/`).begin(pin(), FLAGS);
    const files = readdirSync(stateFolder);
    expect(files).toHaveLength(2);
    for (const file of files) expect(file).toMatch(/^login-sha256-[0-9a-f]{64}\.json$/);
  },
);

it.each([
  ['refused', 'PIN_REFUSED'],
  ['trying', undefined],
])('understands the record of an older program: %s', (outcome, code) => {
  const first = guard();
  first.begin(pin(), FLAGS);
  const { salt, mark } = (JSON.parse(record()) as { trying: { salt: string; mark: string } }).trying;
  writeFileSync(join(stateFolder, 'login-abc.json'), JSON.stringify({ outcome, salt, mark }));
  if (code === undefined) guard().begin(pin(), FLAGS);
  else expect(thrown(() => guard().begin(pin(), FLAGS)).code).toBe(code);
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
    expect(Object.keys(JSON.parse(record()))).toEqual(['trying']);
  });

  it('counts for its own token only', () => {
    guard('def').begin(pin(), FLAGS);
  });
});

describe('an attempt whose outcome nobody saw', () => {
  beforeEach(() => guard().begin(pin(), FLAGS));

  it('is not repeated while the token says that a wrong PIN was entered, and is when somebody has cleared that', () => {
    for (let start = 0; start < 2; start += 1)
      expect(thrown(() => guard().begin(pin(), FLAGS | CKF_USER_PIN_COUNT_LOW))).toMatchObject({
        code: 'PIN_REFUSED',
        details,
        hint: expect.stringContaining('another program'),
      });
    guard().begin(pin(), FLAGS);
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

it('keeps too little of a PIN to find it by: 16 bits, with a new salt each time, for the owner only', () => {
  const marks = Array.from({ length: 2 }, () => {
    guard().begin(pin(), FLAGS);
    return (JSON.parse(record()) as { trying: { salt: string; mark: string } }).trying;
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

describe('a role whose last wrong PIN erases the device', () => {
  const strict = (): LoginGuard =>
    new LoginGuard({ stateFolder, serial: 'abc', whose: 'security officer', spentMax: 2 });
  const refuse = (text: string): void => {
    strict().begin(pin(text), FLAGS);
    strict().refused(pin(text));
  };

  it('is not tried a third time, whatever the PIN, by no process', () => {
    refuse('11111111');
    refuse('22222222');
    for (let start = 0; start < 2; start += 1)
      expect(thrown(() => strict().begin(pin('33333333'), FLAGS)).code).toBe('PIN_LOCKED');
  });

  it('counts an attempt whose outcome nobody saw', () => {
    refuse('11111111');
    strict().begin(pin('22222222'), FLAGS);
    expect(thrown(() => strict().begin(pin('33333333'), FLAGS)).code).toBe('PIN_LOCKED');
  });

  it('is not tried at the last attempt, not even with the PIN that succeeded last: it can have been changed', () => {
    strict().begin(pin(), FLAGS);
    strict().succeeded(pin());
    expect(thrown(() => strict().begin(pin(), FLAGS | CKF_SO_PIN_FINAL_TRY)).code).toBe('PIN_LOCKED');
    strict().begin(pin(), FLAGS | CKF_USER_PIN_FINAL_TRY);
  });

  it('counts from the beginning after a success', () => {
    refuse('11111111');
    strict().begin(pin(), FLAGS);
    strict().succeeded(pin());
    refuse('22222222');
    strict().begin(pin('33333333'), FLAGS);
  });

  it('counts no attempt that the token did not look at', () => {
    refuse('11111111');
    for (let start = 0; start < 3; start += 1) {
      const guard = strict();
      guard.begin(pin(), FLAGS);
      guard.withdrawn();
    }
    strict().begin(pin(), FLAGS);
  });
});
