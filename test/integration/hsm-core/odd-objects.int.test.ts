/**
 * One odd object does not stop a group (I15): an error of software or token concerns that object only. It is left out
 * by name at the source, or not restored at one standby. Everything else continues.
 */
import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { CKA, CKK, CKO, P256_PARAMS, type Template } from '@antipode/cryptoki';
import type { SealedGeneration } from '@antipode/hsm-core';
import { CaptureMemory } from '@antipode/hsm-core';
import { ATTRIBUTES, SealedGroup } from '@antipode/hsm-core/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openRawToken, type RawToken } from '../../attacks/support/raw-token.ts';
import { flags, id, label } from '../../attacks/support/templates.ts';
import { type LyingToken, lying, type Order } from '../../support/devices/lying-token.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { certificateOf, dataOf, makeAes, makePair, PORTABLE, TokenPair } from '../../support/token-pair.ts';
import { makeToken } from '../../support/tokens.ts';

let pair: TokenPair;
beforeAll(async () => {
  pair = await TokenPair.make();
});
afterAll(() => pair.close());
afterEach(() => pair.empty());

const base64 = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');

/** A private RSA key as PKCS#11 has it, from the PEM of OpenSSL. */
function rsaTemplate(pem: Buffer | string, changes: Template = []): Template {
  const jwk = createPrivateKey(pem).export({ format: 'jwk' });
  const parts: [number, Buffer][] = [
    [0x120, base64(jwk.n)],
    [0x122, base64(jwk.e)],
    [0x123, base64(jwk.d)],
    [0x124, base64(jwk.p)],
    [0x125, base64(jwk.q)],
    [0x126, base64(jwk.dp)],
    [0x127, base64(jwk.dq)],
    [0x128, base64(jwk.qi)],
  ];
  const changed = new Map(changes);
  return [
    [CKA.CLASS, CKO.PRIVATE_KEY],
    [CKA.KEY_TYPE, CKK.RSA],
    ...PORTABLE,
    ...parts.map(([type, value]) => [type, changed.get(type) ?? value] as const),
    ...changes.filter(([type]) => !parts.some(([part]) => part === type)),
    ...label('odd'),
    ...id(Uint8Array.of(0x66)),
  ];
}

const rsaOf = (bits: number): string => execFileSync('openssl', ['genrsa', String(bits)], { stdio: 'pipe' }).toString();
/** Made once: OpenSSL takes a minute for it. */
const RSA_9216 = new URL('./rsa-9216.pem', import.meta.url);
const EVERYTHING = flags({ sign: true, decrypt: true, unwrap: true });

const NAMES = { label: ATTRIBUTES.label.type };
const labelOf = (entry: SealedGeneration['generation']['entries'][number]): string =>
  Buffer.from(entry.attributes.label ?? []).toString();

/** The odd object, beside two that are not: they have to come through. `fate` is what becomes of the odd one. */
const ODD: readonly (readonly [what: string, fate: string, make: (source: RawToken) => unknown])[] = [
  [
    'an RSA key of 512 bits, as pkcs11-tool makes it',
    'restored',
    (source) => source.create(rsaTemplate(rsaOf(512), EVERYTHING)),
  ],
  [
    'an RSA key of 9216 bits',
    'restored',
    (source) => source.create(rsaTemplate(readFileSync(RSA_9216), flags({ sign: true }))),
  ],
  [
    'an RSA key whose modulus is that of another',
    'does-not-work',
    (source) => {
      const other = createPrivateKey(rsaOf(2048)).export({ format: 'jwk' });
      return source.create(rsaTemplate(rsaOf(2048), [[0x120, base64(other.n)], ...flags({ sign: true })]));
    },
  ],
  [
    'an RSA key without a modulus',
    'not-wrappable',
    (source) => source.create(rsaTemplate(rsaOf(2048), [[0x120, Buffer.alloc(0)], ...flags({ sign: true })])),
  ],
  [
    'a key with ALLOWED_MECHANISMS of all ones',
    'unsupported-attribute',
    (source) => makeAes(source, ...label('odd'), [ATTRIBUTES.allowedMechanisms.type, Buffer.alloc(8, 0xff)]),
  ],
  [
    'a key of a size that no mechanism takes',
    'restored',
    (source) =>
      source.create([
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
        ...PORTABLE,
        [CKA.VALUE, Buffer.alloc(8, 7)],
        ...label('odd'),
        ...flags({ sign: true, verify: true }),
      ]),
  ],
  [
    'a certificate with an empty subject',
    'restored',
    (source) =>
      source.create([
        [CKA.CLASS, CKO.CERTIFICATE],
        [ATTRIBUTES.certificateType.type, 0],
        [CKA.TOKEN, true],
        [ATTRIBUTES.subject.type, Buffer.alloc(0)],
        [CKA.VALUE, Buffer.from('not a certificate')],
        ...label('odd'),
      ]),
  ],
  [
    'a public key whose exponent is 1',
    'restored',
    (source) =>
      source.create([
        [CKA.CLASS, CKO.PUBLIC_KEY],
        [CKA.KEY_TYPE, CKK.RSA],
        [CKA.TOKEN, true],
        [CKA.MODULUS, Buffer.alloc(128, 0xfe)],
        [CKA.PUBLIC_EXPONENT, Buffer.of(1)],
        ...flags({ verify: true }),
        ...label('odd'),
      ]),
  ],
  [
    'a public key without a modulus',
    'unsupported-type',
    (source) =>
      source.create([
        [CKA.CLASS, CKO.PUBLIC_KEY],
        [CKA.KEY_TYPE, CKK.RSA],
        [CKA.TOKEN, true],
        [CKA.MODULUS, Buffer.alloc(0)],
        [CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1)],
        ...label('odd'),
      ]),
  ],
  [
    'a data object with an object id that is no DER, and no value',
    'restored',
    (source) =>
      source.create(
        dataOf(Buffer.alloc(0), [ATTRIBUTES.dataObjectId.type, Buffer.from('\xff\x00odd')], ...label('odd')),
      ),
  ],
  [
    'a key of a type that nobody knows',
    'unsupported-type',
    (source) =>
      source.create([
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, 0x13],
        ...PORTABLE,
        [CKA.VALUE, Buffer.alloc(8, 1)],
        ...label('odd'),
      ]),
  ],
  [
    'a private EC key of a curve that is none of ours',
    'restored',
    (source) => {
      const { d, x, y } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey.export({ format: 'jwk' });
      expect([x, y]).toBeDefined();
      return source.create([
        [CKA.CLASS, CKO.PRIVATE_KEY],
        [CKA.KEY_TYPE, CKK.EC],
        ...PORTABLE,
        [CKA.EC_PARAMS, Buffer.from('06052b8104000a', 'hex')],
        [CKA.VALUE, base64(d)],
        ...flags({ sign: true }),
        ...label('odd'),
      ]);
    },
  ],
];

describe('an odd object holds up nothing but itself:', () => {
  it.each(ODD)('%s is %s', async (_what, fate, make) => {
    await makeAes(pair.source, ...label('first'), ...flags({ encrypt: true, decrypt: true }));
    await make(pair.source);
    await pair.source.create(certificateOf(Buffer.from('a certificate'), ...label('last')));
    const sealed = await pair.replicate();
    const captured = sealed.generation.entries.map(labelOf).sort();
    expect(captured).toEqual(fate === 'restored' ? ['first', 'last', 'odd'] : ['first', 'last']);
    expect(sealed.generation.uncaptured.map(({ reason }) => reason)).toEqual(fate === 'restored' ? [] : [fate]);
    const restored = await Promise.all(captured.map((name) => pair.standby.find([[NAMES.label, Buffer.from(name)]])));
    expect(restored.map((handles) => handles.length)).toEqual(captured.map(() => 1));
    // The next round has nothing to do.
    expect((await pair.group.capture(pair.a)).sealed).toBeUndefined();
  });
});

describe('an object of which the token fails at the source', () => {
  let a: TestMember<LyingToken>;
  let b: TestMember;
  let application: RawToken;
  let group: SealedGroup;
  beforeAll(async () => {
    a = await TestMember.on(lying(makeToken('a')));
    b = await TestMember.make('b');
    await enrolTogether([a, b], { group: 'payments', version: 1 });
    application = await openRawToken(a.token.honest);
  });
  afterAll(async () => {
    await application.close();
    await Promise.all([a.close(), b.close()]);
  });
  beforeEach(() => {
    group = new SealedGroup();
  });
  afterEach(async () => {
    a.token.tell();
    for (const { provider, keyring } of [a, b]) {
      const objects = (await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle));
      await provider.destroy(objects.map(({ handle }) => handle));
    }
  });

  const GET = { function: 'C_GetAttributeValue', label: 'odd' } as const;
  const FATES: readonly (readonly [what: string, fate: string, order: Order])[] = [
    ['all its attributes', 'unreadable', { lie: 'refuse', code: 'CKR_GENERAL_ERROR', ...GET }],
    ['one attribute', 'unreadable', { lie: 'hide', attribute: 'derive', code: 'CKR_FUNCTION_FAILED', ...GET }],
    ['the length of a name', 'unreadable', { lie: 'answer', attribute: 'id', length: 2 ** 45, ...GET }],
    ['its wrapping', 'unreadable', { lie: 'refuse', code: 'CKR_DEVICE_ERROR', function: 'C_WrapKey', label: 'odd' }],
    ['its use', 'does-not-work', { lie: 'refuse', code: 0x80000101, function: 'C_Sign', label: 'odd' }],
  ];

  it.each(FATES)('%s is left out by name as %s, and the others are restored', async (_what, fate, order) => {
    await makeAes(application, ...label('first'));
    await makePair(application, P256_PARAMS, ...label('odd'));
    await makeAes(application, ...label('last'));
    const [odd] = (await application.find([...label('odd'), [CKA.CLASS, CKO.PUBLIC_KEY]])) as [bigint];
    await application.destroy(odd);
    a.token.tell(order);
    const sealed = await group.captured(a);
    expect(sealed.generation.entries.map(labelOf).sort()).toEqual(['first', 'last']);
    expect(sealed.generation.uncaptured.map(({ reason }) => reason)).toEqual([fate]);
    await group.apply(b, sealed);
    expect((await group.verify(b, sealed)).proof).toMatchObject({ proved: 2, failed: 0 });
  });

  it('keeps its captured copy, even if its handle is forgotten', async () => {
    await makeAes(application, ...label('odd'));
    await makeAes(application, ...label('first'));
    const first = await group.captured(a);
    a.token.tell({ lie: 'refuse', code: 'CKR_GENERAL_ERROR', ...GET });
    const { sealed } = await group.capture(a, { memory: new CaptureMemory() });
    const after = (sealed ?? first).generation;
    expect(after.entries.map(labelOf).sort()).toEqual(['first', 'odd']);
    expect(after.tombstones).toEqual([]);
  });
});

describe('an object that the token of a standby does not take', () => {
  let a: TestMember;
  let b: TestMember<LyingToken>;
  let application: RawToken;
  beforeAll(async () => {
    a = await TestMember.make('a');
    b = await TestMember.on(lying(makeToken('b')));
    await enrolTogether([a, b], { group: 'payments', version: 1 });
    application = await openRawToken(a.token);
  });
  afterAll(async () => {
    await application.close();
    await Promise.all([a.close(), b.close()]);
  });

  it.each([
    'CKR_CURVE_NOT_SUPPORTED',
    'CKR_DOMAIN_PARAMS_INVALID',
    'CKR_GENERAL_ERROR',
    'CKR_DEVICE_ERROR',
    0x80000101,
  ] as const)('with %s is an exception of that standby, and the others are restored and proved', async (code) => {
    const group = new SealedGroup();
    const name = `odd ${code}`;
    await makeAes(application, ...label(`beside ${code}`));
    await makePair(application, P256_PARAMS, ...label(name));
    b.token.tell({ lie: 'refuse', code, function: 'C_UnwrapKey', label: name });
    const sealed = await group.captured(a);
    const { refused } = await group.apply(b, sealed);
    const odd = sealed.generation.entries.find(
      (entry) => entry.objectClass === 'private-key' && labelOf(entry) === name,
    )!;
    expect(refused).toMatchObject([{ objectId: odd.objectId, code: 'HSM_REFUSED' }]);
    const options = { refused: new Set([odd.objectId]) };
    const others = sealed.generation.entries.length - 1;
    expect(await group.verify(b, sealed, options)).toMatchObject({
      contentDigest: sealed.contentDigest,
      proof: { proved: others, failed: 0 },
    });
    // Without the exception nothing is glossed over.
    expect((await group.verify(b, sealed)).proof).toMatchObject({ failed: 1, failedObjectIds: [odd.objectId] });
    b.token.tell();
    expect((await group.apply(b, sealed)).refused).toEqual([]);
    expect((await group.verify(b, sealed)).proof).toMatchObject({ proved: others + 1, failed: 0 });
  });
});
