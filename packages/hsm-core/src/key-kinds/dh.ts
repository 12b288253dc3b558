/** Diffie-Hellman keys (PKCS #3). A private key shows its public half by agreeing with the base. */
import { randomBytes } from 'node:crypto';
import { CKA, CKK, CKM, CryptokiFailure, mechanism, type Template } from '@antipode/cryptoki';
import { toBigInt } from '../model/curve.ts';
import { dhPublicHalf, type FieldHalf, fieldAgreement, fieldIn } from '../model/finite-field.ts';
import type { ObservedObject } from '../model/object.ts';
import type { Clues } from '../pkcs11/reading/public-keys.ts';
import type { WrappingSession } from '../pkcs11/token-session.ts';
import { fieldPair } from './field-key.ts';
import { type KeyKind, mayUse } from './key-kind.ts';

/** As hard to guess as the group is to break. */
const EXPONENT_BYTES = 32;

export const dh = {
  type: 'dh',
  number: CKK.DH,
  pair: { ...fieldPair({ domain: [CKA.PRIME, CKA.BASE], publicHalf: dhPublicHalf }), findPublicHalf },
  prove(proof) {
    const { handle, attributes, publicHalf } = proof.item;
    const half = publicHalf && fieldIn(publicHalf);
    if (half === undefined) proof.useUnverified(CKM.DH_PKCS_DERIVE, proof.nonce);
    else if (attributes.derive) proof.use('derive', [CKM.DH_PKCS_DERIVE], () => agreesAs(proof.context, handle, half));
    if (!proof.hasProof) proof.rewrap();
  },
  uses: (context, key) => [
    {
      flag: key.attributes.derive,
      type: CKM.DH_PKCS_DERIVE,
      work: (privateKey) => {
        const domain = domainOf(context, privateKey);
        return domain && agree(context, { privateKey, publicValue: domain.base, bytes: domain.prime.length });
      },
    },
  ],
} as const satisfies KeyKind;

function findPublicHalf(
  context: WrappingSession,
  key: ObservedObject,
  { publicKeys, expected }: Clues,
): Uint8Array | undefined {
  if (!mayUse(key, 'derive', CKM.DH_PKCS_DERIVE)) return undefined;
  try {
    const domain = domainOf(context, key.handle);
    if (domain === undefined) return undefined;
    const { prime, base } = domain;
    // Agreeing with the base gives the key's own public value, which anybody may know.
    if (derivesWhole(context, prime))
      return dhPublicHalf({
        prime,
        base,
        publicValue: agree(context, { privateKey: key.handle, publicValue: base, bytes: prime.length }),
      });
    return [...(expected === undefined ? [] : [expected]), ...publicKeys.candidates(key)].find((candidate) => {
      const half = fieldIn(candidate);
      const isInGroup = half !== undefined && prime.equals(half.prime) && base.equals(half.base);
      return isInGroup && agreesAs(context, key.handle, half);
    });
  } catch (thrown) {
    if (thrown instanceof CryptokiFailure) return undefined;
    throw thrown;
  }
}

function domainOf(
  { cryptoki, session }: WrappingSession,
  privateKey: bigint,
): { prime: Buffer; base: Buffer } | undefined {
  const domain = cryptoki.attributes(session, privateKey, [CKA.PRIME, CKA.BASE]);
  const [prime, base] = [domain?.get(CKA.PRIME), domain?.get(CKA.BASE)];
  return prime?.length && base?.length ? { prime: Buffer.from(prime), base: Buffer.from(base) } : undefined;
}

const derivesWhole = ({ agreement: { derivedBytesMax: most } }: WrappingSession, prime: Uint8Array): boolean =>
  most === undefined || prime.length <= most;

/** Whether the key is the private half of this public one. Where the token derives a part of a secret, the part decides. */
function agreesAs(context: WrappingSession, privateKey: bigint, half: FieldHalf): boolean {
  const { prime } = half;
  const { publicValue, secret } = fieldAgreement(half, randomBytes(EXPONENT_BYTES));
  const agreed = agree(context, { privateKey, publicValue, bytes: prime.length });
  if (derivesWhole(context, prime)) return toBigInt(agreed) === secret;
  const whole = Buffer.from(secret.toString(16).padStart(prime.length * 2, '0'), 'hex');
  // PKCS #3 pads the secret, and PKCS#11 takes its last bytes. Some tokens take the first ones.
  const parts = [whole.subarray(-agreed.length), whole.subarray(0, agreed.length)];
  return agreed.length > 0 && parts.some((part) => part.equals(agreed));
}

/** Only with values whose private half is public (the base) or ours and thrown away: then the result protects nothing. */
function agree(
  { cryptoki, session, values, agreement }: WrappingSession,
  { privateKey, publicValue, bytes }: { privateKey: bigint; publicValue: Uint8Array; bytes: number },
): Uint8Array {
  const { derivedBytesMax: most = bytes } = agreement;
  const readable: Template = [...values.readable, [CKA.VALUE_LEN, Math.min(bytes, most)]];
  const secret = cryptoki.deriveKey(session, mechanism(CKM.DH_PKCS_DERIVE, publicValue), privateKey, readable);
  try {
    return Uint8Array.from(values.read(secret) ?? []);
  } finally {
    cryptoki.destroy(session, secret);
  }
}
