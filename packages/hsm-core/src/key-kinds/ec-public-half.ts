/**
 * Finds the public half of a private EC key that the token keeps without its point, by using the key. A signature is
 * checked against public keys beside it, or the point is recovered from signatures. A key that only agrees is agreed
 * with the generator. IDs only order the candidates; the use decides.
 */
import { createECDH, createHash, randomBytes, verify } from 'node:crypto';
import { CKA, CKM, CryptokiFailure, mechanism } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import { type Curve, curveOf, toBigInt } from '../model/curve.ts';
import { OCTET_STRING, tlvOf } from '../model/der.ts';
import { agreement, recoverPoints } from '../model/ecdsa-recovery.ts';
import { derivedBy } from '../model/kdf.ts';
import type { ObservedObject } from '../model/object.ts';
import { ecPublicHalf, openedKey, pointOf, uncompressed } from '../model/public-half.ts';
import { agreeingWith, localKdf } from '../pkcs11/agreement.ts';
import type { Clues } from '../pkcs11/reading/public-keys.ts';
import { isSoftwareRefusal } from '../pkcs11/reading/software-refusal.ts';
import type { WrappingSession } from '../pkcs11/token-session.ts';

export function findPublicHalf(context: WrappingSession, key: ObservedObject, clues: Clues): Uint8Array | undefined {
  // Also: SoftHSM 2.6.1 ends the whole process when a half-made key without CKA_EC_PARAMS agrees.
  const curve = curveOf(key.curveParams);
  if (curve === undefined) return undefined;
  try {
    if (key.attributes.sign && allows(key, CKM.ECDSA)) return fromSignatures(context, key, curve, clues);
    if (key.attributes.derive && allows(key, CKM.ECDH1_DERIVE)) return fromAgreement(context, key, curve, clues);
  } catch (thrown) {
    if (!(thrown instanceof CryptokiFailure) && !isSoftwareRefusal(thrown)) throw thrown;
  }
  return undefined;
}

function allows(key: ObservedObject, type: number): boolean {
  const allowed = key.attributes.allowedMechanisms;
  return (
    !key.attributes.alwaysAuthenticate && (allowed === undefined || allowed.length === 0 || allowed.includes(type))
  );
}

function fromSignatures(
  { cryptoki, session }: WrappingSession,
  key: ObservedObject,
  curve: Curve,
  { publicKeys, expected }: Clues,
): Uint8Array | undefined {
  const message = Buffer.concat([Buffer.from('antipode public half v1\0'), randomBytes(32)]);
  const digest = createHash(curve.hash).update(message).digest();
  const signature = cryptoki.sign(session, mechanism(CKM.ECDSA), key.handle, digest);
  // Candidates are what anybody may have put there, without a PIN even: OpenSSL refuses a point that is off its curve.
  const verifies = (publicHalf: Uint8Array, over: Uint8Array, made: Uint8Array): boolean => {
    const key = openedKey(publicHalf);
    return key !== undefined && verify(curve.hash, over, { key, dsaEncoding: 'ieee-p1363' }, made);
  };

  if (expected !== undefined && verifies(expected, message, signature)) return expected;
  for (const candidate of publicKeys.candidates(key)) if (verifies(candidate, message, signature)) return candidate;
  const second = Buffer.concat([message, Uint8Array.of(2)]);
  const secondSignature = cryptoki.sign(
    session,
    mechanism(CKM.ECDSA),
    key.handle,
    createHash(curve.hash).update(second).digest(),
  );
  return recoverPoints(curve, digest, signature)
    .map((point) => ecPublicHalf(curve, point))
    .find((publicHalf) => verifies(publicHalf, second, secondSignature));
}

/**
 * x(d G) is the key's own x-coordinate; ECDH uses nothing else, so either y serves, and the expected one is as good.
 */
function fromAgreement(
  context: WrappingSession,
  key: ObservedObject,
  curve: Curve,
  { publicKeys, expected }: Clues,
): Uint8Array | undefined {
  const x = agree(context, { privateKey: key.handle, point: curve.generator, bytes: curve.fieldBytes });
  const isOf = (half: Uint8Array): boolean =>
    bytesEqual(agreedValue(context, pointOf(curve, half).subarray(1, 1 + curve.fieldBytes)), x);
  if (expected !== undefined && isOf(expected)) return expected;
  // A function that derives a key does not lead back to the coordinate: only a public key beside it can be tried.
  if (localKdf(context.agreement) !== 'null') return [...publicKeys.candidates(key)].find(isOf);
  // Undefined where the key does not agree as its curve has it: that is the key's fault, and nobody else's.
  const point = uncompressed(curve, Buffer.concat([Uint8Array.of(2), x]));
  return point && ecPublicHalf(curve, point);
}

/**
 * ECDH in the token with a readable result. Only for points whose private half is public (the generator) or ours and
 * thrown away (a proof): the agreed value protects nothing.
 */
export function agree(
  { cryptoki, session, agreement, values }: WrappingSession,
  { privateKey, point, bytes }: { privateKey: bigint; point: Uint8Array; bytes: number },
): Uint8Array {
  const how = agreeingWith(point, localKdf(agreement), agreement);
  const secret = cryptoki.deriveKey(session, how, privateKey, [...values.readable, [CKA.VALUE_LEN, bytes]]);
  try {
    return Uint8Array.from(values.read(secret) ?? []);
  } finally {
    cryptoki.destroy(session, secret);
  }
}

/** The value that {@link agree} reads where both sides have agreed on this secret. */
export const agreedValue = ({ agreement }: WrappingSession, secret: Uint8Array): Uint8Array =>
  derivedBy(localKdf(agreement), secret, secret.length);

/**
 * The result of the same agreement in software, from the public half. The point is bare, as the standard has it, and
 * none that a token could take for an OCTET STRING: SoftHSM guesses by the first bytes. @throws where OpenSSL does not
 * know the curve either
 */
export function softwareAgreement(curve: Curve, point: Uint8Array): { point: Uint8Array; secret: Uint8Array } {
  for (;;) {
    const agreed = agreedOnce(curve, point);
    if (tlvOf(agreed.point, OCTET_STRING) === undefined) return agreed;
  }
}

function agreedOnce(curve: Curve, point: Uint8Array): { point: Uint8Array; secret: Uint8Array } {
  // Wider than the order, so that no remainder is much likelier than another.
  const random = (): bigint => toBigInt(randomBytes(curve.fieldBytes + 8));
  const byHand = curve.openssl === undefined ? agreement(curve, point, random()) : undefined;
  if (byHand !== undefined) return byHand;
  const ours = createECDH(curve.openssl ?? 'unnamed');
  ours.generateKeys();
  return { point: ours.getPublicKey(), secret: ours.computeSecret(point) };
}
