/**
 * The key under which a partition receives domain keys: RSA, in the token, for unwrapping only, with an unwrap template that
 * allows nothing but a domain key as it has to be. Whoever has the PIN can have the identity key sign anything, over a point of
 * his own even; what is sent under this key he still gets in the token alone, unextractable.
 */
import { createPublicKey, randomBytes } from 'node:crypto';
import { ATTRIBUTES } from '../../model/attributes.ts';
import { rsaPublicHalf } from '../../model/public-half.ts';
import { CKA, CKG_MGF1_SHA1, CKK, CKM, CKO } from '../constants.ts';
import { type Cryptoki, type Mechanism, mechanism, structure, type Template, ulong } from '../cryptoki.ts';
import { CryptokiFailure } from '../return-values.ts';

interface Context {
  readonly cryptoki: Cryptoki;
  readonly session: bigint;
}

const MODULUS_BITS = 3072;
const type = (name: keyof typeof ATTRIBUTES): number => ATTRIBUTES[name].type;

/** SHA-1 with MGF1: what every token has. OAEP asks no more of the hash than that nobody finds a preimage. */
export const oaep = (): Mechanism => structure(CKM.RSA_PKCS_OAEP, [CKM.SHA_1, CKG_MGF1_SHA1, 1, 0, 0]);

/**
 * Makes one that unwraps what `policy` says and nothing else; undefined where the token makes none, or one that it does not
 * hold to its template. The public half stays out of the token.
 */
export function generateReceivingKey(
  context: Context,
  { ckaId, policy }: { ckaId: Uint8Array; policy: Template },
): { publicHalf: Uint8Array } | undefined {
  // A template in a template is more than SoftHSM takes.
  const unwraps = policy.filter(([attribute]) => attribute !== CKA.UNWRAP_TEMPLATE);
  return generateUnwrapOnly(
    context,
    { ckaId, label: 'antipode receiving key', isPrivate: true, unwraps },
    ({ privateKey, publicHalf }) => holdsToItsTemplate(context, { receiver: privateKey, publicHalf, policy }),
  );
}

/**
 * Makes an RSA key that unwraps what `unwraps` says, and is of no other use. It is destroyed again if the token does not make
 * it, or `holds` does not find it as it has to be: then undefined.
 */
export function generateUnwrapOnly(
  context: Context,
  options: {
    readonly ckaId: Uint8Array;
    readonly label: string;
    readonly isPrivate: boolean;
    readonly unwraps: Template;
  },
  holds: (pair: { privateKey: bigint; publicHalf: Uint8Array }) => boolean,
): { publicHalf: Uint8Array } | undefined {
  const { cryptoki, session } = context;
  const { ckaId, label, isPrivate, unwraps } = options;
  const made: bigint[] = [];
  try {
    const { publicKey, privateKey } = cryptoki.generateKeyPair(
      session,
      mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        ...(isPrivate ? [] : ([[type('private'), false]] as Template)),
        [CKA.MODULUS_BITS, MODULUS_BITS],
        [CKA.PUBLIC_EXPONENT, Uint8Array.of(1, 0, 1)],
        [type('wrap'), true],
      ],
      [
        [CKA.TOKEN, true],
        [type('private'), isPrivate],
        [type('label'), Buffer.from(label)],
        [type('id'), ckaId],
        [type('sensitive'), true],
        [type('extractable'), false],
        [type('decrypt'), false],
        [type('sign'), false],
        [type('signRecover'), false],
        [type('unwrap'), true],
        [type('allowedMechanisms'), ulong(CKM.RSA_PKCS_OAEP)],
        [CKA.UNWRAP_TEMPLATE, unwraps],
        [type('copyable'), false],
        [type('modifiable'), false],
      ],
    );
    made.push(privateKey);
    const publicHalf = readPublicHalf(context, publicKey);
    cryptoki.destroy(session, publicKey);
    if (publicHalf !== undefined && holds({ privateKey, publicHalf })) return { publicHalf };
  } catch (thrown) {
    if (!(thrown instanceof CryptokiFailure)) throw thrown;
  }
  for (const handle of made) cryptoki.destroy(session, handle);
  return undefined;
}

/** The public half of a receiving key that lies in the token, as the private key shows it. */
export function readPublicHalf({ cryptoki, session }: Context, key: bigint): Uint8Array | undefined {
  const read = cryptoki.attributes(session, key, [CKA.MODULUS, CKA.PUBLIC_EXPONENT]);
  const [modulus, exponent] = [read?.get(CKA.MODULUS), read?.get(CKA.PUBLIC_EXPONENT)];
  return modulus?.length && exponent?.length ? new Uint8Array(rsaPublicHalf(modulus, exponent)) : undefined;
}

/** Wraps a session domain key for whoever holds the receiving key, and the result under the exchange key. */
export function wrapForReceiver(
  { cryptoki, session }: Context,
  {
    publicHalf,
    domainKey,
    exchangeKey,
    keyWrap,
  }: { publicHalf: Uint8Array; domainKey: bigint; exchangeKey: bigint; keyWrap: Mechanism },
): Uint8Array {
  const made: bigint[] = [];
  const keep = (handle: bigint): bigint => {
    made.push(handle);
    return handle;
  };
  try {
    const receiver = keep(cryptoki.create(session, publicKeyTemplate(publicHalf)));
    const sealed = cryptoki.wrapKey(session, oaep(), receiver, domainKey);
    // Inside the exchange: who learns the receiving key one day must not open what was recorded before.
    const carried = keep(cryptoki.create(session, [...CARRIED, [CKA.VALUE, sealed]]));
    return new Uint8Array(cryptoki.wrapKey(session, keyWrap, exchangeKey, carried));
  } finally {
    for (const handle of made) cryptoki.destroy(session, handle);
  }
}

/** Undoes {@link wrapForReceiver}: what `template` names, and no other key, comes out. */
export function unwrapAsReceiver(
  { cryptoki, session }: Context,
  {
    receiver,
    exchangeKey,
    keyWrap,
    blob,
    template,
  }: { receiver: bigint; exchangeKey: bigint; keyWrap: Mechanism; blob: Uint8Array; template: Template },
): bigint {
  const sealed = openCarried({ cryptoki, session }, { exchangeKey, keyWrap, blob });
  return cryptoki.unwrapKey(session, oaep(), receiver, sealed, template);
}

/** What crossed under the exchange key, still wrapped for the key that it was sent to. */
export function openCarried(
  { cryptoki, session }: Context,
  { exchangeKey, keyWrap, blob }: { exchangeKey: bigint; keyWrap: Mechanism; blob: Uint8Array },
): Uint8Array {
  const carried = cryptoki.unwrapKey(session, keyWrap, exchangeKey, blob, CARRIED);
  try {
    const sealed = cryptoki.attributes(session, carried, [CKA.VALUE])?.get(CKA.VALUE);
    if (sealed === undefined) throw new CryptokiFailure('C_GetAttributeValue', CKR_ATTRIBUTE_SENSITIVE);
    return new Uint8Array(sealed);
  } finally {
    cryptoki.destroy(session, carried);
  }
}

const CKR_ATTRIBUTE_SENSITIVE = 0x11;

/** Not a key, but what is to be read on the other side: wrapped in another way already. */
const CARRIED: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.TOKEN, false],
  [type('private'), true],
  [type('sensitive'), false],
  [type('extractable'), true],
];

export function publicKeyTemplate(publicHalf: Uint8Array): Template {
  const { n, e } = createPublicKey({ key: Buffer.from(publicHalf), format: 'der', type: 'spki' }).export({
    format: 'jwk',
  });
  return [
    [CKA.CLASS, CKO.PUBLIC_KEY],
    [CKA.KEY_TYPE, CKK.RSA],
    [CKA.TOKEN, false],
    [CKA.MODULUS, Buffer.from(n!, 'base64url')],
    [CKA.PUBLIC_EXPONENT, Buffer.from(e!, 'base64url')],
    [type('wrap'), true],
  ];
}

/** Tries with a throw-away key what an attacker with the PIN would, and that an honest delivery comes through. */
function holdsToItsTemplate(
  { cryptoki, session }: Context,
  { receiver, publicHalf, policy }: { receiver: bigint; publicHalf: Uint8Array; policy: Template },
): boolean {
  const made: bigint[] = [];
  const attempt = (work: () => bigint): bigint | undefined => {
    try {
      const handle = work();
      made.push(handle);
      return handle;
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure) return undefined;
      throw thrown;
    }
  };
  try {
    const publicKey = attempt(() => cryptoki.create(session, publicKeyTemplate(publicHalf)));
    const secret = attempt(() =>
      cryptoki.create(session, [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.TOKEN, false],
        [type('extractable'), true],
        [CKA.VALUE, randomBytes(32)],
      ]),
    );
    if (publicKey === undefined || secret === undefined) return false;
    const sealed = cryptoki.wrapKey(session, oaep(), publicKey, secret);
    const unwrap = (template: Template): bigint | undefined =>
      attempt(() => cryptoki.unwrapKey(session, oaep(), receiver, sealed, [[CKA.TOKEN, false], ...template]));
    const honest = unwrap(policy);
    const wider: Template[] = [
      [[type('sensitive'), false]],
      [[type('extractable'), true]],
      [[type('decrypt'), true]],
      [[type('derive'), true]],
      [[type('modifiable'), true]],
      [[CKA.KEY_TYPE, CKK.GENERIC_SECRET]],
    ];
    const isBound = wider.every((changes) => unwrap(changed(policy, changes)) === undefined);
    const keyAlone = attempt(() => {
      cryptoki.decrypt(session, oaep(), receiver, sealed);
      return secret;
    });
    return honest !== undefined && isBound && keyAlone === undefined;
  } finally {
    for (const handle of new Set(made)) cryptoki.tryCall('C_DestroyObject', session, handle);
  }
}

const changed = (policy: Template, changes: Template): Template =>
  policy.map((entry) => changes.find(([attribute]) => attribute === entry[0]) ?? entry);
