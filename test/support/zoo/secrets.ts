/** Secret keys of the zoo. */
import { createCipheriv, createHmac, randomBytes } from 'node:crypto';
import { CKK, CKM, CKO, mechanism } from '@antipode/cryptoki';
import { flags } from '../../attacks/support/templates.ts';
import { PORTABLE } from '../token-pair.ts';
import { aesOf, type Specimen, secretOf } from './specimen.ts';

const MACS = flags({ sign: true, verify: true });
const CIPHERS = flags({ encrypt: true, decrypt: true });

function macs(kind: string, options: { keyType: number; bytes: number; by: number; hash: string }): Specimen {
  const { keyType, bytes, by, hash } = options;
  return {
    kind,
    usedBy: `HMAC ${hash}, compared with \`node:crypto\``,
    async make({ source, names }) {
      const value = randomBytes(bytes);
      await source.create(secretOf(keyType, value, ...names, ...MACS));
      const expected = createHmac(hash, value).update('message').digest();
      return async ({ standby, find }) =>
        expected.equals(await standby.sign(mechanism(by), await find(CKO.SECRET_KEY), Buffer.from('message')));
    },
  };
}

/** SoftHSM wants keys as long as the hash. */
const hashFor = (bytes: number): { by: number; hash: string } => {
  if (bytes < 20) return { by: CKM.MD5_HMAC, hash: 'md5' };
  return bytes < 32 ? { by: CKM.SHA_1_HMAC, hash: 'sha1' } : { by: CKM.SHA256_HMAC, hash: 'sha256' };
};

const generic = (bytes: number): Specimen =>
  macs(`generic secret of ${bytes} bytes`, { keyType: CKK.GENERIC_SECRET, bytes, ...hashFor(bytes) });

/** Made in the token, so that only it knows the value: what it has encrypted before, it encrypts again elsewhere. */
function generated(kind: string, by: number, cbc: number, iv: number): Specimen {
  return {
    kind,
    usedBy: 'CBC, compared with the source',
    async make({ source, names }) {
      const key = await source.generateKey(mechanism(by), [...PORTABLE, ...names, ...CIPHERS]);
      const how = mechanism(cbc, Buffer.alloc(iv, 7));
      const block = Buffer.alloc(2 * iv, 1);
      const expected = Buffer.from(await source.encrypt(how, key, block));
      return async ({ standby, find }) => {
        const there = await find(CKO.SECRET_KEY);
        const isSame = expected.equals(await standby.encrypt(how, there, block));
        return isSame && block.equals(await standby.decrypt(how, there, expected));
      };
    },
  };
}

const aes = (bytes: number): Specimen => ({
  kind: `AES-${bytes * 8}`,
  usedBy: 'ECB, compared with `node:crypto`',
  async make({ source, names }) {
    const value = randomBytes(bytes);
    await source.create(aesOf(value, ...names, ...CIPHERS));
    const cipher = createCipheriv(`aes-${bytes * 8}-ecb`, value, null).setAutoPadding(false);
    const expected = cipher.update(Buffer.alloc(16));
    return async ({ standby, find }) =>
      expected.equals(await standby.encrypt(mechanism(CKM.AES_ECB), await find(CKO.SECRET_KEY), Buffer.alloc(16)));
  },
});

const macKey: Specimen = {
  kind: 'AES-256 for MACs',
  usedBy: 'CMAC, compared with the source',
  async make({ source, names }) {
    const key = await source.create(aesOf(randomBytes(32), ...names, ...MACS));
    const how = mechanism(CKM.AES_CMAC);
    const expected = Buffer.from(await source.sign(how, key, Buffer.from('message')));
    return async ({ standby, find }) =>
      expected.equals(await standby.sign(how, await find(CKO.SECRET_KEY), Buffer.from('message')));
  },
};

export const SECRETS: readonly Specimen[] = [
  ...[16, 20, 32, 64, 70].map(generic),
  macs('MD5_HMAC', { keyType: CKK.MD5_HMAC, bytes: 64, by: CKM.MD5_HMAC, hash: 'md5' }),
  macs('SHA_1_HMAC', { keyType: CKK.SHA_1_HMAC, bytes: 64, by: CKM.SHA_1_HMAC, hash: 'sha1' }),
  macs('SHA224_HMAC', { keyType: CKK.SHA224_HMAC, bytes: 32, by: CKM.SHA224_HMAC, hash: 'sha224' }),
  macs('SHA256_HMAC', { keyType: CKK.SHA256_HMAC, bytes: 64, by: CKM.SHA256_HMAC, hash: 'sha256' }),
  macs('SHA256_HMAC of 33 bytes', { keyType: CKK.SHA256_HMAC, bytes: 33, by: CKM.SHA256_HMAC, hash: 'sha256' }),
  macs('SHA384_HMAC', { keyType: CKK.SHA384_HMAC, bytes: 48, by: CKM.SHA384_HMAC, hash: 'sha384' }),
  macs('SHA512_HMAC', { keyType: CKK.SHA512_HMAC, bytes: 64, by: CKM.SHA512_HMAC, hash: 'sha512' }),
  generated('DES3', CKM.DES3_KEY_GEN, CKM.DES3_CBC, 8),
  generated('DES2', CKM.DES2_KEY_GEN, CKM.DES3_CBC, 8),
  {
    kind: 'AES-XTS of 64 bytes',
    async make({ source, names }) {
      await source.create(secretOf(CKK.AES_XTS, randomBytes(64), ...names));
      return undefined;
    },
  },
  ...[16, 24, 32].map(aes),
  macKey,
];
