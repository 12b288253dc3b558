/**
 * Finds out by trying what a token can do, with throw-away session keys of known value. Mechanism numbers and flags are
 * not enough: SoftHSM calls RFC 5649 what NSS gives to another format, and its flags lie (facts: pkcs11, 3 and 9.3).
 */
import { createCipheriv } from 'node:crypto';
import { AntipodeError, bytesEqual } from '@antipode/runtime';
import { CKA, CKK, CKM, CKO } from './constants.ts';
import { type Cryptoki, mechanism } from './cryptoki.ts';
import { CryptokiFailure } from './return-values.ts';

const KNOWN_KEY = Buffer.alloc(32, 0x5a);
const KNOWN_SECRET = Buffer.alloc(32, 0xa5);

/** RFC 5649 in software, over the known values: what the token's mechanism must give. */
function expectedBlob(): Buffer {
  const cipher = createCipheriv('id-aes256-wrap-pad', KNOWN_KEY, Buffer.from('A65959A6', 'hex'));
  return Buffer.concat([cipher.update(KNOWN_SECRET), cipher.final()]);
}

/** The number under which this token wraps by RFC 5649. @throws MECHANISM_MISSING */
export function findKeyWrapMechanism(cryptoki: Cryptoki, session: bigint): number {
  const expected = expectedBlob();
  const seen: string[] = [];
  const made: bigint[] = [];
  const secretKey = (keyType: number, value: Uint8Array): bigint => {
    const handle = cryptoki.create(session, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, keyType],
      [CKA.TOKEN, false],
      [0x103, false],
      [0x162, true],
      [0x106, true],
      [0x107, true],
      [CKA.VALUE, value],
    ]);
    made.push(handle);
    return handle;
  };
  try {
    const wrapping = secretKey(CKK.AES, KNOWN_KEY);
    const secret = secretKey(CKK.GENERIC_SECRET, KNOWN_SECRET);
    for (const type of [CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PAD]) {
      try {
        if (bytesEqual(cryptoki.wrapKey(session, mechanism(type), wrapping, secret), expected)) return type;
        seen.push(`0x${type.toString(16)}: another format`);
      } catch (thrown) {
        if (!(thrown instanceof CryptokiFailure)) throw thrown;
        seen.push(`0x${type.toString(16)}: ${thrown.returnValue}`);
      }
    }
  } finally {
    for (const handle of made) cryptoki.destroy(session, handle);
  }
  throw new AntipodeError('MECHANISM_MISSING', `the token does not wrap by RFC 5649 (${seen.join(', ')})`, {
    details: { mechanism: 'RFC 5649' },
  });
}
