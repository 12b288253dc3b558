/** Keys on Montgomery curves differ by their curve only: they agree (RFC 7748), and show their point that way. */
import { createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import { CKK, CKM, CryptokiFailure } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import type { ObservedObject } from '../model/object.ts';
import { TWISTED, twistedPublicHalf } from '../model/twisted-curve.ts';
import type { TokenSession } from '../pkcs11/token-session.ts';
import { agree } from './ec-public-half.ts';
import { type KeyKind, mayUse } from './key-kind.ts';
import { twistedPair } from './twisted-key.ts';

/** The u-coordinate of the base point (RFC 7748, section 4). */
const BASE = { x25519: 9, x448: 5 } as const;

export function montgomeryKind<const Type extends keyof typeof BASE>(type: Type): KeyKind & { readonly type: Type } {
  const { pointBytes: bytes } = TWISTED[type];
  const base = Buffer.alloc(bytes);
  base[0] = BASE[type];
  const pointOf = ({ cryptoki, session }: TokenSession, privateKey: bigint): Buffer =>
    agree(cryptoki, session, { privateKey, point: base, bytes });

  function findPublicHalf(context: TokenSession, key: ObservedObject): Uint8Array | undefined {
    if (!mayUse(key, 'derive', CKM.ECDH1_DERIVE)) return undefined;
    try {
      return twistedPublicHalf(type, pointOf(context, key.handle));
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
      const { cryptoki, session } = proof.context;
      const { handle, attributes, publicHalf } = proof.item;
      if (publicHalf === undefined) proof.useUnverified(CKM.ECDH1_DERIVE, proof.nonce);
      else if (attributes.derive)
        proof.use('derive', [CKM.ECDH1_DERIVE], () => {
          const ours = generateKeyPairSync(type as 'x25519');
          const point = ours.publicKey.export({ format: 'der', type: 'spki' }).subarray(-bytes);
          const publicKey = createPublicKey({ key: Buffer.from(publicHalf), format: 'der', type: 'spki' });
          const agreed = agree(cryptoki, session, { privateKey: handle, point, bytes });
          return bytesEqual(agreed, diffieHellman({ privateKey: ours.privateKey, publicKey }));
        });
      if (!proof.hasProof) proof.rewrap();
    },
    uses: (context, { attributes }) => [
      { flag: attributes.derive, type: CKM.ECDH1_DERIVE, work: (key) => pointOf(context, key) },
    ],
  };
}
