import { createCipheriv, createECDH } from 'node:crypto';
import { CKA, CKM, type Cryptoki, CryptokiFailure, type Mechanism, type Template } from '@antipode/cryptoki';
import { partialCryptoki } from '@antipode/cryptoki/testing';
import { AntipodeError } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { CURVES } from '../../model/curve.ts';
import { OCTET_STRING, tagged } from '../../model/der.ts';
import { derivedBy, KDFS, type Kdf } from '../../model/kdf.ts';
import { findMechanisms, lacksOf, namingLacks } from './mechanisms.ts';

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

const P256 = CURVES[0]!;
const RAW_BYTES = 65;

interface Agrees {
  readonly kdfs?: readonly Kdf[];
  readonly pointEncoding?: 'raw' | 'der';
  /** The key that the token derives instead of the one that the function makes. */
  readonly instead?: (key: Uint8Array) => Uint8Array;
}

function token(wraps: Wraps, { kdfs = ['null'], pointEncoding = 'raw', instead = (key) => key }: Agrees = {}) {
  const objects = new Map<bigint, Uint8Array>();
  const points = new Map<bigint, Uint8Array>();
  let made = 0n;
  const keep = (value: Uint8Array, template: Template): bigint => {
    expect(template.find(([type]) => type === CKA.TOKEN)?.[1]).toBe(false);
    objects.set(++made, value);
    return made;
  };
  const cryptoki: Partial<Cryptoki> = {
    generateKeyPair: (_session, _mechanism, publicTemplate, privateTemplate) => {
      const ours = createECDH('prime256v1');
      const point = ours.generateKeys();
      const pair = { publicKey: keep(point, publicTemplate), privateKey: keep(ours.getPrivateKey(), privateTemplate) };
      points.set(pair.publicKey, tagged(OCTET_STRING, point));
      return pair;
    },
    attributes: (_session, object) => new Map([[CKA.EC_POINT, Buffer.from(points.get(object)!)]]),
    deriveKey: (_session, { parameter, keep: [given = new Uint8Array()] = [] }, key, template) => {
      const kdf = kdfs.find((one) => KDF_NUMBERS[one] === Number(Buffer.from(parameter!).readBigUInt64LE()));
      if (kdf === undefined || (given.length === RAW_BYTES) !== (pointEncoding === 'raw'))
        throw new CryptokiFailure('C_DeriveKey', 'CKR_MECHANISM_PARAM_INVALID');
      const ours = createECDH('prime256v1');
      ours.setPrivateKey(Buffer.from(objects.get(key)!));
      const secret = ours.computeSecret(given.subarray(-RAW_BYTES));
      return keep(instead(derivedBy(kdf, secret, P256.fieldBytes)), template);
    },
    wrapKey: (_session: bigint, { type }: Mechanism, wrapping: bigint, key: bigint) => {
      const wrap = wraps[type];
      if (wrap === undefined) throw new CryptokiFailure('C_WrapKey', MECHANISM_INVALID);
      return wrap(objects.get(wrapping)!, objects.get(key)!);
    },
    destroy: (_session: bigint, handle: bigint) => objects.delete(handle),
  };
  return { objects, calls: cryptoki, context: { cryptoki: partialCryptoki(cryptoki), session: 1n } };
}

const KDF_NUMBERS: Readonly<Record<Kdf, number>> = { null: 1, sha1: 2, sha224: 5, sha256: 6, sha384: 7, sha512: 8 };

describe('the number of RFC 5649 is found', () => {
  it.each<[string, Wraps, number]>([
    ['at a token that follows the standard', { [CKM.AES_KEY_WRAP_KWP]: kwp }, CKM.AES_KEY_WRAP_KWP],
    ['at SoftHSM, which uses another number', { [CKM.AES_KEY_WRAP_PAD]: kwp }, CKM.AES_KEY_WRAP_PAD],
    [
      'at AWS CloudHSM, which has a number of its own',
      { [CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD]: kwp },
      CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD,
    ],
    [
      'at NSS, which means another format by that one',
      { [CKM.AES_KEY_WRAP_PAD]: padded, [CKM.AES_KEY_WRAP_KWP]: kwp },
      CKM.AES_KEY_WRAP_KWP,
    ],
  ])('%s', (_where, wraps, expected) => {
    const { objects, context } = token(wraps);
    expect(findMechanisms(context).keyWrap.type).toBe(expected);
    expect(objects.size).toBe(0);
  });
});

it.each<[string, Wraps]>([
  ['knows neither number', {}],
  ['means another format by both', { [CKM.AES_KEY_WRAP_PAD]: padded, [CKM.AES_KEY_WRAP_KWP]: padded }],
])('throws MECHANISM_MISSING where a token %s, and leaves no key behind', (_how, wraps) => {
  const { objects, context } = token(wraps);
  expect(thrown(() => findMechanisms(context))).toMatchObject({
    code: 'MECHANISM_MISSING',
    details: { mechanism: 'RFC 5649' },
  });
  expect(objects.size).toBe(0);
});

describe('the way in which a token agrees is found', () => {
  const wraps = { [CKM.AES_KEY_WRAP_KWP]: kwp };

  it.each<[string, Agrees]>([
    ['that derives by no function', { kdfs: ['null'] }],
    ['that derives by X9.63 only', { kdfs: ['sha256', 'sha1'] }],
    ['that offers everything', { kdfs: KDFS }],
    ['that wants points as OCTET STRINGs', { pointEncoding: 'der' }],
  ])('at a token %s', (_how, agrees) => {
    const { objects, context } = token(wraps, agrees);
    const { kdfs = ['null'], pointEncoding = 'raw' } = agrees;
    expect(findMechanisms(context).agreement).toEqual({ kdfs, pointEncoding });
    expect(objects.size).toBe(0);
  });

  it('as the configuration has it, and not by trying others', () => {
    const vendor = 0x8000_0001;
    const { context } = token({ [vendor]: kwp, ...wraps }, { kdfs: KDFS });
    expect(findMechanisms(context, { kdf: 'sha384', keyWrapMechanism: vendor })).toEqual({
      keyWrap: { type: vendor },
      agreement: { kdfs: ['sha384'], pointEncoding: 'raw' },
    });
    expect(thrown(() => findMechanisms(context, { pointEncoding: 'der' })).code).toBe('MECHANISM_MISSING');
    expect(thrown(() => findMechanisms(context, { keyWrapMechanism: vendor + 1 })).code).toBe('MECHANISM_MISSING');
  });

  it('not where the token derives something else than the function gives', () => {
    const { context } = token(wraps, { instead: (key) => key.map((byte) => byte ^ 1) });
    expect(thrown(() => findMechanisms(context)).code).toBe('MECHANISM_MISSING');
  });

  it('not where the token has no function at all: the error names the agreement', () => {
    const { context, objects } = token(wraps, { kdfs: [] });
    expect(thrown(() => findMechanisms(context)).details).toMatchObject({ mechanism: 'ECDH' });
    expect(objects.size).toBe(0);
  });
});

describe('a token that cannot be used', () => {
  /** One that does RFC 5649, and what else is named. */
  function partial(does: readonly ('aes' | 'pair' | 'sign' | 'derive')[], wraps: Wraps = {}) {
    const { objects, calls } = token(wraps);
    const unless = <Call extends (...args: never[]) => unknown>(what: (typeof does)[number], call: Call): Call =>
      ((...args: never[]) => {
        if (!does.includes(what)) throw new CryptokiFailure('C_Test', MECHANISM_INVALID);
        return call(...args);
      }) as Call;
    const more: Partial<Cryptoki> = {
      generateKey: unless('aes', () => {
        objects.set(1_000n, new Uint8Array(32));
        return 1_000n;
      }),
      generateKeyPair: unless('pair', calls.generateKeyPair!),
      sign: unless('sign', () => Buffer.alloc(64)),
      deriveKey: unless('derive', calls.deriveKey!),
    };
    return { objects, context: { cryptoki: partialCryptoki({ ...calls, ...more }), session: 1n } };
  }

  it('is reported with everything that it lacks, and no key is left behind', () => {
    const { objects, context } = partial(['aes', 'pair', 'derive']);
    const error = namingLacks(new AntipodeError('HSM_REFUSED', 'first'), context);
    expect(error.code).toBe('MECHANISM_MISSING');
    expect(error.message).toMatch(/RFC 5649.*; ECDSA on P-256/);
    expect(error.message).not.toContain('ECDH');
    expect(objects.size).toBe(0);
    expect(lacksOf(partial([]).context)).toHaveLength(5);
  });

  it('is reported without an agreement, and with the wrapping that it can do', () => {
    const does = ['aes', 'pair', 'sign'] as const;
    expect(lacksOf(partial(does, { [CKM.AES_KEY_WRAP_PAD]: kwp }).context)).toEqual([expect.stringContaining('ECDH')]);
    expect(lacksOf(partial(does).context)).toEqual([
      expect.stringContaining('RFC 5649'),
      expect.stringContaining('ECDH'),
    ]);
  });

  it('keeps its own error where it lacks nothing, and where it is about something else', () => {
    const refused = new AntipodeError('HSM_REFUSED', 'a policy');
    const { context } = partial(['aes', 'pair', 'sign', 'derive'], { [CKM.AES_KEY_WRAP_KWP]: kwp });
    expect(namingLacks(refused, context)).toBe(refused);
    const locked = new AntipodeError('PIN_LOCKED', 'locked');
    expect(namingLacks(locked, partial([]).context)).toBe(locked);
  });
});
