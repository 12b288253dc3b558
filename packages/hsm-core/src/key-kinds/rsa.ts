/** RSA keys: a private key is proved by what software makes of its public half. */
import { constants, publicDecrypt, publicEncrypt, randomBytes, verify } from 'node:crypto';
import { CKA, CKK, CKM, CryptokiFailure, mechanism, rsaOaep, rsaPss } from '@antipode/cryptoki';
import { bytesEqual, sha256 } from '@antipode/runtime';
import { rsaPublicHalf } from '../model/public-half.ts';
import type { Proof } from '../pkcs11/proving/proof.ts';
import { signingUse } from '../pkcs11/proving/use.ts';
import type { KeyKind, PairKind } from './key-kind.ts';

const PARTS = [CKA.MODULUS, CKA.PUBLIC_EXPONENT];

const pair: PairKind = {
  publicParts: PARTS,
  privateParts: PARTS,
  showsPublicHalf: true,
  sizeBits(value) {
    const modulus = value(CKA.MODULUS);
    if (modulus === undefined || modulus.length === 0) return 0;
    const start = modulus.findIndex((byte) => byte !== 0);
    return (modulus.length - start) * 8 - Math.clz32(modulus[start] ?? 0) + 24;
  },
  publicHalf(value) {
    const [modulus, exponent] = [value(CKA.MODULUS), value(CKA.PUBLIC_EXPONENT)];
    return modulus?.length && exponent?.length ? rsaPublicHalf(modulus, exponent) : undefined;
  },
};

export const rsa = {
  type: 'rsa',
  number: CKK.RSA,
  pair,
  prove(proof) {
    useRsa(proof);
    if (!proof.hasProof) proof.rewrap();
    compareParts(proof);
  },
  uses: (context, { attributes }) => {
    const data = randomBytes(32);
    return [CKM.SHA256_RSA_PKCS, CKM.RSA_PKCS].map((type) => signingUse(context, attributes, { type, data }));
  },
} as const satisfies KeyKind;

/**
 * A token may answer rightly with a key of which p, q, dP, dQ or qInv is damaged: OpenSSL notices, and signs without
 * them. The blob that the device wraps has all of it. Where a device wraps one key in two ways, nothing follows.
 */
function compareParts(proof: Proof): void {
  const { cryptoki, session, keyWrap, domainKey } = proof.context;
  const { handle, wrapsTo } = proof.item;
  const wrapDigest = (): Uint8Array => sha256(cryptoki.wrapKey(session, keyWrap, domainKey, handle));
  try {
    const wrapped = wrapDigest();
    const isSame = wrapsTo !== undefined && bytesEqual(wrapped, wrapsTo);
    if (!isSame && !bytesEqual(wrapDigest(), wrapped)) return;
    if (wrapsTo !== undefined && !isSame)
      proof.checks.push({
        use: 'rewrap',
        outcome: 'failed',
        detail: 'the blob differs from an earlier one on this device',
      });
    proof.wrapsTo = wrapped;
  } catch (thrown) {
    if (!(thrown instanceof CryptokiFailure)) throw thrown;
    if (wrapsTo !== undefined) proof.fail('rewrap', `wrapped before, and now ${thrown.returnValue}`);
  }
}
function useRsa(proof: Proof): void {
  const { cryptoki, session } = proof.context;
  const { handle, attributes } = proof.item;
  const publicKey = proof.publicKey();
  if (publicKey === undefined) {
    proof.useUnverified(CKM.SHA256_RSA_PKCS, proof.nonce);
    return;
  }
  // SoftHSM 2.6.1 ends the whole process when a half-made key without modulus or exponent decrypts.
  if ((attributes.decrypt || attributes.unwrap) && proof.context.objects.read(handle)?.publicHalf === undefined) {
    proof.fail('value', 'no public half');
    return;
  }
  if (attributes.sign) {
    proof.use('sign', [CKM.SHA256_RSA_PKCS, CKM.SHA256_RSA_PKCS_PSS], (type) => {
      const isPss = type === CKM.SHA256_RSA_PKCS_PSS;
      const how = isPss ? rsaPss() : mechanism(type);
      const signature = cryptoki.sign(session, how, handle, proof.nonce);
      return verify(
        'sha256',
        proof.nonce,
        { key: publicKey, padding: isPss ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING },
        signature,
      );
    });
  }
  if (attributes.decrypt) {
    proof.use('decrypt', [CKM.RSA_PKCS_OAEP, CKM.RSA_PKCS], (type) => {
      const isOaep = type === CKM.RSA_PKCS_OAEP;
      const padding = isOaep ? constants.RSA_PKCS1_OAEP_PADDING : constants.RSA_PKCS1_PADDING;
      const ciphertext = publicEncrypt({ key: publicKey, padding, oaepHash: 'sha1' }, proof.nonce);
      return bytesEqual(
        cryptoki.decrypt(session, isOaep ? rsaOaep() : mechanism(type), handle, ciphertext),
        proof.nonce,
      );
    });
  }
  if (attributes.signRecover) {
    proof.use('signRecover', [CKM.RSA_PKCS], (type) => {
      const signature = cryptoki.signRecover(session, mechanism(type), handle, proof.nonce.subarray(0, 32));
      const recovered = publicDecrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, signature);
      return bytesEqual(recovered, proof.nonce.subarray(0, 32));
    });
  }
  if (attributes.unwrap) {
    proof.use('unwrap', [CKM.RSA_PKCS_OAEP, CKM.RSA_PKCS], (type) => {
      const isOaep = type === CKM.RSA_PKCS_OAEP;
      const padding = isOaep ? constants.RSA_PKCS1_OAEP_PADDING : constants.RSA_PKCS1_PADDING;
      const secret = randomBytes(32);
      const wrapped = publicEncrypt({ key: publicKey, padding, oaepHash: 'sha1' }, secret);
      return proof.unwrapsTo(isOaep ? rsaOaep() : mechanism(type), wrapped, secret, handle);
    });
  }
}
