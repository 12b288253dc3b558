/** An attacker with the PIN of the user, not of the security officer, against keys that only a trusted key may wrap. */
import {
  CKA,
  CKG_MGF1_SHA1,
  CKK,
  CKM,
  CKO,
  CKU_SO,
  type Cryptoki,
  mechanism,
  structure,
  type Template,
} from '@antipode/cryptoki';
import { hasOfficerKey } from '@antipode/hsm-core';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { enrolTogether, TestMember } from '../support/members.ts';
import { onToken, withoutPin } from '../support/raw-token.ts';
import { type AnyToken, OFFICER_PIN, type TestToken, USER_PIN } from '../support/tokens.ts';
import { attack, DEVICES } from './support/device.ts';
import { AES_SESSION_KEY, flags, id, NEW_AES } from './support/templates.ts';

const KEY_WRAP = mechanism(CKM.AES_KEY_WRAP_PAD);
const OAEP = structure(CKM.RSA_PKCS_OAEP, [CKM.SHA_1, CKG_MGF1_SHA1, 1, 0, 0]);
const GUARD = ATTRIBUTES.wrapWithTrusted.type;
const guardedKey: Template = [
  ...NEW_AES,
  ...flags({ sensitive: true, extractable: true, encrypt: true }),
  [GUARD, true],
  ...id(Buffer.from('guarded')),
];

const returned = (work: () => unknown): string => {
  try {
    work();
    return 'CKR_OK';
  } catch (thrown) {
    return String((thrown as { returnValue?: string }).returnValue);
  }
};

/** A key of his own, of which he knows everything. */
const ownKey = (cryptoki: Cryptoki, session: bigint): bigint =>
  cryptoki.create(session, [
    ...AES_SESSION_KEY,
    ...flags({ wrap: true, unwrap: true }),
    [CKA.VALUE, Buffer.alloc(32, 7)],
  ]);

/** Wraps a guarded key, unwraps it as an ordinary one, and takes that out. */
function detour(cryptoki: Cryptoki, session: bigint, trusted: bigint): string {
  const [guarded] = cryptoki.find(session, id(Buffer.from('guarded')));
  const blob = cryptoki.wrapKey(session, KEY_WRAP, trusted, guarded!);
  return returned(() => {
    const plain: Template = [...AES_SESSION_KEY, ...flags({ sensitive: true, extractable: true })];
    const unwrapped = cryptoki.unwrapKey(session, KEY_WRAP, trusted, blob, plain);
    cryptoki.wrapKey(session, KEY_WRAP, ownKey(cryptoki, session), unwrapped);
  });
}

describe.each(DEVICES)('a guarded key, on $name', (device) => {
  let member: TestMember<AnyToken>;
  const token = () => member.token as TestToken;

  beforeAll(async () => {
    member = await TestMember.on(device.makeToken('guarded'), { withReceivingKey: true, withOfficerKey: true });
    if (device.name !== 'softhsm') return;
    await enrolTogether([member], { group: 'payments', version: 1 });
    await member.trust();
    onToken(token(), (cryptoki, session) => cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), guardedKey));
  });
  afterAll(() => member?.close());

  attack(device, 'take-out-guarded', async () => {
    if (!hasOfficerKey(member.identity.publicHalf)) return 'not-applicable';
    // A domain key that its officer simply trusts, as the standard allows it.
    withoutPin(token(), (cryptoki, session) => {
      cryptoki.call('C_Login', session, CKU_SO, Buffer.from(OFFICER_PIN), OFFICER_PIN.length);
      const naive = cryptoki.create(session, [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.TOKEN, false],
        ...flags({ private: false, sensitive: true, extractable: false, wrap: true, unwrap: true }),
        [CKA.VALUE, Buffer.alloc(32, 9)],
        [CKA.TRUSTED, true],
      ]);
      cryptoki.call('C_Logout', session);
      cryptoki.login(session, Buffer.from(USER_PIN));
      expect(detour(cryptoki, session, naive)).toBe('CKR_OK');
    });
    onToken(token(), (cryptoki, session) => {
      const [trusted] = cryptoki.find(session, id(member.domainKeys[0]!.trusted!.ckaId));
      const [guarded] = cryptoki.find(session, id(Buffer.from('guarded')));
      expect(detour(cryptoki, session, trusted!)).toBe('CKR_TEMPLATE_INCONSISTENT');
      const own = ownKey(cryptoki, session);
      expect(returned(() => cryptoki.wrapKey(session, KEY_WRAP, own, guarded!))).toBe('CKR_KEY_NOT_WRAPPABLE');
      expect(returned(() => cryptoki.setAttributes(session, guarded!, [[GUARD, false]]))).toBe(
        'CKR_ATTRIBUTE_READ_ONLY',
      );
      expect(returned(() => cryptoki.copy(session, guarded!, [[GUARD, false]]))).toBe('CKR_ATTRIBUTE_READ_ONLY');
      // Nor under another domain key of ours.
      const [domainKey] = cryptoki.find(session, id(member.domainKeys[0]!.ckaId));
      expect(returned(() => cryptoki.wrapKey(session, KEY_WRAP, domainKey!, guarded!))).toBe('CKR_KEY_NOT_WRAPPABLE');
    });
    return 'refused';
  });

  attack(device, 'conjure-trusted', async () => {
    if (!hasOfficerKey(member.identity.publicHalf)) return 'not-applicable';
    const { publicHalf } = member.keyring.officerKey!;
    onToken(token(), (cryptoki, session) => {
      const [officerKey] = cryptoki.find(session, [
        [CKA.CLASS, CKO.PRIVATE_KEY],
        [ATTRIBUTES.label.type, Buffer.from('antipode officer key')],
      ]);
      // He may wrap a key of his choice for it: the public half is known.
      const modulus = cryptoki.attributes(session, officerKey!, [CKA.MODULUS, CKA.PUBLIC_EXPONENT])!;
      const publicKey = cryptoki.create(session, [
        [CKA.CLASS, CKO.PUBLIC_KEY],
        [CKA.KEY_TYPE, CKK.RSA],
        [CKA.TOKEN, false],
        [CKA.MODULUS, modulus.get(CKA.MODULUS)!],
        [CKA.PUBLIC_EXPONENT, modulus.get(CKA.PUBLIC_EXPONENT)!],
        ...flags({ wrap: true }),
      ]);
      expect(publicHalf.length).toBeGreaterThan(256);
      const known = cryptoki.create(session, [
        ...AES_SESSION_KEY,
        ...flags({ extractable: true }),
        [CKA.VALUE, Buffer.alloc(32, 5)],
      ]);
      const sealed = cryptoki.wrapKey(session, OAEP, publicKey, known);
      const policy: Template = [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.TOKEN, false],
        ...flags({ sensitive: true, extractable: false, encrypt: false, decrypt: false, sign: false, verify: false }),
        ...flags({ derive: false, wrap: true, unwrap: true }),
        [ATTRIBUTES.allowedMechanisms.type, Buffer.from('0a21000000000000', 'hex')],
      ];
      const unwrap = (trusted: Template): string =>
        returned(() => cryptoki.unwrapKey(session, OAEP, officerKey!, sealed, [...policy, ...trusted]));
      expect([unwrap([[CKA.TRUSTED, true]]), unwrap([[CKA.TRUSTED, false]]), unwrap([])]).toEqual([
        'CKR_ATTRIBUTE_READ_ONLY',
        'CKR_TEMPLATE_INCONSISTENT',
        'CKR_TEMPLATE_INCONSISTENT',
      ]);
      expect(returned(() => cryptoki.setAttributes(session, known, [[CKA.TRUSTED, true]]))).toBe(
        'CKR_ATTRIBUTE_READ_ONLY',
      );
    });
    return 'refused';
  });
});
