/**
 * Secrets that wrapping would change: of any length, of unknown length, with zeros at their ends. They arrive byte for
 * byte, and are recognised without being sealed again.
 */
import { createHash, randomBytes } from 'node:crypto';
import { CKA, CKK, CKM, CKO, mechanism, type Template } from '@antipode/cryptoki';
import { rehearse, type SealedGeneration, scrub, type Tombstone } from '@antipode/hsm-core';
import { MemberGroup, SealedGroup } from '@antipode/hsm-core/testing';
import { hex, systemClock } from '@antipode/runtime';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { flags, id, label } from '../../attacks/support/templates.ts';
import { type LyingToken, lying, type Order, TRUE } from '../../support/devices/lying-token.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { onToken } from '../../support/raw-token.ts';
import { dataOf, makeSecret, PORTABLE, secretOf, TokenPair } from '../../support/token-pair.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';

let pair: TokenPair;
beforeAll(async () => {
  pair = await TokenPair.make();
});
afterAll(() => pair.close());
afterEach(() => pair.empty());

const SALT = Buffer.from('salt of a test');
const inSoftware = (value: Uint8Array): string => createHash('sha256').update(SALT).update(value).digest('hex');

/** Digests of all secrets of applications, by label: made in the token, so that they tell every byte. */
const digestsIn = ({ token }: { token: TestToken }): Map<string, string> =>
  onToken(token, (cryptoki, session) => {
    const secrets = cryptoki.find(session, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.TOKEN, true],
      [CKA.EXTRACTABLE, true],
    ]);
    return new Map(
      secrets.map((handle) => [
        cryptoki.attributes(session, handle, [CKA.LABEL])!.get(CKA.LABEL)!.toString(),
        hex(cryptoki.digestKey(session, mechanism(CKM.SHA256), SALT, handle)),
      ]),
    );
  });

const valuesOf = (values: ReadonlyMap<string, Uint8Array>): Map<string, string> =>
  new Map([...values].map(([name, value]) => [name, inSoftware(value)]));

/** Puts secrets of these values into the source, each under its name. */
async function plant(values: ReadonlyMap<string, Uint8Array>): Promise<void> {
  for (const [name, bytes] of values) await pair.source.create(secretNamed(name, bytes));
}

const secretNamed = (name: string, bytes: Uint8Array): Template =>
  secretOf(bytes, ...label(name), ...id(Buffer.from(name)), ...flags({ sign: true }));

const secret = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes)).map((byte) => byte || 1);

/** Puts a secret into a token by an unwrap, after which SoftHSM does not tell its length. */
const unwrapInto = (token: TestToken, value: Uint8Array, ...names: Template): void =>
  onToken(token, (cryptoki, session) => {
    const { publicKey, privateKey } = cryptoki.generateKeyPair(
      session,
      mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.MODULUS_BITS, 4096],
        [CKA.PUBLIC_EXPONENT, Uint8Array.of(1, 0, 1)],
        [CKA.WRAP, true],
      ],
      [[CKA.TOKEN, false], ...flags({ unwrap: true })],
    );
    const known = cryptoki.create(session, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
      [CKA.TOKEN, false],
      [CKA.EXTRACTABLE, true],
      [CKA.VALUE, value],
    ]);
    const blob = cryptoki.wrapKey(session, mechanism(CKM.RSA_PKCS), publicKey, known);
    cryptoki.destroy(session, known);
    cryptoki.unwrapKey(session, mechanism(CKM.RSA_PKCS), privateKey, blob, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
      ...PORTABLE,
      ...names,
    ]);
  });

const sealedOf = ({ generation: { entries } }: SealedGeneration): string[] =>
  entries.map(({ blobSha256 }) => blobSha256!).sort();

describe('secrets of one value and of two key types', () => {
  const typed = (type: number, bytes: Uint8Array): Template => [
    ...secretOf(bytes, ...label('shared'), ...id(Buffer.from('shared')), ...flags({ sign: true })).filter(
      ([attribute]) => attribute !== CKA.KEY_TYPE,
    ),
    [CKA.KEY_TYPE, type],
  ];

  const typesIn = ({ token }: { token: TestToken }): number[] =>
    onToken(token, (cryptoki, session) =>
      cryptoki
        .find(session, [...label('shared'), [CKA.CLASS, CKO.SECRET_KEY]])
        .map((handle) =>
          Number(cryptoki.attributes(session, handle, [CKA.KEY_TYPE])!.get(CKA.KEY_TYPE)!.readBigUInt64LE()),
        )
        .sort((a, b) => a - b),
    );

  it.each([
    ['sealed exactly', 20, CKK.SHA256_HMAC],
    ['wrapped', 32, CKK.AES],
  ])('%s: a key that is made again with another type arrives with it', async (_, bytes, type) => {
    const value = secret(bytes);
    const first = await pair.source.create(typed(CKK.GENERIC_SECRET, value));
    await pair.replicate();
    await pair.source.destroy(first);
    await pair.source.create(typed(type, value));
    await pair.replicate();
    expect(typesIn(pair.b)).toEqual([type]);
  });

  it.each([
    ['sealed exactly', 20, CKK.SHA256_HMAC],
    ['wrapped', 32, CKK.AES],
  ])('%s: the right one of both is deleted at the standby', async (_, bytes, type) => {
    const value = secret(bytes);
    const one = await pair.source.create(typed(CKK.GENERIC_SECRET, value));
    const other = await pair.source.create(typed(type, value));
    await pair.replicate();
    // Nobody remembers a handle now.
    await pair.restart();
    await pair.source.destroy(one);
    await pair.replicate();
    expect(typesIn(pair.b)).toEqual([type]);
    await pair.source.destroy(other);
    await pair.replicate();
    expect(typesIn(pair.b)).toEqual([]);
  });
});

describe('secrets that wrapping would change', () => {
  it('arrive byte for byte at every length up to 342, with zeros in front and behind', async () => {
    const values = new Map(
      Array.from({ length: 342 }, (_, index) => {
        const value = secret(index + 1);
        if (index % 3 === 0) value.fill(0, -1 - (index % 5));
        if (index % 7 === 0) value[0] = 0;
        return [`secret of ${index + 1}`, value] as const;
      }),
    );
    await plant(values);
    const sealed = await pair.replicate();
    expect(sealed.generation.uncaptured).toEqual([]);
    expect(digestsIn(pair.b)).toEqual(valuesOf(values));
    // A standby does not know the lengths. It recognises them all the same, and takes nothing for new.
    await pair.restart();
    expect((await pair.group.capture(pair.a)).sealed).toBeUndefined();
    const atStandby = await pair.group.captured(pair.b, { epoch: 2n });
    expect([atStandby.generation.uncaptured, sealedOf(atStandby)]).toEqual([[], sealedOf(sealed)]);
  }, 120_000);

  it('arrive byte for byte at lengths up to 470, by a larger key', async () => {
    const values = new Map([343, 401, 470].map((bytes) => [`secret of ${bytes}`, secret(bytes).fill(0, -3)] as const));
    await plant(values);
    const unknown = secret(461);
    unwrapInto(pair.a.token, unknown, ...label('of unknown length'));
    const sealed = await pair.replicate();
    expect(sealed.generation.uncaptured).toEqual([]);
    expect(digestsIn(pair.b)).toEqual(valuesOf(new Map([...values, ['of unknown length', unknown]])));
  });

  it('differ from the same values with zeros behind them', async () => {
    const value = secret(13);
    const values = new Map([13, 14, 16, 20].map((bytes) => [`of ${bytes}`, Buffer.alloc(bytes, 0).fill(value, 0, 13)]));
    await plant(values);
    await pair.replicate();
    expect(digestsIn(pair.b)).toEqual(valuesOf(values));
    await pair.restart();
    expect((await pair.group.capture(pair.a)).sealed).toBeUndefined();
    const sealed = pair.group.newest!;
    expect((await pair.apply(sealed, sealed)).applied).toEqual([]);
  });

  it('are sealed once, follow a change of their names, and leave when they are deleted', async () => {
    await plant(new Map([['odd', secret(20)]]));
    await makeSecret(pair.source, 33, ...label('second'));
    const first = await pair.replicate();
    expect((await pair.group.capture(pair.a)).sealedObjects).toBe(0);
    const [odd] = await pair.source.find([...label('odd')]);
    await pair.source.setAttributeValue(odd!, label('renamed'));
    const second = await pair.replicate();
    expect(sealedOf(second)).toEqual(sealedOf(first));
    expect([...digestsIn(pair.b).keys()].sort()).toEqual(['renamed', 'second']);
    await pair.source.destroy(odd!);
    const third = await pair.replicate();
    expect([...digestsIn(pair.b).keys()]).toEqual(['second']);
    // An operator brings it back: its tombstone has all that opens it.
    const [{ entry, dataKey }] = third.generation.tombstones as [Tombstone];
    const entries = [entry];
    const dataKeys = [dataKey!];
    const restored = { ...third, generation: { ...third.generation, entries, dataKeys, tombstones: [] } };
    expect((await pair.group.apply(pair.b, restored)).applied).toEqual([entry.objectId]);
    expect([...digestsIn(pair.b).keys()].sort()).toEqual(['renamed', 'second']);
  });

  it('are sealed again under another domain key, and no standby makes them again for it', async () => {
    const values = new Map([3, 20, 71].map((bytes) => [`of ${bytes}`, secret(bytes)]));
    await plant(values);
    const before = await pair.replicate();
    await pair.group.rotate([pair.a, pair.b], 2);
    const sealed = await pair.group.captured(pair.a);
    expect(sealedOf(sealed).filter((blob) => sealedOf(before).includes(blob))).toEqual([]);
    expect((await pair.apply(sealed, before)).applied).toEqual([]);
    expect(digestsIn(pair.b)).toEqual(valuesOf(values));
  });

  it('are captured where their length is unknown, since they came by an unwrap', async () => {
    const value = secret(21);
    unwrapInto(pair.a.token, value, ...label('unwrapped'));
    const sealed = await pair.replicate();
    expect(sealed.generation).toMatchObject({ uncaptured: [], entries: [{ sizeBits: 0 }] });
    expect(digestsIn(pair.b)).toEqual(new Map([['unwrapped', inSoftware(value)]]));
  });

  it('are of every type that has any length', async () => {
    const types = [CKK.GENERIC_SECRET, ...HMAC_TYPES];
    const values = new Map(types.map((type) => [`type ${type}`, secret(50 + (type % 7) * 2 + 1)]));
    for (const [name, bytes] of values) {
      const type = types.find((one) => name === `type ${one}`)!;
      const template = secretNamed(name, bytes).map((one) =>
        one[0] === CKA.KEY_TYPE ? ([CKA.KEY_TYPE, type] as const) : one,
      );
      await pair.source.create(template);
    }
    const sealed = await pair.replicate();
    expect(sealed.generation.uncaptured).toEqual([]);
    expect(digestsIn(pair.b)).toEqual(valuesOf(values));
  });

  it('are proved in a drill, and a scrub finds one that is another now', async () => {
    await plant(new Map([20, 342].map((bytes) => [`of ${bytes}`, secret(bytes)])));
    const sealed = await pair.replicate();
    const scratch = await TestMember.make('scratch');
    try {
      await enrolTogether([pair.a, pair.b, scratch], { group: pair.group.name, version: 3 });
      pair.group.domainKeyVersion = 3;
      const target = await pair.group.captured(pair.a);
      const { provider, keyring } = scratch;
      const blobOf = (digest: string): Uint8Array => pair.group.blobs.get(digest)!;
      const rehearsal = await rehearse({ provider, keyring, clock: systemClock, target, blobOf });
      expect(rehearsal).toMatchObject({ proof: { proved: 2, failed: 0 }, isEqual: true, isClean: true });
    } finally {
      await scratch.close();
    }
    const [first] = await pair.standby.find([...label('of 20')]);
    await pair.standby.destroy(first!);
    await pair.standby.create(secretNamed('of 20', secret(20)));
    const report = await scrub({ ...pair.b, clock: systemClock, target: sealed, known: new Map() });
    expect([report.proof.proved, report.proof.failed + report.missing.length]).toEqual([1, 1]);
  });
});

/** MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512. */
const HMAC_TYPES = [0x27, 0x28, 0x2e, 0x2b, 0x2c, 0x2d];

/** How many values a token is tried with before it seals a secret. */
const KNOWN_VALUES = 5;

/** The flag and the list of mechanisms are taken from the template of the opening key. */
const DECRYPTS: Order = {
  lie: 'force',
  function: 'C_UnwrapKey',
  class: CKO.PRIVATE_KEY,
  attribute: 'decrypt',
  value: TRUE,
};

describe('a token that does not carry secrets as they are', () => {
  const OAEP = CKM.RSA_PKCS_OAEP;
  const odd = new Uint8Array(20).fill(7);
  let source: TestMember<LyingToken>;
  let target: TestMember<LyingToken>;
  let group: MemberGroup;

  beforeAll(async () => {
    [source, target] = await Promise.all([
      TestMember.on(lying(makeToken('lying source'))),
      TestMember.on(lying(makeToken('lying target'))),
    ]);
    group = new MemberGroup();
    await enrolTogether([source, target], { group: group.name, version: 1 });
    onToken(source.token.honest, (cryptoki, session) => {
      cryptoki.create(session, secretNamed('odd', odd));
      cryptoki.create(session, secretNamed('even', secret(32)));
    });
  });
  afterAll(() => Promise.all([source, target].map((member) => member.close())));

  const labelsOf = ({ generation }: SealedGeneration): string[] =>
    generation.entries.map(({ attributes }) => Buffer.from(attributes.label!).toString()).sort();

  it.each<[string, Order]>([
    ['pads every secret', { lie: 'pad', function: 'C_WrapKey', mechanism: OAEP }],
    ['pads those of applications', { lie: 'pad', function: 'C_WrapKey', mechanism: OAEP, after: KNOWN_VALUES }],
    ['wraps another', { lie: 'substitute', function: 'C_WrapKey', mechanism: OAEP, value: odd.with(0, 8), after: 5 }],
    ['gives no digests', { lie: 'refuse', function: 'C_DigestKey', code: 'CKR_KEY_INDIGESTIBLE' }],
    ['has no RSA-OAEP', { lie: 'refuse', function: 'C_WrapKey', mechanism: OAEP, code: 'CKR_MECHANISM_INVALID' }],
    [
      'makes no RSA keys',
      { lie: 'refuse', function: 'C_GenerateKeyPair', mechanism: 0, code: 'CKR_MECHANISM_INVALID' },
    ],
    ['decrypts with the key that only unwraps', DECRYPTS],
  ])('leaves such a secret where it is, with the reason, if the source %s', async (_what, order) => {
    source.token.tell(order);
    await source.reopen();
    const fresh = new MemberGroup();
    const sealed = await fresh.captured(source);
    expect([labelsOf(sealed), sealed.generation.uncaptured.map(({ reason }) => reason)]).toEqual([
      ['even'],
      ['length-not-multiple-of-8'],
    ]);
    source.token.tell();
  });

  it.each<[string, string, Order]>([
    ['pads those of applications', 'OBJECT_UNPROVEN', { lie: 'pad', function: 'C_UnwrapKey', mechanism: OAEP }],
    [
      'makes another',
      'SECRET_INEXACT',
      { lie: 'substitute', function: 'C_UnwrapKey', mechanism: OAEP, value: odd.with(0, 8) },
    ],
    [
      'makes another after a while',
      'OBJECT_UNPROVEN',
      { lie: 'substitute', function: 'C_UnwrapKey', mechanism: OAEP, value: odd.with(0, 8), after: 2 },
    ],
    ['gives no digests', 'SECRET_INEXACT', { lie: 'refuse', function: 'C_DigestKey', code: 'CKR_KEY_INDIGESTIBLE' }],
    [
      'has no RSA-OAEP',
      'SECRET_INEXACT',
      { lie: 'refuse', function: 'C_UnwrapKey', mechanism: OAEP, code: 'CKR_MECHANISM_INVALID' },
    ],
  ])('is an exception, and everything else is restored, if the standby %s', async (_what, code, order) => {
    await source.reopen();
    group.newest ??= await group.captured(source);
    target.token.tell(order);
    await target.reopen();
    const { refused } = await group.apply(target, group.newest);
    const entry = group.newest.generation.entries.find(({ valueTag }) => valueTag !== undefined)!;
    expect(refused).toMatchObject([{ objectId: entry.objectId, code }]);
    target.token.tell();
    expect([...digestsIn({ token: target.token.honest }).keys()]).toEqual(['even']);
  });

  it('has everything once the standby is sound', async () => {
    await target.reopen();
    await group.apply(target, group.newest!);
    expect(digestsIn({ token: target.token.honest }).get('odd')).toBe(inSoftware(odd));
    expect((await group.verify(target, group.newest!)).proof).toMatchObject({ proved: 2, failed: 0 });
  });

  it('is an exception although it is the only key, if there is data beside it', async () => {
    onToken(source.token.honest, (cryptoki, session) => {
      for (const even of cryptoki.find(session, [...label('even')])) cryptoki.destroy(session, even);
      cryptoki.create(session, dataOf(secret(9), ...label('data')));
    });
    onToken(target.token.honest, (cryptoki, session) => {
      for (const restored of cryptoki.find(session, [...label('odd')])) cryptoki.destroy(session, restored);
    });
    await source.reopen();
    const fresh = new MemberGroup();
    const sealed = await fresh.captured(source);
    target.token.tell({ lie: 'refuse', function: 'C_UnwrapKey', mechanism: OAEP, code: 'CKR_MECHANISM_INVALID' });
    await target.reopen();
    const { applied, refused } = await fresh.apply(target, sealed);
    expect([applied.length, refused.map(({ code }) => code)]).toEqual([1, ['SECRET_INEXACT']]);
    target.token.tell();
  });
});

describe('a token that fails, and is sound again', () => {
  const OAEP = CKM.RSA_PKCS_OAEP;
  const ODDS = ['first', 'second', 'third'];
  let source: TestMember<LyingToken>;
  let target: TestMember<LyingToken>;
  let group: SealedGroup;

  beforeAll(async () => {
    [source, target] = await Promise.all([
      TestMember.on(lying(makeToken('failing source'))),
      TestMember.on(lying(makeToken('failing target'))),
    ]);
    await enrolTogether([source, target], { group: new SealedGroup().name, version: 1 });
  });
  beforeEach(async () => {
    for (const { token } of [source, target]) {
      token.tell();
      onToken(token.honest, (cryptoki, session) => {
        for (const secret of cryptoki.find(session, [
          [CKA.CLASS, CKO.SECRET_KEY],
          [CKA.TOKEN, true],
          [CKA.EXTRACTABLE, true],
        ]))
          cryptoki.destroy(session, secret);
      });
    }
    plantIn(source, ...ODDS.map((name) => secretNamed(name, secret(20))));
    await Promise.all([source.reopen(), target.reopen()]);
    group = new SealedGroup();
  });
  afterAll(() => Promise.all([source, target].map((member) => member.close())));

  const plantIn = (member: TestMember<LyingToken>, ...templates: Template[]): void =>
    onToken(member.token.honest, (cryptoki, session) => {
      for (const template of templates) cryptoki.create(session, template);
    });
  const labelsOf = ({ generation }: SealedGeneration): string[] =>
    generation.entries.map(({ attributes }) => Buffer.from(attributes.label!).toString()).sort();
  const reasonsOf = ({ generation }: SealedGeneration): string[] => generation.uncaptured.map(({ reason }) => reason);
  const once = { code: 'CKR_FUNCTION_FAILED', times: 1 } as const;

  it.each<[string, Order]>([
    ['makes no RSA key', { lie: 'refuse', function: 'C_GenerateKeyPair', mechanism: 0, ...once }],
    ['digests no value', { lie: 'refuse', function: 'C_DigestKey', ...once }],
    ['carries no known value', { lie: 'refuse', function: 'C_WrapKey', mechanism: OAEP, ...once }],
    ['opens no known value', { lie: 'refuse', function: 'C_UnwrapKey', mechanism: OAEP, ...once }],
  ])('seals every secret if the source once %s', async (_what, order) => {
    source.token.tell(order);
    const sealed = await group.captured(source);
    expect([labelsOf(sealed), reasonsOf(sealed)]).toEqual([ODDS, []]);
  });

  it('seals all others if the source refuses one secret, and that one as soon as it can', async () => {
    const wraps = { lie: 'refuse', function: 'C_WrapKey', mechanism: OAEP, label: 'second' } as const;
    source.token.tell({ ...wraps, code: 'CKR_FUNCTION_FAILED' });
    const first = await group.captured(source);
    expect([labelsOf(first), reasonsOf(first)]).toEqual([['first', 'third'], ['unreadable']]);
    source.token.tell();
    // Nothing in the partition has changed.
    const second = await group.captured(source);
    expect([labelsOf(second), reasonsOf(second)]).toEqual([ODDS, []]);
    expect((await group.capture(source)).sealed).toBeUndefined();
  });

  it('seals secrets once the source offers it again, through the same worker', async () => {
    source.token.tell({ lie: 'refuse', function: 'C_GenerateKeyPair', mechanism: 0, code: 'CKR_FUNCTION_FAILED' });
    plantIn(source, secretNamed('even', secret(32)));
    const first = await group.captured(source);
    expect([labelsOf(first), new Set(reasonsOf(first))]).toEqual([['even'], new Set(['length-not-multiple-of-8'])]);
    source.token.tell();
    const second = await group.captured(source);
    expect([labelsOf(second), reasonsOf(second)]).toEqual([['even', ...ODDS], []]);
  });

  it('seals them again under another domain key, though the source fails once', async () => {
    const before = await group.captured(source);
    await group.rotate([source, target], 2);
    source.token.tell({ lie: 'refuse', function: 'C_GenerateKeyPair', mechanism: 0, ...once });
    const sealed = await group.captured(source);
    expect(sealedOf(sealed).filter((blob) => sealedOf(before).includes(blob))).toEqual([]);
    expect(labelsOf(sealed)).toEqual(ODDS);
  });

  it.each<[string, Order]>([
    ['opens no known value', { lie: 'refuse', function: 'C_UnwrapKey', mechanism: OAEP, ...once }],
    ['digests no value', { lie: 'refuse', function: 'C_DigestKey', ...once }],
    ['does not take the public half', { lie: 'refuse', function: 'C_CreateObject', class: CKO.PUBLIC_KEY, ...once }],
  ])('restores every secret if the standby once %s', async (_what, order) => {
    const sealed = await group.captured(source);
    target.token.tell(order);
    expect((await group.apply(target, sealed)).refused).toEqual([]);
    expect([...digestsIn({ token: target.token.honest }).keys()].sort()).toEqual(ODDS);
  });

  it('restores all others if the standby refuses one secret', async () => {
    const sealed = await group.captured(source);
    target.token.tell({ lie: 'refuse', function: 'C_UnwrapKey', label: 'second', code: 'CKR_FUNCTION_FAILED' });
    const { applied, refused } = await group.apply(target, sealed);
    expect([applied.length, refused.map(({ code }) => code)]).toEqual([2, ['HSM_REFUSED']]);
  });

  it('names each secret, and fails no apply, if the standby carries none and there is nothing else', async () => {
    const sealed = await group.captured(source);
    target.token.tell({ lie: 'refuse', function: 'C_UnwrapKey', mechanism: OAEP, code: 'CKR_MECHANISM_INVALID' });
    const { applied, refused } = await group.apply(target, sealed);
    expect([applied, refused.map(({ code }) => code)]).toEqual([[], ODDS.map(() => 'SECRET_INEXACT')]);
    expect(refused.map(({ objectId }) => objectId).sort()).toEqual(
      sealed.generation.entries.map(({ objectId }) => objectId).sort(),
    );
    const left = new Set(refused.map(({ objectId }) => objectId));
    const { contentDigest, proof } = await group.verify(target, sealed, { refused: left });
    expect([contentDigest, proof]).toMatchObject([sealed.contentDigest, { proved: 0, failed: 0 }]);
  });

  it('tries the exact way once for each apply, however many secrets there are', async () => {
    const triesOf = async (): Promise<number> => {
      const sealed = await group.captured(source);
      target.token.tell({ lie: 'refuse', function: 'C_UnwrapKey', mechanism: OAEP, code: 'CKR_MECHANISM_INVALID' });
      await target.reopen();
      const before = target.token.calls('C_UnwrapKey');
      await group.apply(target, sealed);
      return target.token.calls('C_UnwrapKey') - before;
    };
    const few = await triesOf();
    plantIn(source, ...Array.from({ length: 20 }, (_, index) => secretNamed(`more ${index}`, secret(21))));
    expect(await triesOf()).toBe(few);
  });
});
