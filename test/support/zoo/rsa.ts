/** RSA pairs of the zoo, and halves of them. */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  publicEncrypt,
  verify,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { CKA, CKK, CKM, CKO, mechanism, type Template } from '@antipode/cryptoki';
import { flags } from '../../attacks/support/templates.ts';
import { bytesOf, DIGEST, jwkOf, MESSAGE, READ, shows } from './clients.ts';
import { privateOf, publicOf, type Specimen, type Use } from './specimen.ts';

const generateRsa = promisify(generateKeyPair);

export const rsaParts = (key: KeyObject, without: readonly number[] = []): Template => {
  const { n, e, d, p, q, dp, dq, qi } = jwkOf(key);
  const parts: Template = [
    [CKA.MODULUS, bytesOf(n)],
    [CKA.PUBLIC_EXPONENT, bytesOf(e)],
    [CKA.PRIVATE_EXPONENT, bytesOf(d)],
    [CKA.PRIME_1, bytesOf(p)],
    [CKA.PRIME_2, bytesOf(q)],
    [CKA.EXPONENT_1, bytesOf(dp)],
    [CKA.EXPONENT_2, bytesOf(dq)],
    [CKA.COEFFICIENT, bytesOf(qi)],
  ];
  return parts.filter(([type]) => !without.includes(type));
};

export const CRT = [CKA.PRIME_1, CKA.PRIME_2, CKA.EXPONENT_1, CKA.EXPONENT_2, CKA.COEFFICIENT];

const rsaKey = async (modulusLength = 2048, publicExponent = 65537): Promise<KeyObject> =>
  (await generateRsa('rsa', { modulusLength, publicExponent })).privateKey;

const rsaPublic = (key: KeyObject): Template => {
  const { n, e } = jwkOf(key);
  return [
    [CKA.MODULUS, bytesOf(n)],
    [CKA.PUBLIC_EXPONENT, bytesOf(e)],
  ];
};

const rsaSigns =
  (key: KeyObject): Use =>
  async ({ standby, find }) => {
    const signature = await standby.sign(mechanism(CKM.SHA256_RSA_PKCS), await find(CKO.PRIVATE_KEY), MESSAGE);
    return verify('sha256', MESSAGE, createPublicKey(key), signature);
  };

interface RsaOptions {
  readonly key?: () => KeyObject | Promise<KeyObject>;
  readonly without?: readonly number[];
  readonly isAlone?: true;
}

const rsa = (kind: string, { key = rsaKey, without = [], isAlone }: RsaOptions): Specimen => ({
  kind,
  usedBy: 'RSA signature, checked by `node:crypto`',
  async make({ source, names }) {
    const made = await key();
    await source.create(
      privateOf(CKK.RSA, ...rsaParts(made, without), ...names, ...flags({ sign: true, decrypt: true })),
    );
    if (!isAlone) await source.create(publicOf(CKK.RSA, ...rsaPublic(made), ...names, ...flags({ verify: true })));
    return rsaSigns(made);
  },
});

const rsaOnlyPublic = (kind: string, more: Template): Specimen => ({
  kind,
  usedBy: READ,
  async make({ source, names }) {
    const parts = rsaPublic(await rsaKey());
    await source.create(publicOf(CKK.RSA, ...parts, ...names, ...flags({ verify: true }), ...more));
    return shows(CKO.PUBLIC_KEY, parts);
  },
});

/** OpenSSL needs a quarter of a minute for it. */
const RSA_8192 = new URL('./rsa-8192.pem', import.meta.url);

const decrypting: Specimen = {
  kind: 'RSA-2048 pair for decryption',
  usedBy: 'decryption of what `node:crypto` has encrypted',
  async make({ source, names }) {
    const key = await rsaKey();
    await source.create(privateOf(CKK.RSA, ...rsaParts(key), ...names, ...flags({ sign: false, decrypt: true })));
    await source.create(publicOf(CKK.RSA, ...rsaPublic(key), ...names, ...flags({ verify: false, encrypt: true })));
    return async ({ standby, find }) => {
      const encrypted = publicEncrypt({ key: createPublicKey(key), padding: constants.RSA_PKCS1_PADDING }, MESSAGE);
      return MESSAGE.equals(await standby.decrypt(mechanism(CKM.RSA_PKCS), await find(CKO.PRIVATE_KEY), encrypted));
    };
  },
};

export const RSA: readonly Specimen[] = [
  rsa('RSA-1024 pair', { key: () => rsaKey(1024) }),
  rsa('RSA-2048 pair, exponent 3', { key: () => rsaKey(2048, 3) }),
  rsa('RSA-3072 pair', { key: () => rsaKey(3072) }),
  rsa('RSA-4096 pair, exponent 65539', { key: () => rsaKey(4096, 65539) }),
  decrypting,
  rsa('RSA-8192 pair', { key: () => createPrivateKey(readFileSync(RSA_8192)) }),
  rsa('RSA-2048 pair without CRT parts', { without: CRT }),
  rsa('RSA-2048 private key without public exponent', { without: [CKA.PUBLIC_EXPONENT], isAlone: true }),
  rsa('RSA private key without public key', { isAlone: true }),
];

export const RSA_PUBLIC: readonly Specimen[] = [
  rsaOnlyPublic('RSA public key without private key', []),
  rsaOnlyPublic('RSA public key, PRIVATE=true', flags({ private: true })),
];

export const limitedRsa: Specimen = {
  kind: 'RSA private key, ALLOWED_MECHANISMS',
  usedBy: 'the allowed mechanism signs, and another one does not',
  async make({ source, names }) {
    const allowed = Buffer.alloc(8);
    allowed.writeBigUInt64LE(BigInt(CKM.SHA256_RSA_PKCS));
    const key = await rsaKey();
    const uses = flags({ sign: true, decrypt: false, unwrap: false });
    await source.create(privateOf(CKK.RSA, ...rsaParts(key), ...names, ...uses, [CKA.ALLOWED_MECHANISMS, allowed]));
    return async (visitor) => {
      const refused = await visitor.standby
        .sign(mechanism(CKM.RSA_PKCS), await visitor.find(CKO.PRIVATE_KEY), DIGEST)
        .then(
          () => false,
          () => true,
        );
      return refused && (await rsaSigns(key)(visitor));
    };
  },
};
