/**
 * The officer key, under which a partition receives trusted keys (ADR 0021): RSA, for unwrapping only, bound to a
 * template with CKA_TRUSTED=true. Only the security officer can give a key that attribute, so nobody else unwraps
 * anything with it.
 */
import { CKA, CKK, CKM, CKO, CryptokiFailure, mechanism, rsaOaep, type Template } from '@antipode/cryptoki';
import { isOfficerKeyOf } from '../../model/identity.ts';
import type { TokenSession, WrappingSession } from '../token-session.ts';
import { trustedKeyPolicy } from './policy.ts';
import { keepsWrapWithTrusted } from './protections.ts';
import { generateUnwrapOnly, publicKeyTemplate, readPublicHalf } from './receiving-key.ts';

/**
 * Makes an officer key; undefined where the token makes none, or does not hold it to its template, or lets a key with
 * CKA_WRAP_WITH_TRUSTED be wrapped by any other. The public half stays out of the token.
 */
export function generateOfficerKey(
  context: WrappingSession,
  ckaId: Uint8Array,
): { publicHalf: Uint8Array } | undefined {
  if (!keepsWrapWithTrusted(context)) return undefined;
  return generateUnwrapOnly(
    context,
    {
      ckaId,
      label: 'antipode officer key',
      // The officer sees no private objects. Anybody can try it and gains nothing: only the officer can give
      // CKA_TRUSTED.
      isPrivate: false,
      unwraps: trustedKeyPolicy(context.keyWrap),
    },
    ({ privateKey, publicHalf }) => isUselessToTheUser(context, { officerKey: privateKey, publicHalf }),
  );
}

/** Anybody can make a public object under this id: ours is the one that the identity names. */
export function findOfficerKeys(
  { cryptoki, session }: TokenSession,
  { ckaId, identity }: { ckaId: Uint8Array; identity: Uint8Array },
): { handle: bigint; publicHalf: Uint8Array }[] {
  return cryptoki
    .find(session, [
      [CKA.CLASS, CKO.PRIVATE_KEY],
      [CKA.ID, ckaId],
    ])
    .flatMap((handle) => {
      const publicHalf = readPublicHalf({ cryptoki, session }, handle);
      return publicHalf !== undefined && isOfficerKeyOf(identity, publicHalf) ? [{ handle, publicHalf }] : [];
    });
}

/**
 * Objects that look like an officer key whose identity is unknown. A key under this id that can leave the token, or has
 * another use, is not one.
 */
export function findUnwrapOnly({ cryptoki, session }: TokenSession, ckaId: Uint8Array): bigint[] {
  return cryptoki.find(session, [
    [CKA.CLASS, CKO.PRIVATE_KEY],
    [CKA.KEY_TYPE, CKK.RSA],
    [CKA.TOKEN, true],
    [CKA.ID, ckaId],
    [CKA.PRIVATE, false],
    [CKA.EXTRACTABLE, false],
    [CKA.DECRYPT, false],
    [CKA.SIGN, false],
    [CKA.UNWRAP, true],
  ]);
}

/**
 * Tries with a throw-away key that a session of the user unwraps nothing with it: neither by the template nor around
 * it.
 */
function isUselessToTheUser(
  { cryptoki, session, keyWrap }: WrappingSession,
  { officerKey, publicHalf }: { officerKey: bigint; publicHalf: Uint8Array },
): boolean {
  const made: bigint[] = [];
  const attempt = (work: () => bigint): boolean => {
    try {
      made.push(work());
      return true;
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure) return false;
      throw thrown;
    }
  };
  try {
    const publicKey = cryptoki.create(session, publicKeyTemplate(publicHalf));
    const secret = cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [CKA.EXTRACTABLE, true],
    ]);
    made.push(publicKey, secret);
    const sealed = cryptoki.wrapKey(session, rsaOaep(), publicKey, secret);
    const policy = trustedKeyPolicy(keyWrap);
    const templates: Template[] = [
      policy,
      policy.map((entry) => (entry[0] === CKA.TRUSTED ? [CKA.TRUSTED, false] : entry)),
      policy.filter(([attribute]) => attribute !== CKA.TRUSTED),
      [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.EXTRACTABLE, true],
      ],
    ];
    const unwraps = templates.some((template) =>
      [true, false].some((isPrivate) =>
        attempt(() =>
          cryptoki.unwrapKey(session, rsaOaep(), officerKey, sealed, [
            [CKA.TOKEN, false],
            [CKA.PRIVATE, isPrivate],
            ...template,
          ]),
        ),
      ),
    );
    const decrypts = attempt(() => {
      cryptoki.decrypt(session, rsaOaep(), officerKey, sealed);
      return secret;
    });
    return !unwraps && !decrypts;
  } finally {
    for (const handle of new Set(made)) cryptoki.tryCall('C_DestroyObject', session, handle);
  }
}
