/** What somebody does who may load the module and has no PIN: whatever it is, nothing of the partition stops for it. */
import { randomBytes } from 'node:crypto';
import { scrub } from '@antipode/hsm-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ATTRIBUTES } from '../../packages/hsm-core/src/model/attributes.ts';
import { CKA, CKK, CKO, P256_PARAMS } from '../../packages/hsm-core/src/pkcs11/constants.ts';
import type { Cryptoki, Template } from '../../packages/hsm-core/src/pkcs11/cryptoki.ts';
import { label } from '../attacks/support/templates.ts';
import { onToken, withoutPin } from '../support/raw-token.ts';
import { TokenPair } from '../support/token-pair.ts';

let pair: TokenPair;
beforeEach(async () => {
  pair = await TokenPair.make();
});
afterEach(() => pair.close());

/** 0x04 and 64 bytes that are no point of P-256, as a DER octet string. */
const OFF_CURVE = Buffer.concat([Buffer.from('044104', 'hex'), Buffer.alloc(64, 7)]);

const publicKey = (point: Uint8Array, ...template: Template): Template => [
  [CKA.CLASS, CKO.PUBLIC_KEY],
  [CKA.KEY_TYPE, CKK.EC],
  [CKA.TOKEN, true],
  [ATTRIBUTES.private.type, false],
  [CKA.EC_PARAMS, P256_PARAMS],
  [CKA.EC_POINT, point],
  ...template,
];

const privateKey = (...template: Template): Template => [
  [CKA.CLASS, CKO.PRIVATE_KEY],
  [CKA.KEY_TYPE, CKK.EC],
  [CKA.TOKEN, true],
  [ATTRIBUTES.private.type, false],
  [ATTRIBUTES.sensitive.type, false],
  [ATTRIBUTES.extractable.type, true],
  [ATTRIBUTES.sign.type, true],
  [CKA.EC_PARAMS, P256_PARAMS],
  [CKA.VALUE, Buffer.alloc(32, 7)],
  ...template,
];

const idOf = (text: string, objectClass: number): Buffer =>
  onToken(pair.a.token, (cryptoki, session) => {
    const [handle] = cryptoki.find(session, [...label(text), [CKA.CLASS, objectClass]]);
    return Buffer.from(cryptoki.attributes(session, handle!, [ATTRIBUTES.id.type])!.get(ATTRIBUTES.id.type)!);
  });

const anybody = <T>(work: (cryptoki: Cryptoki, session: bigint) => T): T => withoutPin(pair.a.token, work);

describe('a session that never logged in', () => {
  it('stops no capture, apply or scrub with a public point that is off its curve', async () => {
    pair.a.token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'tls', '--id', '02', '--extractable');
    // In the place of the true one: the ids order the candidates.
    pair.a.token.tool('--delete-object', '--type', 'pubkey', '--id', '02');
    const id: Template = [[ATTRIBUTES.id.type, Buffer.of(2)]];
    anybody((cryptoki, session) => void cryptoki.create(session, publicKey(OFF_CURVE, ...id, ...label('tls'))));
    await pair.restart();
    const sealed = await pair.replicate();
    expect(sealed.generation.entries.filter(({ objectClass }) => objectClass === 'private-key')).toHaveLength(1);
    const { provider, keyring } = pair.b;
    const report = await scrub({ provider, keyring, target: sealed, known: new Map() });
    expect([report.proof.failed, report.missing, report.altered]).toEqual([0, [], []]);
  });

  it('does not learn the id of the identity key', () => {
    anybody((cryptoki, session) => {
      expect(cryptoki.find(session, label('antipode identity'))).toEqual([]);
      expect(cryptoki.find(session, [[CKA.TOKEN, true]])).toEqual([]);
    });
  });

  it('cannot put a second key beside the identity key or a domain key, even where it knows the id', async () => {
    const identity = idOf('antipode identity', CKO.PRIVATE_KEY);
    const domainKey = idOf('antipode domain key payments 1', CKO.SECRET_KEY);
    anybody((cryptoki, session) => {
      cryptoki.create(session, privateKey([ATTRIBUTES.id.type, identity]));
      cryptoki.create(session, [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.TOKEN, true],
        [ATTRIBUTES.private.type, false],
        [ATTRIBUTES.wrap.type, true],
        [CKA.VALUE, randomBytes(32)],
        [ATTRIBUTES.id.type, domainKey],
      ]);
    });
    await pair.restart();
    expect([pair.a.keyring.missing, pair.a.keyring.identity.sha256]).toEqual([[], pair.a.fingerprint]);
  });

  it('hides no object from captures under an id that was announced for a key of ours', async () => {
    const announced = randomBytes(16);
    anybody((cryptoki, session) => void cryptoki.create(session, privateKey([ATTRIBUTES.id.type, announced])));
    pair.a.announced.push(announced);
    await pair.restart();
    const own = pair.a.keyring.ownHandles;
    const hidden = (await pair.a.provider.inventory()).filter(
      ({ handle, attributes: { id } }) => own.has(handle) && Buffer.compare(id ?? Buffer.of(), announced) === 0,
    );
    expect(hidden).toEqual([]);
  });
});
