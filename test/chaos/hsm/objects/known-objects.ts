/**
 * Objects whose values the test knows, since software made them: what each must give when it is used is computed here, and
 * a token is asked for the same by `token-reader.ts`. Nothing of ours has a part in either.
 */
import {
  type BinaryLike,
  createCipheriv,
  createHash,
  createHmac,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { CKA, CKK, CKO, type Template } from '@antipode/cryptoki';
import { ecPoint } from './ec-point.ts';

export const [APPLICATION, LABEL, ID] = [0x010, 0x003, 0x102];
export const [PRIVATE, SENSITIVE, EXTRACTABLE] = [0x002, 0x103, 0x162];
export const [ENCRYPT, DECRYPT, WRAP, UNWRAP] = [0x104, 0x105, 0x106, 0x107];
export const [SIGN, SIGN_RECOVER, VERIFY, VERIFY_RECOVER, DERIVE] = [0x108, 0x109, 0x10a, 0x10b, 0x10c];

/** The input for every key. */
export const BLOCK = Buffer.from('antipode kill test: forty-eight bytes to be used');
/** A secret that keys wrap. */
export const WRAPPED = Buffer.alloc(32, 0x5a);
const RFC5649_IV = Buffer.from('a65959a6', 'hex');

export const digest = (value: BinaryLike): string => createHash('sha256').update(value).digest('hex').slice(0, 24);

/** An object to be put into a token under a name of the test's choice. */
export interface KnownObject {
  /** The result of using it, or of reading it if it is public. */
  readonly fingerprint: string;
  readonly template: Template;
  /** To know signatures by, which are never twice the same with ECDSA. */
  readonly publicKey?: KeyObject;
}

const flags = (off: readonly number[], on: readonly number[]): Template => [
  ...off.map((flag) => [flag, false] as const),
  ...on.map((flag) => [flag, true] as const),
];

export function aesKey({
  use = 'encrypt',
  value = randomBytes(32),
}: {
  use?: 'encrypt' | 'wrap';
  value?: Buffer;
} = {}): KnownObject {
  const uses = use === 'encrypt' ? [ENCRYPT, DECRYPT] : [WRAP, UNWRAP];
  const off = [ENCRYPT, DECRYPT, WRAP, UNWRAP, SIGN, VERIFY, DERIVE].filter((flag) => !uses.includes(flag));
  const cipher =
    use === 'encrypt'
      ? createCipheriv('aes-256-ecb', value, null).setAutoPadding(false).update(BLOCK)
      : createCipheriv('id-aes256-wrap-pad', value, RFC5649_IV).update(WRAPPED);
  return {
    fingerprint: `${use} ${digest(cipher)}`,
    template: [...secret(CKO.SECRET_KEY, CKK.AES), [CKA.VALUE, value], ...flags(off, uses)],
  };
}

/** A length above a block of SHA-256, so that zeros behind the value would change the MAC. */
export function hmacKey(bytes = 32): KnownObject {
  const value = randomBytes(bytes);
  return {
    fingerprint: `mac ${digest(createHmac('sha256', value).update(BLOCK).digest())}`,
    template: [
      ...secret(CKO.SECRET_KEY, CKK.GENERIC_SECRET),
      [CKA.VALUE, value],
      ...flags([ENCRYPT, DECRYPT, WRAP, UNWRAP, DERIVE], [SIGN, VERIFY]),
    ],
  };
}

const CURVES = {
  'P-256': { params: Buffer.from('06082a8648ce3d030107', 'hex') },
  'P-384': { params: Buffer.from('06052b81040022', 'hex') },
} as const;

/** A pair that signs, or a private key alone that agrees. */
export function ecPair(curve: keyof typeof CURVES, use: 'sign' | 'derive' = 'sign'): Pair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: curve });
  const { d, x = '', y = '' } = privateKey.export({ format: 'jwk' });
  const { params } = CURVES[curve];
  const point = ecPoint(Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url'));
  const uses = use === 'sign' ? [SIGN] : [DERIVE];
  return {
    privateKey: {
      fingerprint: use === 'sign' ? `ecdsa ${digest(spki(publicKey))}` : `ecdh ${digest(Buffer.from(x, 'base64url'))}`,
      publicKey,
      template: [
        ...secret(CKO.PRIVATE_KEY, CKK.EC),
        [CKA.EC_PARAMS, params],
        [CKA.VALUE, bytes(d)],
        ...flags(
          [DECRYPT, UNWRAP, SIGN_RECOVER, SIGN, DERIVE].filter((flag) => !uses.includes(flag)),
          uses,
        ),
      ],
    },
    publicKey: {
      fingerprint: `public ${digest(point)}`,
      template: [
        [CKA.CLASS, CKO.PUBLIC_KEY],
        [CKA.KEY_TYPE, CKK.EC],
        [CKA.TOKEN, true],
        [CKA.EC_PARAMS, params],
        [CKA.EC_POINT, point],
        ...PUBLIC_USE,
      ],
    },
  };
}

export interface Pair {
  readonly privateKey: KnownObject;
  readonly publicKey: KnownObject;
}

export function rsaPair(): Pair {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = privateKey.export({ format: 'jwk' });
  const names: readonly (readonly [number, keyof JsonWebKey])[] = [
    [0x123, 'd'],
    [0x124, 'p'],
    [0x125, 'q'],
    [0x126, 'dp'],
    [0x127, 'dq'],
    [0x128, 'qi'],
  ];
  const shared: Template = [
    [CKA.MODULUS, bytes(jwk.n)],
    [CKA.PUBLIC_EXPONENT, bytes(jwk.e)],
  ];
  return {
    privateKey: {
      fingerprint: `rsa ${digest(sign('sha256', BLOCK, privateKey))}`,
      publicKey,
      template: [
        ...secret(CKO.PRIVATE_KEY, CKK.RSA),
        ...shared,
        ...names.map(([type, name]) => [type, bytes(jwk[name])] as const),
        ...flags([DECRYPT, UNWRAP, SIGN_RECOVER, DERIVE], [SIGN]),
      ],
    },
    publicKey: {
      fingerprint: `public ${digest(bytes(jwk.n))}`,
      template: [[CKA.CLASS, CKO.PUBLIC_KEY], [CKA.KEY_TYPE, CKK.RSA], [CKA.TOKEN, true], ...shared, ...PUBLIC_USE],
    },
  };
}

export function dataObject(): KnownObject {
  const value = randomBytes(40);
  return {
    fingerprint: `data ${digest(value)}`,
    template: [
      [CKA.CLASS, CKO.DATA],
      [CKA.TOKEN, true],
      [PRIVATE, true],
      [CKA.VALUE, value],
      [APPLICATION, Buffer.from('kill test')],
    ],
  };
}

/** No token of ours looks into a certificate: any bytes serve for its value. */
export function certificate(): KnownObject {
  const value = randomBytes(300);
  return {
    fingerprint: `certificate ${digest(value)}`,
    template: [
      [CKA.CLASS, CKO.CERTIFICATE],
      [0x080, 0],
      [CKA.TOKEN, true],
      [PRIVATE, false],
      [0x101, Buffer.from('subject')],
      [CKA.VALUE, value],
    ],
  };
}

const PUBLIC_USE: Template = flags([PRIVATE, ENCRYPT, WRAP, VERIFY_RECOVER, DERIVE], [VERIFY]);

const secret = (objectClass: number, keyType: number): Template => [
  [CKA.CLASS, objectClass],
  [CKA.KEY_TYPE, keyType],
  [CKA.TOKEN, true],
  ...flags([], [PRIVATE, SENSITIVE, EXTRACTABLE]),
];

const bytes = (text: unknown): Buffer => Buffer.from(String(text), 'base64url');
export const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
