import { createCipheriv } from 'node:crypto';
import { CKA, CKM, type Cryptoki, CryptokiFailure, type Mechanism, type Template } from '@antipode/cryptoki';
import { partialCryptoki } from '@antipode/cryptoki/testing';
import { AntipodeError } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { findKeyWrapMechanism, lacksOf, namingLacks } from './mechanisms.ts';

const MECHANISM_INVALID = 0x070;

/** The answer of a token under each mechanism number; it knows no other. */
type Wraps = Readonly<Record<number, (key: Uint8Array, secret: Uint8Array) => Buffer>>;

const kwp = (key: Uint8Array, secret: Uint8Array): Buffer => {
  const cipher = createCipheriv('id-aes256-wrap-pad', key, Buffer.from('a65959a6', 'hex'));
  return Buffer.concat([cipher.update(secret), cipher.final()]);
};
/** RFC 3394 over PKCS#7 padding: what NSS means by the number that SoftHSM gives to RFC 5649. */
const padded = (key: Uint8Array, secret: Uint8Array): Buffer => {
  const cipher = createCipheriv('id-aes256-wrap', key, Buffer.alloc(8, 0xa6));
  return Buffer.concat([cipher.update(Buffer.concat([secret, Buffer.alloc(8, 8)])), cipher.final()]);
};

function token(wraps: Wraps) {
  const objects = new Map<bigint, Uint8Array>();
  let made = 0n;
  const cryptoki: Partial<Cryptoki> = {
    create: (_session: bigint, template: Template) => {
      expect(template.find(([type]) => type === CKA.TOKEN)?.[1]).toBe(false);
      objects.set(++made, template.find(([type]) => type === CKA.VALUE)?.[1] as Uint8Array);
      return made;
    },
    wrapKey: (_session: bigint, { type }: Mechanism, wrapping: bigint, key: bigint) => {
      const wrap = wraps[type];
      if (wrap === undefined) throw new CryptokiFailure('C_WrapKey', MECHANISM_INVALID);
      return wrap(objects.get(wrapping)!, objects.get(key)!);
    },
    destroy: (_session: bigint, handle: bigint) => objects.delete(handle),
  };
  return { objects, calls: cryptoki, cryptoki: partialCryptoki(cryptoki) };
}

describe('the number of RFC 5649 is found', () => {
  it.each<[string, Wraps, number]>([
    ['at a token that follows the standard', { [CKM.AES_KEY_WRAP_KWP]: kwp }, CKM.AES_KEY_WRAP_KWP],
    ['at SoftHSM, which uses another number', { [CKM.AES_KEY_WRAP_PAD]: kwp }, CKM.AES_KEY_WRAP_PAD],
    [
      'at NSS, which means another format by that one',
      { [CKM.AES_KEY_WRAP_PAD]: padded, [CKM.AES_KEY_WRAP_KWP]: kwp },
      CKM.AES_KEY_WRAP_KWP,
    ],
  ])('%s', (_where, wraps, expected) => {
    const { objects, cryptoki } = token(wraps);
    expect(findKeyWrapMechanism(cryptoki, 1n)).toBe(expected);
    expect(objects.size).toBe(0);
  });
});

it.each<[string, Wraps]>([
  ['knows neither number', {}],
  ['means another format by both', { [CKM.AES_KEY_WRAP_PAD]: padded, [CKM.AES_KEY_WRAP_KWP]: padded }],
])('throws MECHANISM_MISSING where a token %s, and leaves no key behind', (_how, wraps) => {
  const { objects, cryptoki } = token(wraps);
  expect(thrown(() => findKeyWrapMechanism(cryptoki, 1n)).code).toBe('MECHANISM_MISSING');
  expect(objects.size).toBe(0);
});

describe('a token that cannot be used', () => {
  /** One that does RFC 5649, and what else is named. */
  function partial(does: readonly ('aes' | 'pair' | 'sign' | 'derive')[], wraps: Wraps = {}) {
    const { objects, calls } = token(wraps);
    let last = 1_000n;
    const unless =
      <T>(what: (typeof does)[number], value: () => T) =>
      () => {
        if (!does.includes(what)) throw new CryptokiFailure('C_Test', MECHANISM_INVALID);
        return value();
      };
    const handle = (): bigint => {
      last += 1n;
      objects.set(last, new Uint8Array());
      return last;
    };
    const more = {
      generateKey: unless('aes', handle),
      generateKeyPair: unless('pair', () => ({ publicKey: handle(), privateKey: handle() })),
      sign: unless('sign', () => Buffer.alloc(64)),
      deriveKey: unless('derive', handle),
    };
    return { objects, cryptoki: partialCryptoki({ ...calls, ...more }) };
  }

  it('is reported with everything that it lacks, and no key is left behind', () => {
    const { objects, cryptoki } = partial(['aes', 'pair', 'derive']);
    const error = namingLacks(new AntipodeError('HSM_REFUSED', 'first'), cryptoki, 1n);
    expect(error.code).toBe('MECHANISM_MISSING');
    expect(error.message).toMatch(/RFC 5649.*; ECDSA on P-256/);
    expect(error.message).not.toContain('ECDH');
    expect(objects.size).toBe(0);
    expect(lacksOf(partial([]).cryptoki, 1n)).toHaveLength(5);
  });

  it('keeps its own error where it lacks nothing, and where it is about something else', () => {
    const refused = new AntipodeError('HSM_REFUSED', 'a policy');
    const { cryptoki } = partial(['aes', 'pair', 'sign', 'derive'], { [CKM.AES_KEY_WRAP_KWP]: kwp });
    expect(namingLacks(refused, cryptoki, 1n)).toBe(refused);
    const locked = new AntipodeError('PIN_LOCKED', 'locked');
    expect(namingLacks(locked, partial([]).cryptoki, 1n)).toBe(locked);
  });
});
