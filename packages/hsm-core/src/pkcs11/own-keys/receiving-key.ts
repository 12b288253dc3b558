/**
 * The key under which a partition receives domain keys: RSA, in the token, for unwrapping only, with an unwrap template
 * that allows nothing but a domain key as it has to be. A holder of the PIN can have the identity key sign anything,
 * even a point of his own. A domain key that is sent under this key still reaches him in the token alone,
 * unextractable.
 */
import { createPublicKey } from 'node:crypto';
import {
  CKA,
  CKK,
  CKM,
  CKO,
  CryptokiFailure,
  type Mechanism,
  mechanism,
  rsaOaep,
  type Template,
  ulong,
} from '@antipode/cryptoki';
import { rsaPublicHalf } from '../../model/public-half.ts';
import type { TokenSession, WrappingSession } from '../token-session.ts';

const MODULUS_BITS = 3072;

/**
 * Makes one that unwraps what `policy` says and nothing else; undefined where the token makes none, or one that it does
 * not hold to its template. The public half stays out of the token.
 */
export function generateReceivingKey(
  context: TokenSession,
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
 * Makes an RSA key that unwraps what `unwraps` says, and is of no other use. It is destroyed again if the token does
 * not make it, or `holds` does not find it as it has to be: then undefined.
 */
export function generateUnwrapOnly(
  context: TokenSession,
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
        ...(isPrivate ? [] : ([[CKA.PRIVATE, false]] as Template)),
        [CKA.MODULUS_BITS, MODULUS_BITS],
        [CKA.PUBLIC_EXPONENT, Uint8Array.of(1, 0, 1)],
        [CKA.WRAP, true],
      ],
      [
        [CKA.TOKEN, true],
        [CKA.PRIVATE, isPrivate],
        [CKA.LABEL, Buffer.from(label)],
        [CKA.ID, ckaId],
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, false],
        [CKA.DECRYPT, false],
        [CKA.SIGN, false],
        [CKA.SIGN_RECOVER, false],
        [CKA.UNWRAP, true],
        [CKA.ALLOWED_MECHANISMS, ulong(CKM.RSA_PKCS_OAEP)],
        [CKA.UNWRAP_TEMPLATE, unwraps],
        [CKA.COPYABLE, false],
        [CKA.MODIFIABLE, false],
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
export function readPublicHalf({ cryptoki, session }: TokenSession, key: bigint): Uint8Array | undefined {
  const read = cryptoki.attributes(session, key, [CKA.MODULUS, CKA.PUBLIC_EXPONENT]);
  const [modulus, exponent] = [read?.get(CKA.MODULUS), read?.get(CKA.PUBLIC_EXPONENT)];
  return modulus?.length && exponent?.length ? new Uint8Array(rsaPublicHalf(modulus, exponent)) : undefined;
}

/** Wraps a session domain key for whoever holds the receiving key, and the result under the exchange key. */
export function wrapForReceiver(
  { cryptoki, session, values }: WrappingSession,
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
    const sealed = cryptoki.wrapKey(session, rsaOaep(), receiver, domainKey);
    // Inside the exchange: who learns the receiving key one day must not open what was recorded before.
    const carried = keep(values.make(sealed));
    return new Uint8Array(cryptoki.wrapKey(session, keyWrap, exchangeKey, carried));
  } finally {
    for (const handle of made) cryptoki.destroy(session, handle);
  }
}

/** Undoes {@link wrapForReceiver}: what `template` names, and no other key, comes out. */
export function unwrapAsReceiver(
  { cryptoki, session, values }: WrappingSession,
  {
    receiver,
    exchangeKey,
    keyWrap,
    blob,
    template,
  }: { receiver: bigint; exchangeKey: bigint; keyWrap: Mechanism; blob: Uint8Array; template: Template },
): bigint {
  const sealed = openCarried({ cryptoki, session, values }, { exchangeKey, keyWrap, blob });
  return cryptoki.unwrapKey(session, rsaOaep(), receiver, sealed, template);
}

/** Takes the exchange key off. The result is still wrapped for the key that it was sent to. */
export function openCarried(
  { cryptoki, session, values }: Pick<WrappingSession, 'cryptoki' | 'session' | 'values'>,
  { exchangeKey, keyWrap, blob }: { exchangeKey: bigint; keyWrap: Mechanism; blob: Uint8Array },
): Uint8Array {
  const carried = cryptoki.unwrapKey(session, keyWrap, exchangeKey, blob, values.readable);
  try {
    // Not a key, but a value that is wrapped in another way already.
    const sealed = values.read(carried);
    if (sealed === undefined) throw new CryptokiFailure('C_GetAttributeValue', 'CKR_ATTRIBUTE_SENSITIVE');
    return new Uint8Array(sealed);
  } finally {
    cryptoki.destroy(session, carried);
  }
}

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
    [CKA.WRAP, true],
  ];
}

/** Tries with a throw-away key what an attacker with the PIN would, and that an honest delivery comes through. */
function holdsToItsTemplate(
  { cryptoki, session }: TokenSession,
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
      cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
        [CKA.VALUE_LEN, 32],
        [CKA.TOKEN, false],
        [CKA.EXTRACTABLE, true],
      ]),
    );
    if (publicKey === undefined || secret === undefined) return false;
    const sealed = cryptoki.wrapKey(session, rsaOaep(), publicKey, secret);
    const unwrap = (template: Template): bigint | undefined =>
      attempt(() => cryptoki.unwrapKey(session, rsaOaep(), receiver, sealed, [[CKA.TOKEN, false], ...template]));
    const honest = unwrap(policy);
    const wider: Template[] = [
      [[CKA.SENSITIVE, false]],
      [[CKA.EXTRACTABLE, true]],
      [[CKA.DECRYPT, true]],
      [[CKA.DERIVE, true]],
      [[CKA.MODIFIABLE, true]],
      [[CKA.KEY_TYPE, CKK.GENERIC_SECRET]],
    ];
    const isBound = wider.every((changes) => unwrap(changed(policy, changes)) === undefined);
    const keyAlone = attempt(() => {
      cryptoki.decrypt(session, rsaOaep(), receiver, sealed);
      return secret;
    });
    return honest !== undefined && isBound && keyAlone === undefined;
  } finally {
    for (const handle of new Set(made)) cryptoki.tryCall('C_DestroyObject', session, handle);
  }
}

const changed = (policy: Template, changes: Template): Template =>
  policy.map((entry) => changes.find(([attribute]) => attribute === entry[0]) ?? entry);
