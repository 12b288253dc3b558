/** Keys on Montgomery curves differ by their curve only: they agree (RFC 7748), and show their point that way. */
import { createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import { CKK, CKM, CryptokiFailure } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import type { ObservedObject } from '../model/object.ts';
import { TWISTED, twistedPublicHalf } from '../model/twisted-curve.ts';
import { localKdf } from '../pkcs11/agreement.ts';
import type { Clues } from '../pkcs11/reading/public-keys.ts';
import type { WrappingSession } from '../pkcs11/token-session.ts';
import { agree, agreedValue } from './ec-public-half.ts';
import { type KeyKind, mayUse } from './key-kind.ts';
import { twistedPair } from './twisted-key.ts';

/** The u-coordinate of the base point (RFC 7748, section 4). */
const BASE = { x25519: 9, x448: 5 } as const;

export function montgomeryKind<const Type extends keyof typeof BASE>(type: Type): KeyKind & { readonly type: Type } {
  const { pointBytes: bytes } = TWISTED[type];
  const base = Buffer.alloc(bytes);
  base[0] = BASE[type];
  /** The key's own point, where the token derives by no function: anything else does not lead back to it. */
  const pointOf = (context: WrappingSession, privateKey: bigint): Uint8Array =>
    agree(context, { privateKey, point: base, bytes });

  function findPublicHalf(
    context: WrappingSession,
    key: ObservedObject,
    { publicKeys, expected }: Clues,
  ): Uint8Array | undefined {
    if (!mayUse(key, 'derive', CKM.ECDH1_DERIVE)) return undefined;
    try {
      const shown = pointOf(context, key.handle);
      if (localKdf(context.agreement) === 'null') return twistedPublicHalf(type, shown);
      const halves = [...(expected === undefined ? [] : [expected]), ...publicKeys.candidates(key)];
      return halves.find((half) => bytesEqual(agreedValue(context, half.slice(-bytes)), shown));
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure) return undefined;
      throw thrown;
    }
  }

  return {
    type,
    number: CKK.EC_MONTGOMERY,
    // SoftHSM 2.6.1 calls them Edwards keys, since PKCS#11 had no other name when it learned them.
    alsoNumber: CKK.EC_EDWARDS,
    isIt: twistedPair(type).isIt,
    pair: { ...twistedPair(type).pair, findPublicHalf },
    prove(proof) {
      const { handle, attributes, publicHalf } = proof.item;
      if (publicHalf === undefined) proof.useUnverified(CKM.ECDH1_DERIVE, proof.nonce);
      else if (attributes.derive)
        proof.use('derive', [CKM.ECDH1_DERIVE], () => {
          const ours = generateKeyPairSync(type as 'x25519');
          const point = ours.publicKey.export({ format: 'der', type: 'spki' }).subarray(-bytes);
          const publicKey = createPublicKey({ key: Buffer.from(publicHalf), format: 'der', type: 'spki' });
          const agreed = agree(proof.context, { privateKey: handle, point, bytes });
          const secret = diffieHellman({ privateKey: ours.privateKey, publicKey });
          return bytesEqual(agreed, agreedValue(proof.context, secret));
        });
      if (!proof.hasProof) proof.rewrap();
    },
    uses: (context, { attributes }) => [
      { flag: attributes.derive, type: CKM.ECDH1_DERIVE, work: (key) => pointOf(context, key) },
    ],
  };
}
