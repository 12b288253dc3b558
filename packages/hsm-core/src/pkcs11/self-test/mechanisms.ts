/**
 * Finds out by trying what a token can do, with throw-away session keys of known value. Mechanism numbers and flags are
 * not enough: SoftHSM calls RFC 5649 what NSS gives to another format, and its flags lie (facts: pkcs11, 3 and 9.3).
 */
import { createCipheriv } from 'node:crypto';
import { CKA, CKK, CKM, CKO, type Cryptoki, CryptokiFailure, ecdh, mechanism, P256_PARAMS } from '@antipode/cryptoki';
import { AntipodeError, bytesEqual, hasCode } from '@antipode/runtime';
import { CURVES } from '../../model/curve.ts';

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
      [CKA.SENSITIVE, false],
      [CKA.EXTRACTABLE, true],
      [CKA.WRAP, true],
      [CKA.UNWRAP, true],
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
  throw new AntipodeError('MECHANISM_MISSING', `the token does not wrap according to RFC 5649 (${seen.join(', ')})`, {
    details: { mechanism: 'RFC 5649' },
  });
}

/**
 * Everything that sealing needs and the token does not do, so that one letter to the vendor is enough. Tried one by
 * one, for a token that has failed: one that works is not asked.
 */
export function lacksOf(cryptoki: Cryptoki, session: bigint): string[] {
  const lacks: string[] = [];
  const made: bigint[] = [];
  const attempt = <T>(what: string, work: () => T): T | undefined => {
    try {
      return work();
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure) && !hasCode(thrown, 'MECHANISM_MISSING')) throw thrown;
      const reason = thrown instanceof CryptokiFailure ? thrown.returnValue : 'another format';
      lacks.push(`${what} (${reason})`);
      return undefined;
    }
  };
  const sessionOnly = [CKA.TOKEN, false] as const;
  try {
    const aes = attempt('AES-256 key generation', () =>
      cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [[CKA.VALUE_LEN, 32], sessionOnly]),
    );
    if (aes !== undefined) made.push(aes);
    attempt('AES key wrap with padding (RFC 5649)', () => findKeyWrapMechanism(cryptoki, session));
    const pair = attempt('EC key generation on P-256', () =>
      cryptoki.generateKeyPair(
        session,
        mechanism(CKM.EC_KEY_PAIR_GEN),
        [sessionOnly, [CKA.EC_PARAMS, P256_PARAMS]],
        [sessionOnly, [CKA.SIGN, true], [CKA.DERIVE, true]],
      ),
    );
    if (pair === undefined) return [...lacks, 'ECDSA on P-256 (no key)', 'ECDH on P-256 (no key)'];
    made.push(pair.publicKey, pair.privateKey);
    attempt('ECDSA on P-256', () => cryptoki.sign(session, mechanism(CKM.ECDSA), pair.privateKey, KNOWN_SECRET));
    const agreed = attempt('ECDH on P-256', () =>
      cryptoki.deriveKey(session, ecdh(CURVES[0]!.generator), pair.privateKey, [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.VALUE_LEN, 32],
        sessionOnly,
      ]),
    );
    if (agreed !== undefined) made.push(agreed);
    return lacks;
  } finally {
    for (const handle of made) cryptoki.destroy(session, handle);
  }
}

/** For a token that could not be opened: the error that names all that it lacks, or the one that there was. */
export function namingLacks(error: AntipodeError, cryptoki: Cryptoki, session: bigint): AntipodeError {
  if (!['MECHANISM_MISSING', 'HSM_REFUSED', 'PROTECTION_UNENFORCED'].includes(error.code)) return error;
  const lacks = lacksOf(cryptoki, session);
  if (lacks.length === 0) return error;
  return new AntipodeError('MECHANISM_MISSING', `the token lacks what sealing needs: ${lacks.join('; ')}`, {
    details: { lacks: lacks.length, mechanism: lacks.join('; ') },
    cause: error,
  });
}
