/**
 * Runs everything that enrolment, capture and apply will ask of a token, by their very templates, with throw-away
 * session keys. A partition that cannot do it fails when it is opened, and not at its first failover. The quirks of the
 * token are found on the way (quirks.ts).
 */
import { CKA, CKM, CryptokiFailure, mechanism, type Template } from '@antipode/cryptoki';
import { AntipodeError } from '@antipode/runtime';
import type { Handle } from '../../model/object.ts';
import type { Protection } from '../../provider/provider.ts';
import type { UnwrapItem } from '../../provider/restorer.ts';
import { Maker, ObjectRefused } from '../maker.ts';
import { Pkcs11KeyExchange } from '../own-keys/key-exchange.ts';
import { generateP256 } from '../own-keys/p256.ts';
import { findBreaches } from '../own-keys/protections.ts';
import { type KeyQuirks, type RestoringQuirks, SOUND } from '../quirks.ts';
import type { ObjectReader } from '../reading/object-reader.ts';
import type { WrappingSession } from '../token-session.ts';

export interface TemplateFindings extends RestoringQuirks {
  /**
   * Protections that a domain key made by the real templates does not keep. Trials by other templates can show fewer.
   */
  readonly breaches: readonly Protection[];
}

/** @throws CryptokiFailure where the exchange fails; HSM_REFUSED where a key is not restored */
export async function tryTemplates(
  context: WrappingSession,
  { quirks, objects }: { quirks: KeyQuirks; objects: ObjectReader },
): Promise<TemplateFindings> {
  const exchange = new Pkcs11KeyExchange(context, quirks);
  const made: Handle[] = [];
  const keep = (handle: Handle): Handle => {
    made.push(handle);
    return handle;
  };
  try {
    const domainKey = keep((await exchange.lendDomainKey()).handle);
    const { unenforced } = quirks;
    const breaches = findBreaches(context, { key: domainKey, kind: 'secret', unenforced });
    return { ...restoreThrowAways(context, { domainKey, objects, keep }), breaches };
  } finally {
    await exchange.forget(made);
  }
}

/** Private keys count only where the token gives them. */
function restoreThrowAways(
  context: WrappingSession,
  { domainKey, objects, keep }: { domainKey: Handle; objects: ObjectReader; keep: (handle: Handle) => Handle },
): RestoringQuirks {
  const opening = { mechanism: context.keyWrap, under: domainKey, wrapping: domainKey };
  let quirks = SOUND;
  for (const { item, handle } of throwAways(context, domainKey)) {
    keep(handle);
    const maker = new Maker({ ...context, objects, quirks: { ...quirks, keepsOnePerId: false } });
    try {
      keep(maker.unwrap(opening, item, { isToken: false }));
    } catch (thrown) {
      if (!(thrown instanceof ObjectRefused)) throw thrown;
      const { returnValue = 'none' } = thrown.why;
      throw new AntipodeError('HSM_REFUSED', `the token does not restore a key of type ${item.keyType} correctly`, {
        details: { call: 'C_UnwrapKey', keyType: item.keyType, returnValue },
        cause: thrown,
      });
    }
    quirks = maker.quirks;
  }
  return quirks;
}

const LASTING: Template = [
  [CKA.PRIVATE, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, true],
];

/** Keys as applications make them, and what an apply would be given of them. @throws CryptokiFailure */
function* throwAways(context: WrappingSession, domainKey: Handle): Generator<{ item: UnwrapItem; handle: Handle }> {
  const { cryptoki, session, keyWrap } = context;
  const blobOf = (handle: Handle): Uint8Array => new Uint8Array(cryptoki.wrapKey(session, keyWrap, domainKey, handle));
  const common = { private: true, sensitive: true, extractable: true };
  const aes = cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
    [CKA.VALUE_LEN, 32],
    [CKA.TOKEN, false],
    ...LASTING,
  ]);
  const attributes = { ...common, encrypt: true, decrypt: true };
  yield { handle: aes, item: { objectClass: 'secret-key', keyType: 'aes', attributes, blob: blobOf(aes) } };

  const { privateKey, publicHalf } = generateP256(context, {
    privateKey: [[CKA.TOKEN, false], ...LASTING, [CKA.SIGN, true]],
  });
  let blob: Uint8Array;
  try {
    blob = blobOf(privateKey);
  } catch (thrown) {
    cryptoki.destroy(session, privateKey);
    if (thrown instanceof CryptokiFailure) return;
    throw thrown;
  }
  const item = {
    objectClass: 'private-key',
    keyType: 'ec',
    publicHalf,
    attributes: { ...common, sign: true },
    blob,
  } as const;
  yield { handle: privateKey, item };
}
