import { seededPrng } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import { endOf, TokenKey } from './token-key.ts';

/** Of a token that softhsm2-util 2.6.1 has made, with the officer's PIN 12345678 and the user's PIN 1234. */
const FOR_OFFICER =
  'd883d5ab3b9d7d32ef05e106254c69bc647dc5b198f718eb5628a5509c522bca89de2914a47d44a6518a44ec537d0d6f204ae3aebd6134ced0e1366ceadd082c320e1457fd829356';
const FOR_USER =
  'e94a1d1e803f82d0fffab1d18b19ba228c94fcdd7ec31130b7250a8f9eeeb82e39ad2d8a69c8e877e2122556555da207414c984c988a5f287d8eab18297f9ee2a5872cc20ffce414';
/** CKA_ID of a private key in that token, 01. */
const ID = 'fd56af7b7007385b21f79225a8ce620079b7f01b750913d8cd949469f360711e';

const open = (wrapped: string, pin: string) => TokenKey.open(Buffer.from(wrapped, 'hex'), Buffer.from(pin));

describe('a token key', () => {
  it('opens with either PIN, and decrypts what SoftHSM has encrypted', () => {
    const [officer, user] = [open(FOR_OFFICER, '12345678')!, open(FOR_USER, '1234')!];
    expect(officer.domain()).toEqual(user.domain());
    expect(user.decrypt(Buffer.from(ID, 'hex'))).toEqual(Buffer.of(1));
  });

  it('does not open with another PIN, or from damaged bytes', () => {
    expect(open(FOR_USER, '1235')).toBeUndefined();
    expect(open(FOR_USER, '12345678')).toBeUndefined();
    for (let cut = 0; cut < FOR_USER.length; cut += 2)
      expect([cut, open(FOR_USER.slice(0, cut), '1234')]).toEqual([cut, undefined]);
  });

  it('is wrapped for another PIN so that this one opens it, each time in other bytes', () => {
    const key = open(FOR_USER, '1234')!;
    const [one, two] = [key.wrapFor(Buffer.from('98765432')), key.wrapFor(Buffer.from('98765432'))];
    expect(one).toHaveLength(72);
    expect(one.equals(two)).toBe(false);
    expect(TokenKey.open(one, Buffer.from('98765432'))!.domain()).toEqual(key.domain());
    expect(TokenKey.open(one, Buffer.from('1234'))).toBeUndefined();
  });

  it('names its domain by bytes from which the key does not follow', () => {
    const key = open(FOR_USER, '1234')!;
    expect(key.domain()).toHaveLength(32);
    key.expose((bytes) => expect(Buffer.from(key.domain()).equals(bytes)).toBe(false));
    expect(new TokenKey(Buffer.alloc(32, 1)).domain()).not.toEqual(new TokenKey(Buffer.alloc(32, 2)).domain());
  });

  it('decrypts many strings at once as it decrypts each, and says of which it has not encrypted them', () => {
    const [key, other] = [new TokenKey(Buffer.alloc(32, 1)), new TokenKey(Buffer.alloc(32, 2))];
    const prng = seededPrng('byte strings of objects');
    for (let round = 0; round < 300; round += 1) {
      const strings = Array.from({ length: Math.floor(prng.fraction() * 9) }, () => {
        const plain = prng.bytes(Math.floor(prng.fraction() * 70));
        const kind = Math.floor(prng.fraction() * 5);
        const bytes = kind === 0 ? Buffer.from(plain) : (kind === 1 ? other : key).encrypt(plain);
        if (kind === 2) bytes[Math.floor(prng.fraction() * bytes.length)]! ^= 1;
        return bytes;
      });
      const { plain, wipe } = key.decryptAll(strings);
      expect(plain).toEqual(strings.map((one) => key.decrypt(one)));
      const wiped = plain.map((one) => one && Buffer.alloc(one.length));
      wipe();
      expect(plain).toEqual(wiped);
      // The end of a string says as much of the key, and next to nothing of what it has encrypted.
      const ends = key.decryptAll(strings.map(endOf)).plain;
      expect(ends.map((one) => one === undefined)).toEqual(strings.map((one) => key.decrypt(one) === undefined));
      expect(ends.every((one) => (one?.length ?? 0) < 16)).toBe(true);
    }
  });

  it('is wiped', () => {
    const key = open(FOR_USER, '1234')!;
    key.wipe();
    key.expose((bytes) => expect(bytes).toEqual(Buffer.alloc(32)));
  });
});
