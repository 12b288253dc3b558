/** Actions of somebody who can load the module and has no PIN. None of them stops the partition. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CKA, CKK, CKO, type Cryptoki, P256_PARAMS, type Template } from '@antipode/cryptoki';
import { rehearse, scrub } from '@antipode/hsm-core';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';
import { systemClock } from '@antipode/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { label } from '../../attacks/support/templates.ts';
import { onToken, withoutPin } from '../../support/raw-token.ts';
import { certificateOf, TokenPair } from '../../support/token-pair.ts';
import { SOFTHSM_MODULE, type TestToken } from '../../support/tokens.ts';

let pair: TokenPair;
beforeEach(async () => {
  pair = await TokenPair.make();
});
afterEach(() => pair.close());

/** 0x04 and 64 bytes that are not a point of P-256, as a DER octet string. */
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
    const report = await scrub({ provider, keyring, clock: systemClock, target: sealed, known: new Map() });
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

  it('stops no drill with public objects in the scratch partition, under whatever names', async () => {
    pair.a.token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'tls', '--id', '02', '--extractable');
    const target = await pair.group.captured(pair.a);
    withoutLogin(pair.b.token, '--write-object', textFile('of nobody'), '--type', 'data', '--label', 'tls');
    withoutPin(pair.b.token, (cryptoki, session) => {
      cryptoki.create(session, [...certificateOf(randomBytes(300)), ...idAndLabel('02', 'tls')]);
      cryptoki.create(session, publicKey(OFF_CURVE, ...idAndLabel('02', 'tls')));
    });
    const seen = async () => (await pair.objects(pair.b)).map(({ readDigest }) => readDigest).sort();
    const before = await seen();
    expect(before).toHaveLength(3);
    const blobOf = (digest: string): Uint8Array => pair.group.blobs.get(digest)!;
    const rehearsal = await rehearse({ ...pair.b, clock: systemClock, target, blobOf });
    expect(rehearsal).toMatchObject({ isEqual: true, isClean: true, strangers: 3, proof: { failed: 0 } });
    expect(await seen()).toEqual(before);
  });

  it('fills no manifest: what is too large is named, and everything beside it replicates', async () => {
    pair.a.token.makeAes('01');
    withoutLogin(pair.a.token, '--write-object', textFile('small'), '--type', 'data', '--label', 'small');
    anybody((cryptoki, session) => {
      cryptoki.create(session, [...certificateOf(randomBytes(1_000)), ...idAndLabel('03', 'small')]);
      cryptoki.create(session, [...certificateOf(randomBytes(9 * 1024 * 1024)), ...idAndLabel('04', 'large')]);
      cryptoki.create(session, [...certificateOf(randomBytes(9)), ...idAndLabel('05', 'x'.repeat(9 * 1024 * 1024))]);
    });
    // The value of an object that is too large stays in its token, however many such objects there are.
    const crossed = (await pair.objects(pair.a)).flatMap(({ attributes }) =>
      Object.values(attributes).flatMap((one) => (one instanceof Uint8Array ? one.length : [])),
    );
    expect(Math.max(...crossed)).toBeLessThan(64 * 1024);
    const sealed = await pair.replicate();
    expect(sealed.generation.uncaptured.map(({ objectClass, reason }) => [objectClass, reason])).toEqual([
      ['certificate', 'too-large'],
      ['certificate', 'too-large'],
    ]);
    expect(sealed.generation.entries.map(({ objectClass }) => objectClass).sort()).toEqual([
      'certificate',
      'data',
      'secret-key',
    ]);
    expect(sealed.signed.length).toBeLessThan(64 * 1024);
  });
});

const idAndLabel = (id: string, text: string): Template => [
  [ATTRIBUTES.id.type, Buffer.from(id, 'hex')],
  ...label(text),
];

/** `pkcs11-tool` as anybody runs it: without a login. */
function withoutLogin(token: TestToken, ...args: string[]): void {
  const env = { ...process.env, ...token.environment };
  execFileSync('pkcs11-tool', ['--module', SOFTHSM_MODULE, '--token-label', token.label, ...args], {
    env,
    stdio: 'pipe',
  });
}

function textFile(text: string): string {
  const path = join(pair.a.token.folder, `${text}.txt`);
  writeFileSync(path, text);
  return path;
}
