/** EC keys on any curve that is known by its parameters: ECDSA and ECDH. */
import { createHash, randomBytes, verify } from 'node:crypto';
import { CKA, CKK, CKM, CryptokiFailure, mechanism, type Template } from '@antipode/cryptoki';
import { bytesEqual, hex } from '@antipode/runtime';
import { ATTRIBUTES } from '../model/attributes.ts';
import { type Curve, curveOf } from '../model/curve.ts';
import type { ObservedObject } from '../model/object.ts';
import { barePoint, curveIn, ecPublicHalf, pointOf } from '../model/public-half.ts';
import { type Proof, type ProveContext, RefusedToAny } from '../pkcs11/proving/proof.ts';
import { signingUse, type Use } from '../pkcs11/proving/use.ts';
import { agree, agreedValue, findPublicHalf, softwareAgreement } from './ec-public-half.ts';
import type { KeyKind, PairKind } from './key-kind.ts';

const pair: PairKind = {
  publicParts: [CKA.EC_PARAMS, CKA.EC_POINT],
  // A private key has no point at most tokens; where it has one, that fits.
  privateParts: [CKA.EC_PARAMS],
  showsPublicHalf: false,
  sizeBits: (value) => curveOf(value(CKA.EC_PARAMS))?.bits ?? 0,
  publicHalf(value) {
    const curve = curveOf(value(CKA.EC_PARAMS));
    const encoded = value(CKA.EC_POINT);
    const point = curve && encoded ? barePoint(curve, encoded) : undefined;
    return curve && point ? ecPublicHalf(curve, point) : undefined;
  },
  curveParams(value) {
    const params = value(CKA.EC_PARAMS);
    return params?.length ? new Uint8Array(params) : undefined;
  },
  findPublicHalf,
  besideBlob({ publicHalf }): Template {
    const curve = publicHalf && curveIn(publicHalf);
    return curve === undefined ? [] : [[CKA.NSS_DB, pointOf(curve, publicHalf!)]];
  },
};

export const ec = {
  type: 'ec',
  number: CKK.EC,
  pair,
  prove(proof) {
    useEc(proof);
    if (!proof.hasProof) proof.rewrap();
  },
  uses: usesOf,
} as const satisfies KeyKind;

function useEc(proof: Proof): void {
  const { cryptoki, session } = proof.context;
  const { handle, attributes, publicHalf } = proof.item;
  const curve = publicHalf && curveIn(publicHalf);
  const publicKey = proof.publicKey();
  if (curve === undefined || publicKey === undefined || publicHalf === undefined) {
    proof.useUnverified(CKM.ECDSA, proof.nonce.subarray(0, 32));
    return;
  }
  // SoftHSM 2.6.1 ends the whole process when a half-made key without CKA_EC_PARAMS agrees.
  const shown = proof.context.objects.read(handle)?.curveParams;
  if (attributes.derive && (shown === undefined || hex(shown) !== curve.params)) {
    proof.fail('value', 'no curve, or another');
    return;
  }
  if (attributes.sign) {
    useOn(proof, curve, 'sign', CKM.ECDSA, (key, isOurs) => {
      const digest = createHash(curve.hash).update(proof.nonce).digest();
      const signature = cryptoki.sign(session, mechanism(CKM.ECDSA), key, digest);
      return !isOurs || verify(curve.hash, proof.nonce, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
    });
  }
  if (attributes.derive) {
    useOn(proof, curve, 'derive', CKM.ECDH1_DERIVE, (key, isOurs) => {
      const { point, secret } = softwareAgreement(curve, pointOf(curve, publicHalf));
      const agreed = agree(proof.context, { privateKey: key, point, bytes: curve.fieldBytes });
      return !isOurs || bytesEqual(agreed, agreedValue(proof.context, secret));
    });
  }
}
/** `work` is tried with this key, and where the token refuses it, with one that was just made on the same curve. */
function useOn(
  proof: Proof,
  curve: Curve,
  use: 'sign' | 'derive',
  type: number,
  work: (key: bigint, isOurs: boolean) => boolean,
): void {
  proof.use(use, [type], () => {
    try {
      return work(proof.item.handle, true);
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure && refusesAny(proof, curve, use, thrown, (key) => work(key, false)))
        throw new RefusedToAny(thrown.returnValue);
      throw thrown;
    }
  });
}

/**
 * Whether the token refuses this to any key of the curve: then it says nothing of the one at hand. SoftHSM signs on
 * curves over binary fields, and agrees on none.
 */
function refusesAny(
  proof: Proof,
  curve: Curve,
  use: 'sign' | 'derive',
  { returnValue }: CryptokiFailure,
  work: (key: bigint) => unknown,
): boolean {
  const { cryptoki, session } = proof.context;
  const made: bigint[] = [];
  try {
    const { publicKey, privateKey } = cryptoki.generateKeyPair(
      session,
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.EC_PARAMS, Buffer.from(curve.params, 'hex')],
      ],
      [
        [CKA.TOKEN, false],
        [ATTRIBUTES[use].type, true],
      ],
    );
    made.push(publicKey, privateKey);
    work(privateKey);
    return false;
  } catch (thrown) {
    if (!(thrown instanceof CryptokiFailure)) throw thrown;
    return made.length > 0 && thrown.returnValue === returnValue;
  } finally {
    for (const half of made) cryptoki.destroy(session, half);
  }
}

function usesOf(context: ProveContext, { attributes, curveParams }: ObservedObject): Use[] {
  // SoftHSM 2.6.1 ends the whole process when a half-made key without CKA_EC_PARAMS agrees.
  const curve = curveOf(curveParams);
  const bytes = curve?.fieldBytes ?? 0;
  const agreeing = (privateKey: bigint) => curve && agree(context, { privateKey, point: curve.generator, bytes });
  return [
    signingUse(context, attributes, { type: CKM.ECDSA, data: randomBytes(32) }),
    { flag: attributes.derive === true && curve !== undefined, type: CKM.ECDH1_DERIVE, work: agreeing },
  ];
}
