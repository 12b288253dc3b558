/** The keys of operators: Ed25519, or ECDSA on P-256 for tokens that have no Ed25519. */
import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { AntipodeError, sha256Hex } from '@antipode/runtime';

export interface OperatorKey {
  readonly name: string;
  readonly key: KeyObject;
}

export const OPERATOR_KEY_EXPECTED =
  'expected a public key of Ed25519 or P-256 as PEM, or its SubjectPublicKeyInfo in base64';

/** Reads a public key as configurations hold it. Undefined if it is none that operators can have. */
export function operatorKeyFrom(text: string): KeyObject | undefined {
  const trimmed = text.trim();
  try {
    const key = trimmed.startsWith('-----BEGIN PUBLIC KEY-----')
      ? createPublicKey(trimmed)
      : createPublicKey({ key: Buffer.from(trimmed.replaceAll(/\s/g, ''), 'base64'), format: 'der', type: 'spki' });
    return isOperatorKey(key) ? key : undefined;
  } catch {
    return undefined;
  }
}

/** Base64 of the SubjectPublicKeyInfo. */
export const operatorKeyText = (key: KeyObject): string => spkiOf(key).toString('base64');

/** Two texts of one key have the same fingerprint. */
export const operatorKeyFingerprint = (key: KeyObject): string => sha256Hex(spkiOf(key));

const spkiOf = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' });

export function isOperatorKey({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  return (
    asymmetricKeyType === 'ed25519' || (asymmetricKeyType === 'ec' && asymmetricKeyDetails?.namedCurve === 'prime256v1')
  );
}

/** @throws APPROVAL_INVALID for a private key of another kind */
export function signAsOperator(privateKey: KeyObject, bytes: Uint8Array): Uint8Array {
  if (privateKey.type !== 'private' || !isOperatorKey(privateKey))
    throw new AntipodeError('APPROVAL_INVALID', `the key is not a private key of Ed25519 or P-256`, {
      details: { type: privateKey.asymmetricKeyType ?? privateKey.type },
    });
  const digest = privateKey.asymmetricKeyType === 'ec' ? 'sha256' : null;
  return new Uint8Array(sign(digest, bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
}

export function isSignedByOperator(
  { key }: Pick<OperatorKey, 'key'>,
  { bytes, signature }: { bytes: Uint8Array; signature: Uint8Array },
): boolean {
  const digest = key.asymmetricKeyType === 'ec' ? 'sha256' : null;
  return verify(digest, bytes, { key, dsaEncoding: 'ieee-p1363' }, signature);
}
