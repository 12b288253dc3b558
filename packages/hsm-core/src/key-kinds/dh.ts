/** Diffie-Hellman keys (PKCS #3). A private key shows its public half by agreeing with the base. */
import { randomBytes } from 'node:crypto';
import { CKA, CKK, CKM, CryptokiFailure, mechanism, type Template } from '@antipode/cryptoki';
import { toBigInt } from '../model/curve.ts';
import { dhPublicHalf, fieldAgreement, fieldIn } from '../model/finite-field.ts';
import type { ObservedObject } from '../model/object.ts';
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
    else if (attributes.derive)
      proof.use('derive', [CKM.DH_PKCS_DERIVE], () => {
        const { publicValue, secret } = fieldAgreement(half, randomBytes(EXPONENT_BYTES));
        const agreed = agree(proof.context, { privateKey: handle, publicValue, bytes: half.prime.length });
        return toBigInt(agreed) === secret;
      });
    if (!proof.hasProof) proof.rewrap();
  },
  uses: (context, key) => [
    {
      flag: key.attributes.derive,
      type: CKM.DH_PKCS_DERIVE,
      work: (privateKey) => publicValueOf(context, privateKey),
    },
  ],
} as const satisfies KeyKind;

function findPublicHalf(context: WrappingSession, key: ObservedObject): Uint8Array | undefined {
  if (!mayUse(key, 'derive', CKM.DH_PKCS_DERIVE)) return undefined;
  try {
    return publicValueOf(context, key.handle);
  } catch (thrown) {
    if (thrown instanceof CryptokiFailure) return undefined;
    throw thrown;
  }
}

/** Agreeing with the base gives the key's own public value, which anybody may know. */
function publicValueOf(context: WrappingSession, privateKey: bigint): Uint8Array | undefined {
  const { cryptoki, session } = context;
  const domain = cryptoki.attributes(session, privateKey, [CKA.PRIME, CKA.BASE]);
  const [prime, base] = [domain?.get(CKA.PRIME), domain?.get(CKA.BASE)];
  if (!prime?.length || !base?.length) return undefined;
  const [p, g] = [Buffer.from(prime), Buffer.from(base)];
  const publicValue = agree(context, { privateKey, publicValue: g, bytes: p.length });
  return dhPublicHalf({ prime: p, base: g, publicValue });
}

/** Only with values whose private half is public (the base) or ours and thrown away: then the result protects nothing. */
function agree(
  { cryptoki, session, values }: WrappingSession,
  { privateKey, publicValue, bytes }: { privateKey: bigint; publicValue: Uint8Array; bytes: number },
): Uint8Array {
  const readable: Template = [...values.readable, [CKA.VALUE_LEN, bytes]];
  const secret = cryptoki.deriveKey(session, mechanism(CKM.DH_PKCS_DERIVE, publicValue), privateKey, readable);
  try {
    return Uint8Array.from(values.read(secret) ?? []);
  } finally {
    cryptoki.destroy(session, secret);
  }
}
