/**
 * Tries whether a key can be used at all, when there is nothing to compare with: a key that an unwrap left half made
 * shows its class and, at times, its names, but serves no use (facts: pkcs11, 7). The doubt is always for the key.
 */
import { randomBytes } from 'node:crypto';
import { CANNOT_EXERCISE, CKA, CKK, CKM, CryptokiFailure, derivationFrom, mechanism } from '@antipode/cryptoki';
import { curveOf } from '../../model/curve.ts';
import type { ObservedObject } from '../../model/object.ts';
import type { Challenge } from '../../provider/provider.ts';
import { agree } from '../reading/find-public-half.ts';
import { isSoftwareRefusal } from '../reading/software-refusal.ts';
import { type ProveContext, THROW_AWAY } from './prove.ts';

/** One way to use a key. */
interface Use {
  readonly flag: boolean | undefined;
  /** Absent where the key's own list of mechanisms does not matter. */
  readonly type?: number;
  readonly work: (key: bigint) => unknown;
}

export function challenge(context: ProveContext, handle: bigint): Challenge {
  const object = context.objects.read(handle);
  if (object === undefined || object.attributes.alwaysAuthenticate === true) return 'untried';
  const { allowedMechanisms: allowed } = object.attributes;
  let answer: Challenge = 'untried';
  for (const use of usesOf(context, object)) {
    if (!use.flag || (use.type !== undefined && allowed?.length && !allowed.includes(use.type))) continue;
    const refusal = refusalOf(() => use.work(handle));
    if (refusal === undefined) return 'works';
    if (isOfKey(context, object, use, refusal)) answer = 'refuses';
  }
  return answer;
}

function usesOf(context: ProveContext, { keyType, curveParams, attributes }: ObservedObject): Use[] {
  const { cryptoki, session, keyWrap, domainKey } = context;
  const { encrypt, decrypt, sign, wrap, derive, extractable, wrapWithTrusted } = attributes;
  const block = randomBytes(32);
  const signing = (type: number): Use => ({
    flag: sign,
    type,
    work: (key) => cryptoki.sign(session, mechanism(type), key, block),
  });
  const [ecb, cbc] = [mechanism(CKM.AES_ECB), mechanism(CKM.AES_CBC, Buffer.alloc(16))];
  const uses: Use[] = [
    {
      flag: extractable === true && wrapWithTrusted !== true,
      work: (key) => cryptoki.wrapKey(session, keyWrap, domainKey, key),
    },
  ];
  switch (keyType) {
    case 'aes':
      return [
        ...uses,
        ...[ecb, cbc].flatMap((how): Use[] => [
          { flag: encrypt, type: how.type, work: (key) => cryptoki.encrypt(session, how, key, block) },
          { flag: decrypt, type: how.type, work: (key) => cryptoki.decrypt(session, how, key, block) },
        ]),
        signing(CKM.AES_CMAC),
        { flag: wrap, type: keyWrap.type, work: (key) => wrapThrowAway(context, key, block) },
        { flag: derive, type: CKM.AES_ECB_ENCRYPT_DATA, work: (key) => deriveThrowAway(context, key, block) },
      ];
    case 'generic-secret':
      return [...uses, signing(CKM.SHA256_HMAC), signing(CKM.SHA_1_HMAC)];
    case 'rsa':
      return [...uses, signing(CKM.SHA256_RSA_PKCS), signing(CKM.RSA_PKCS)];
    case 'ec': {
      // SoftHSM 2.6.1 ends the whole process when a half-made key without CKA_EC_PARAMS agrees.
      const curve = curveOf(curveParams);
      const bytes = curve?.fieldBytes ?? 0;
      const agreeing = (privateKey: bigint) =>
        curve && agree(cryptoki, session, { privateKey, point: curve.generator, bytes });
      return [
        ...uses,
        signing(CKM.ECDSA),
        { flag: derive === true && curve !== undefined, type: CKM.ECDH1_DERIVE, work: agreeing },
      ];
    }
    default:
      return uses;
  }
}

/** SoftHSM says "mechanism invalid" of an AES key without a value, and of a mechanism that it does not have. */
function isOfKey(context: ProveContext, { keyType }: ObservedObject, { work }: Use, refusal: string): boolean {
  if (refusal === 'CKR_KEY_FUNCTION_NOT_PERMITTED') return false;
  if (!CANNOT_EXERCISE.has(refusal)) return true;
  if (keyType !== 'aes' || refusal !== 'CKR_MECHANISM_INVALID') return false;
  const { cryptoki, session } = context;
  const sound = cryptoki.create(session, [
    ...THROW_AWAY.filter(([type]) => type !== CKA.KEY_TYPE),
    [CKA.KEY_TYPE, CKK.AES],
    [CKA.VALUE, randomBytes(32)],
  ]);
  try {
    return refusalOf(() => work(sound)) === undefined;
  } finally {
    cryptoki.destroy(session, sound);
  }
}

function wrapThrowAway({ cryptoki, session, keyWrap }: ProveContext, key: bigint, value: Uint8Array): void {
  const throwAway = cryptoki.create(session, [...THROW_AWAY, [CKA.VALUE, value]]);
  try {
    cryptoki.wrapKey(session, keyWrap, key, throwAway);
  } finally {
    cryptoki.destroy(session, throwAway);
  }
}

function deriveThrowAway({ cryptoki, session }: ProveContext, key: bigint, block: Uint8Array): void {
  const how = derivationFrom(CKM.AES_ECB_ENCRYPT_DATA, block);
  cryptoki.destroy(session, cryptoki.deriveKey(session, how, key, [...THROW_AWAY, [CKA.VALUE_LEN, 32]]));
}

function refusalOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof CryptokiFailure) return thrown.returnValue;
    // What software does not do says nothing of the key.
    if (isSoftwareRefusal(thrown)) return 'CKR_MECHANISM_PARAM_INVALID';
    throw thrown;
  }
}
