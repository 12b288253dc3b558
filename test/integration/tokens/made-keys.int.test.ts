/**
 * A token that enforces a protection for generated keys, and drops it from keys made in another way. The test asks what
 * somebody with the PIN gets of the key in the token, by raw calls that bypass the lying module.
 */
import { CKA, CKO } from '@antipode/cryptoki';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { hasCode } from '@antipode/runtime';
import { afterEach, describe, expect, it } from 'vitest';
import { openRawToken, refusalOf } from '../../attacks/support/raw-token.ts';
import { flags, label, NEW_AES } from '../../attacks/support/templates.ts';
import { FALSE, type LyingToken, lying, type Order, TRUE } from '../../support/devices/lying-token.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { onToken } from '../../support/raw-token.ts';
import { makeToken } from '../../support/tokens.ts';

const [SENSITIVE, EXTRACTABLE] = [0x103, 0x162];
const AES_KEY_GEN = { type: 0x1080 };

/** opencryptoki 3.27. SoftHSM behind the module refuses such a key under an unwrap template, so there is none. */
const IGNORED_IN_UNWRAP: readonly Order[] = [
  { lie: 'ignore', function: 'C_UnwrapKey', attribute: CKA.UNWRAP_TEMPLATE },
  { lie: 'force', function: 'C_UnwrapKey', attribute: 'sensitive', value: FALSE },
  { lie: 'force', function: 'C_UnwrapKey', attribute: 'extractable', value: TRUE },
];
const READ_ONLY_IN_UNWRAP: Order = {
  lie: 'read-only',
  function: 'C_UnwrapKey',
  attribute: 'extractable',
  value: TRUE,
};

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

function lyingToken(name: string, ...orders: Order[]): LyingToken {
  const honest = makeToken(name);
  open.push({ close: () => honest.remove() });
  return lying(honest, ...orders);
}

/** Its site has accepted that it has no unwrap templates, and nothing else. */
function withoutTemplates(name: string, ...orders: Order[]): LyingToken {
  const token = lyingToken(name, ...orders);
  return { ...token, config: { ...token.config, acceptUnenforced: ['unwrap-template'] } };
}

async function memberOn<Token extends LyingToken>(token: Token): Promise<TestMember<Token>> {
  const member = await TestMember.on(token);
  open.push({ close: () => member.provider.close() });
  return member;
}

async function honestMember(name: string): Promise<TestMember> {
  const member = await TestMember.make(name);
  open.push(member);
  return member;
}

/** How many objects lie in the token under a label of ours. */
const labelled = ({ honest }: LyingToken, text: string): number =>
  onToken(honest, (cryptoki, session) => cryptoki.find(session, [...label(text), [CKA.TOKEN, true]]).length);

/** The code, and what the error says besides. */
async function refusalOfOpening(token: LyingToken): Promise<Record<string, unknown>> {
  try {
    await memberOn(token);
  } catch (thrown) {
    if (hasCode(thrown, 'PROTECTION_UNENFORCED', 'HSM_REFUSED')) return { code: thrown.code, ...thrown.details };
    throw thrown;
  }
  throw new Error('it was opened');
}

type Narrow = 'sensitive' | 'extractable' | 'modifiable' | 'decrypt';

/** Only where the template of the call has it: of a pair that is the private half. */
const replaced = (name: `C_${string}`, attribute: Narrow): Order => ({
  lie: 'replace',
  function: name,
  attribute,
  value: attribute === 'sensitive' ? FALSE : TRUE,
});

describe('a token that ignores SENSITIVE and EXTRACTABLE in C_UnwrapKey', () => {
  it('gives nobody the domain key', async () => {
    const target = withoutTemplates('lying', ...IGNORED_IN_UNWRAP);
    const members = [await honestMember('sound'), await memberOn(target)];
    await enrolTogether(members, { group: 'payments', version: 1 });
    const raw = await openRawToken(target.honest);
    open.push(raw);
    const [domainKey] = await raw.find([...label('antipode domain key payments 1'), [CKA.CLASS, CKO.SECRET_KEY]]);
    const seen = await raw.attributes(domainKey!, [CKA.VALUE, SENSITIVE, EXTRACTABLE]);
    expect([seen.get(CKA.VALUE)?.length ?? 0, seen.get(SENSITIVE)?.[0], seen.get(EXTRACTABLE)?.[0]]).toEqual([0, 1, 0]);
    const own = await raw.generateKey(AES_KEY_GEN, [...NEW_AES, ...flags({ wrap: true })]);
    expect(await refusalOf(raw.wrapKey({ type: 0x210a }, own, domainKey!))).toBe('CKR_KEY_UNEXTRACTABLE');
    expect(await refusalOf(raw.setAttributeValue(domainKey!, flags({ extractable: true })))).not.toBe('CKR_OK');
    expect(await refusalOf(raw.copyObject(domainKey!, flags({ extractable: true })))).not.toBe('CKR_OK');
  });

  it('restores keys that cannot be read', async () => {
    const [a, b] = [await honestMember('source'), await memberOn(withoutTemplates('target', ...IGNORED_IN_UNWRAP))];
    await enrolTogether([a, b], { group: 'payments', version: 1 });
    const raw = await openRawToken(a.token);
    open.push(raw);
    await raw.generateKey(AES_KEY_GEN, [
      ...NEW_AES,
      ...label('ledger'),
      ...flags({ sensitive: true, extractable: true }),
    ]);
    a.token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'tls', '--id', '02', '--extractable');
    const group = new SealedGroup();
    await group.apply(b, await group.captured(a));
    const restored = await openRawToken(b.token.honest);
    open.push(restored);
    for (const [name, objectClass] of [
      ['ledger', CKO.SECRET_KEY],
      ['tls', CKO.PRIVATE_KEY],
    ] as const) {
      const [key] = await restored.find([...label(name), [CKA.CLASS, objectClass]]);
      const seen = await restored.attributes(key!, [CKA.VALUE, SENSITIVE]);
      expect([name, seen.get(CKA.VALUE)?.length ?? 0, seen.get(SENSITIVE)?.[0]]).toEqual([name, 0, 1]);
    }
  });
});

describe('a token that calls EXTRACTABLE read-only in C_UnwrapKey, and makes every key extractable', () => {
  it('applies what it is given', async () => {
    const target = withoutTemplates('target', READ_ONLY_IN_UNWRAP, ...IGNORED_IN_UNWRAP);
    const [a, b] = [await honestMember('source'), await memberOn(target)];
    await enrolTogether([a, b], { group: 'payments', version: 1 });
    a.token.makeAes('01');
    a.token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'tls', '--id', '02', '--extractable');
    const group = new SealedGroup();
    const sealed = await group.captured(a);
    await group.apply(b, sealed);
    const { contentDigest, proof } = await group.verify(b, sealed);
    expect([contentDigest, proof.failed]).toEqual([sealed.contentDigest, 0]);
  });
});

describe('the self-test', () => {
  it.each<[string, string, Order]>([
    ['drops SENSITIVE from what it generates', 'sensitive', replaced('C_GenerateKey', 'sensitive')],
    ['drops SENSITIVE from pairs', 'sensitive', replaced('C_GenerateKeyPair', 'sensitive')],
    ['drops SENSITIVE from what it derives', 'sensitive', replaced('C_DeriveKey', 'sensitive')],
    ['makes what it generates extractable', 'extractable', replaced('C_GenerateKey', 'extractable')],
    ['makes pairs extractable', 'extractable', replaced('C_GenerateKeyPair', 'extractable')],
    ['makes what it derives extractable', 'extractable', replaced('C_DeriveKey', 'extractable')],
    ['lets what it unwraps be modified', 'modifiable', replaced('C_UnwrapKey', 'modifiable')],
    ['lets pairs be modified', 'modifiable', replaced('C_GenerateKeyPair', 'modifiable')],
    ['lets what it derives decrypt', 'decrypt', replaced('C_DeriveKey', 'decrypt')],
    [
      'drops the unwrap template from what it unwraps',
      'unwrap-template',
      { lie: 'ignore', function: 'C_UnwrapKey', attribute: CKA.UNWRAP_TEMPLATE },
    ],
    [
      'drops ALLOWED_MECHANISMS from what it unwraps',
      'allowed-mechanisms',
      { lie: 'ignore', function: 'C_UnwrapKey', attribute: 'allowedMechanisms' },
    ],
  ])('finds a token that %s', async (_what, protection, order) => {
    const refused = await refusalOfOpening(lyingToken('lying', order));
    expect(refused['code']).toBe('PROTECTION_UNENFORCED');
    expect(String(refused['unenforced']).split(',')).toContain(protection);
  });

  it.each([
    ['sensitive', replaced('C_GenerateKeyPair', 'sensitive')],
    ['extractable', replaced('C_GenerateKeyPair', 'extractable')],
  ])('finds that pairs lack %s in a token that has its own keys already', async (protection, order) => {
    const target = lyingToken('changed');
    const member = await memberOn(target);
    target.tell(order);
    await expect(member.reopen()).rejects.toMatchObject({
      code: 'PROTECTION_UNENFORCED',
      details: { unenforced: expect.stringContaining(protection) },
    });
  });

  it.each([
    ['secret', CKO.SECRET_KEY],
    ['private', CKO.PRIVATE_KEY],
  ])('refuses a token that gives %s keys and does not take them back', async (_kind, objectClass) => {
    const order: Order = {
      lie: 'read-only',
      function: 'C_UnwrapKey',
      attribute: 'extractable',
      value: TRUE,
      class: objectClass,
    };
    expect(await refusalOfOpening(lyingToken('lying', order))).toMatchObject({
      code: 'HSM_REFUSED',
      call: 'C_UnwrapKey',
    });
  });
});

describe('a key of ours that turns out wider than the throw-away keys were', () => {
  it.each(['sensitive', 'extractable'] as const)('is destroyed when it is a domain key: %s', async (attribute) => {
    // The draft in the session is sound; the key in the token is not.
    const wide: Order = { ...replaced('C_UnwrapKey', attribute), label: 'antipode domain key payments 1', after: 1 };
    const target = lyingToken('lying', wide);
    const members = [await honestMember('sound'), await memberOn(target)];
    await expect(enrolTogether(members, { group: 'payments', version: 1 })).rejects.toMatchObject({
      code: 'PROTECTION_UNENFORCED',
      details: { unenforced: attribute },
    });
    expect(labelled(target, 'antipode domain key payments 1')).toBe(0);
  });

  it.each(['sensitive', 'extractable'] as const)('is destroyed when it is an identity key: %s', async (attribute) => {
    const target = lyingToken('lying', { ...replaced('C_GenerateKeyPair', attribute), label: 'antipode identity' });
    expect(await refusalOfOpening(target)).toMatchObject({ code: 'PROTECTION_UNENFORCED', unenforced: attribute });
    expect(labelled(target, 'antipode identity')).toBe(0);
  });
});
