/** The mechanisms that need parameters, each as the standard lays its structure out. */
import { CKD, CKG_MGF1_SHA1, CKG_MGF1_SHA256, CKM, CKZ_DATA_SPECIFIED } from './constants.ts';
import { type Mechanism, structure } from './template.ts';

/**
 * CK_RSA_PKCS_OAEP_PARAMS, by SHA-1 with MGF1, which every token has. OAEP needs a hash of which nobody finds a
 * preimage, and SHA-1 is still one.
 */
export const rsaOaep = (): Mechanism =>
  structure(CKM.RSA_PKCS_OAEP, [CKM.SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, 0, 0]);

/** CK_RSA_PKCS_PSS_PARAMS, with a salt as long as the hash. */
export const rsaPss = (): Mechanism => structure(CKM.SHA256_RSA_PKCS_PSS, [CKM.SHA256, CKG_MGF1_SHA256, 32]);

/**
 * CK_ECDH1_DERIVE_PARAMS without shared data. The point is as the device wants it: bare or as an OCTET STRING. Without
 * a key derivation function the result is the x-coordinate itself.
 */
export const ecdh = (point: Uint8Array, kdf: number = CKD.NULL): Mechanism =>
  structure(CKM.ECDH1_DERIVE, [kdf, 0, 0, point.length, { pointer: point }]);

/** CK_KEY_DERIVATION_STRING_DATA. */
export const derivationFrom = (type: number, data: Uint8Array): Mechanism =>
  structure(type, [{ pointer: data }, data.length]);

/** CK_GCM_PARAMS, with a tag of 128 bits. */
export const aesGcm = (iv: Uint8Array, aad: Uint8Array): Mechanism =>
  structure(CKM.AES_GCM, [{ pointer: iv }, iv.length, iv.length * 8, { pointer: aad }, aad.length, 128]);

/** CK_AES_CTR_PARAMS: bits of the counter, then the first block. */
export function aesCtr(block: Uint8Array): Mechanism {
  const parameter = Buffer.alloc(24);
  parameter.writeBigUInt64LE(128n);
  parameter.set(block, 8);
  return { type: CKM.AES_CTR, parameter };
}
