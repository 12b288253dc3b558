/** A token in memory that keeps templates and no keys: the self-test asks what it accepts. */
import { CKA, CKK, CKM, type Cryptoki, CryptokiFailure, mechanism, type Template } from '@antipode/cryptoki';
import { partialCryptoki } from '@antipode/cryptoki/testing';
import { expect, it } from 'vitest';
import { CURVES } from '../../model/curve.ts';
import { OCTET_STRING, tagged } from '../../model/der.ts';
import { PROTECTIONS } from '../../provider/provider.ts';
import { soundSession } from '../../testing/sound-session.ts';
import { Maker } from '../maker.ts';
import { SOUND, wantedAfter } from '../quirks.ts';
import { ObjectReader } from '../reading/object-reader.ts';
import { tryTemplates } from './templates.ts';

type Refusal = (template: ReadonlyMap<number, unknown>) => string | undefined;

const POINT = tagged(OCTET_STRING, Buffer.from(CURVES[0]!.generator));

function token(refusal: Refusal, granted: Template = []) {
  const objects = new Map<bigint, Map<number, unknown>>();
  let last = 0n;
  const keep = (template: Template): bigint => {
    objects.set(++last, new Map(template));
    return last;
  };
  const cryptoki: Partial<Cryptoki> = {
    generateKey: (_session, _mechanism, template) => keep(template),
    generateKeyPair: (_session, _mechanism, publicTemplate, privateTemplate) => ({
      publicKey: keep([...publicTemplate, [CKA.EC_POINT, POINT]]),
      privateKey: keep(privateTemplate),
    }),
    deriveKey: (_session, _mechanism, _key, template) => keep(template),
    create: (_session, template) => keep(template),
    copy: (_session, object, template) => keep([...(objects.get(object)! as Map<number, never>), ...template]),
    setAttributes: (_session, object, template) => {
      for (const [type, value] of template) objects.get(object)!.set(type, value);
    },
    wrapKey: () => Buffer.alloc(40),
    unwrapKey: (_session, _mechanism, _key, _blob, template) => {
      const returnValue = refusal(new Map(template));
      if (returnValue !== undefined) throw new CryptokiFailure('C_UnwrapKey', returnValue);
      return keep([[CKA.EXTRACTABLE, true], ...template, ...granted]);
    },
    decrypt: () => Buffer.alloc(16),
    attributes: (_session, object, types) =>
      new Map(
        types.flatMap((type) => {
          const value = objects.get(object)?.get(type);
          return value === undefined
            ? []
            : [[type, Buffer.from(typeof value === 'boolean' ? [value ? 1 : 0] : (value as Buffer))]];
        }),
      ),
    destroy: (_session, object) => objects.delete(object),
    tryCall: (_name, _session, object) => Number(!objects.delete(object as bigint)),
  };
  return { objects, cryptoki: partialCryptoki(cryptoki) };
}

function findings({ cryptoki }: { cryptoki: Cryptoki }) {
  const objects = new ObjectReader({ cryptoki, session: 1n, digestKey: new Uint8Array(32) });
  // With every protection known to be missing, none is tried.
  const context = soundSession(cryptoki);
  const quirks = { ...context, crossing: { creates: true, shows: true }, unenforced: PROTECTIONS };
  return tryTemplates(context, { quirks, objects });
}

const isPrivateKey = (template: ReadonlyMap<number, unknown>): boolean =>
  template.has(CKA.SIGN) && !template.has(CKA.ENCRYPT);

it.each<[string, Refusal, object]>([
  ['takes keys as the standard has it', () => undefined, { wantsPoint: false, omitsExtractable: false }],
  [
    'refuses CKA_EXTRACTABLE, as opencryptoki does',
    (template) => (template.get(CKA.EXTRACTABLE) === true ? 'CKR_ATTRIBUTE_READ_ONLY' : undefined),
    { wantsPoint: false, omitsExtractable: true },
  ],
  [
    'wants the point of a private EC key, as NSS does',
    (template) => (isPrivateKey(template) && !template.has(CKA.NSS_DB) ? 'CKR_TEMPLATE_INCOMPLETE' : undefined),
    { wantsPoint: true, omitsExtractable: false },
  ],
])('finds what a token wants that %s, and leaves no key behind', async (_what, refusal, expected) => {
  const simulated = token(refusal);
  expect(await findings(simulated)).toMatchObject(expected);
  expect(simulated.objects.size).toBe(0);
});

it('a kind of key that could not be tried shows what the token wants with its first key', () => {
  const isRsa = (template: ReadonlyMap<number, unknown>): boolean => template.get(CKA.KEY_TYPE) === CKK.RSA;
  const { cryptoki, objects: made } = token((template) =>
    isRsa(template) && template.has(CKA.EXTRACTABLE) ? 'CKR_ATTRIBUTE_READ_ONLY' : undefined,
  );
  const objects = new ObjectReader({ cryptoki, session: 1n, digestKey: new Uint8Array(32) });
  const keyWrap = mechanism(CKM.AES_KEY_WRAP_KWP);
  const maker = new Maker({ cryptoki, session: 1n, keyWrap, objects, quirks: { ...SOUND, keepsOnePerId: false } });
  const attributes = { private: true, sensitive: true, extractable: true, decrypt: true };
  const item = { objectClass: 'private-key', keyType: 'rsa', attributes, blob: Buffer.alloc(40) } as const;
  const handle = maker.unwrap({ mechanism: keyWrap, under: -1n, wrapping: -1n }, item);
  expect(made.get(handle)?.get(CKA.EXTRACTABLE)).toBe(true);
  expect(maker.quirks).toMatchObject({ omitsExtractable: true, wantsPoint: false });
});

it('remembers no template that did not help, and adds a point only to keys that have one', () => {
  expect(wantedAfter('CKR_TEMPLATE_INCOMPLETE', SOUND, { hasPoint: false })).toBeUndefined();
  expect(wantedAfter('CKR_TEMPLATE_INCOMPLETE', SOUND, { hasPoint: true })).toMatchObject({ wantsPoint: true });
  expect(wantedAfter('CKR_GENERAL_ERROR', SOUND, { hasPoint: true })).toBeUndefined();
  const { cryptoki } = token(() => 'CKR_ATTRIBUTE_READ_ONLY');
  const objects = new ObjectReader({ cryptoki, session: 1n, digestKey: new Uint8Array(32) });
  const keyWrap = mechanism(CKM.AES_KEY_WRAP_KWP);
  const maker = new Maker({ cryptoki, session: 1n, keyWrap, objects, quirks: { ...SOUND, keepsOnePerId: false } });
  const attributes = { private: true, sensitive: true, extractable: true, encrypt: true };
  const item = { objectClass: 'secret-key', keyType: 'aes', attributes, blob: Buffer.alloc(40) } as const;
  expect(() => maker.unwrap({ mechanism: keyWrap, under: -1n, wrapping: -1n }, item)).toThrow(
    'CKR_ATTRIBUTE_READ_ONLY',
  );
  expect(maker.quirks).toMatchObject({ omitsExtractable: false });
});

it('tells a token that makes keys wider than their templates', async () => {
  const { widens } = await findings(token(() => undefined, [[CKA.DECRYPT, true]]));
  expect([...widens]).toEqual([
    ['secret-key/aes', true],
    ['private-key/ec', true],
  ]);
});

it('refuses a token that restores no key, with the answer of the token', async () => {
  const simulated = token((template) =>
    template.get(CKA.EXTRACTABLE) === true ? 'CKR_FUNCTION_NOT_SUPPORTED' : undefined,
  );
  await expect(findings(simulated)).rejects.toMatchObject({ returnValue: 'CKR_FUNCTION_NOT_SUPPORTED' });
  expect(simulated.objects.size).toBe(0);
});
