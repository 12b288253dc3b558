/**
 * The claims of `partition attributes` (set, carried, narrowed, lost) match two real tokens: the source's, where an
 * application made the object, and the standby's, where it was restored. The claims come from the one table of
 * attributes, and every attribute of the source has one (I13).
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { CKA, CKO, P256_PARAMS } from '@antipode/cryptoki';
import { becomesOf } from '@antipode/hsm-core';
import type { ObjectClass } from '@antipode/hsm-core/testing';
import { ATTRIBUTES, type AttributeName, attributesOf, NOT_CARRIED, paramsIn } from '@antipode/hsm-core/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { flags, label } from '../../attacks/support/templates.ts';
import {
  certificateOf,
  dataOf,
  makeAes,
  makePair,
  makeRsa,
  makeSecret,
  secretOf,
  TokenPair,
} from '../../support/token-pair.ts';

let pair: TokenPair;
beforeAll(async () => {
  pair = await TokenPair.make();
});
afterAll(() => pair.close());

const CLASSES: Record<ObjectClass, number> = {
  'secret-key': CKO.SECRET_KEY,
  'private-key': CKO.PRIVATE_KEY,
  'public-key': CKO.PUBLIC_KEY,
  certificate: CKO.CERTIFICATE,
  data: CKO.DATA,
  'domain-parameters': CKO.DOMAIN_PARAMETERS,
};

/** CK_UNAVAILABLE_INFORMATION: how SoftHSM says that it did not make a key. */
const UNAVAILABLE = 'ff'.repeat(8);

it('each attribute of each kind of object becomes what is said of it', async () => {
  const { source, standby } = pair;
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  const secp256k1 = paramsIn(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })))!;
  const date = [ATTRIBUTES.startDate.type, Buffer.from('20260101')] as const;
  await makeAes(source, ...label('aes'), ...flags({ encrypt: true, decrypt: true }));
  await makeAes(source, ...label('aes for one use'), ...flags({ unwrap: true, encrypt: false }));
  await makeAes(
    source,
    ...label('aes fixed'),
    ...flags({ sign: true }),
    [ATTRIBUTES.copyable.type, false],
    [ATTRIBUTES.modifiable.type, false],
  );
  await makeSecret(source, 32, ...label('generic'), ...flags({ sign: true }), [
    ATTRIBUTES.allowedMechanisms.type,
    Buffer.from('5102000000000000', 'hex'),
  ]);
  await source.create(
    secretOf(randomBytes(32), ...label('readable'), [ATTRIBUTES.sensitive.type, false]).filter(
      ([type, value]) => type !== ATTRIBUTES.sensitive.type || value === false,
    ),
  );
  await makeRsa(source, label('rsa'), ...flags({ sign: true }));
  await makePair(source, P256_PARAMS, ...label('ec'));
  await makePair(source, secp256k1, ...label('secp256k1'));
  await source.create(
    certificateOf(
      randomBytes(300),
      ...label('certificate'),
      date,
      [0x089, Buffer.from('http://a.example/c')],
      [0x08a, Buffer.alloc(20, 1)],
    ),
  );
  await source.create(certificateOf(randomBytes(300), ...label('private certificate'), ...flags({ private: true })));
  await source.create(
    dataOf(Buffer.from('value'), ...label('data'), [ATTRIBUTES.application.type, Buffer.from('app')]),
  );
  const { sealed, notCarried } = await pair.group.capture(pair.a);
  await pair.apply(sealed!);

  const kinds = new Set<string>();
  for (const entry of sealed!.generation.entries) {
    const { objectClass, attributes, objectId } = entry;
    const name = Buffer.from(attributes.label!).toString();
    kinds.add(`${objectClass} ${name}`);
    const found = await Promise.all(
      [source, standby].map((token) => token.find([[CKA.CLASS, CLASSES[objectClass]], ...label(name)])),
    );
    expect([name, ...found.map(({ length }) => length)]).toEqual([name, 1, 1]);
    const read = async (type: number): Promise<string[]> =>
      Promise.all(
        [source, standby].map(async (token, index) => {
          try {
            return Buffer.from((await token.attributes(found[index]![0]!, [type])).get(type) ?? []).toString('hex');
          } catch (thrown) {
            return `refused ${(thrown as { returnValue?: string }).returnValue}`;
          }
        }),
      );
    const becomes = becomesOf(entry);
    const lost = notCarried.get(objectId) ?? [];
    const claims = new Map<AttributeName, string>();
    for (const [claim, names] of Object.entries(becomes) as [string, AttributeName[]][])
      for (const one of names) {
        expect([name, one, claims.get(one)]).toEqual([name, one, undefined]);
        claims.set(one, claim);
      }
    for (const one of attributesOf(objectClass)) {
      // The value of a key is what is sealed, and no token gives it.
      if (one === 'value' && objectClass !== 'certificate') continue;
      const [there, here] = await read(ATTRIBUTES[one].type);
      const claim = claims.get(one);
      const said = [name, one, claim, there, here];
      if (claim === 'set') expect(said).toEqual([name, one, claim, there, there]);
      else if (claim === 'narrowed') expect(said).toEqual([name, one, claim, '00', '01']);
      else if (claim === undefined && there !== '' && there !== UNAVAILABLE && !there!.startsWith('refused'))
        expect(said).toEqual([name, one, 'some claim', there, here]);
    }
    for (const [one, { type, classes }] of Object.entries(NOT_CARRIED)) {
      if (!classes.includes(objectClass)) continue;
      const [there, here] = await read(type);
      const isThere = (value = ''): boolean => !value.startsWith('refused') && /[1-9a-f]/.test(value);
      expect([name, one, isThere(there), isThere(here)]).toEqual([name, one, lost.includes(one), false]);
    }
  }
  expect(kinds.size).toBe(14);
});
