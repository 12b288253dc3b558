/**
 * Keys with CKA_WRAP_WITH_TRUSTED under a trusted key, on real tokens: the effect of the security officer's step, the
 * objects that programs find at a standby, and the limits of the user's PIN.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { CKA, CKM, type Cryptoki, mechanism, P256_PARAMS, type Template } from '@antipode/cryptoki';
import { hasOfficerKey, hasReceivingKey, ReplicaMemory, trustedKeyLabel } from '@antipode/hsm-core';
import { ATTRIBUTES, SealedGroup } from '@antipode/hsm-core/testing';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { lying } from '../../support/devices/lying-token.ts';
import { makeNssToken } from '../../support/devices/nss-tokens.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { onToken } from '../../support/raw-token.ts';
import { Desk, EngineUser } from '../../support/token-users.ts';
import { type AnyToken, makeToken, temporaryFolder } from '../../support/tokens.ts';

const type = (name: keyof typeof ATTRIBUTES): number => ATTRIBUTES[name].type;
const GUARDED: Template = [
  [CKA.TOKEN, true],
  [type('private'), true],
  [type('sensitive'), true],
  [type('extractable'), true],
  [type('wrapWithTrusted'), true],
];
const KEY_WRAP = mechanism(CKM.AES_KEY_WRAP_PAD);

const desk = new Desk(temporaryFolder('trusted'));
const members: TestMember<AnyToken>[] = [];
let [a, b]: TestMember[] = [];
let group: SealedGroup;
/** Each test has a version of its own: RSA keys are too slow to make for each. */
let version = 0;
const captured = (member: TestMember, options: Parameters<SealedGroup['captured']>[1] = {}) =>
  group.captured(member, { domainKeyVersion: version, ...options });

beforeAll(async () => {
  [a, b] = [await officerMember('a'), await officerMember('b')];
});
beforeEach(async () => {
  group = new SealedGroup();
  version += 1;
  await enrolTogether([a!, b!], { group: group.name, version });
});
afterEach(async () => {
  for (const member of [a!, b!]) {
    member.delivered.splice(0);
    await member.reopen();
    const objects = await member.provider.inventory();
    await member.provider.destroy(
      objects.map(({ handle }) => handle).filter((handle) => !member.keyring.ownHandles.has(handle)),
    );
  }
});
afterAll(async () => {
  for (const member of members) await member.close();
  rmSync(desk.folder, { recursive: true, force: true });
});

async function officerMember(label: string): Promise<TestMember> {
  return keep(await TestMember.on(makeToken(label), { withReceivingKey: true, withOfficerKey: true }));
}

function keep<One extends TestMember<AnyToken>>(member: One): One {
  members.push(member);
  return member;
}

const names = (id: string, label: string): Template => [
  [type('id'), Buffer.from(id, 'hex')],
  [type('label'), Buffer.from(label)],
];

/** A signing pair and an AES key, as an application makes them that lets only trusted keys wrap them. */
function makeGuarded({ token }: TestMember): void {
  onToken(token, (cryptoki, session) => {
    cryptoki.generateKeyPair(
      session,
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [[CKA.TOKEN, true], [CKA.EC_PARAMS, P256_PARAMS], [type('verify'), true], ...names('01', 'tls')],
      [...GUARDED, [type('sign'), true], ...names('01', 'tls')],
    );
    cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      ...GUARDED,
      [type('encrypt'), true],
      [type('decrypt'), true],
      ...names('02', 'data'),
    ]);
  });
}

const uncapturedOf = (generation: { uncaptured: readonly { objectClass: string; reason: string }[] }): string[] =>
  generation.uncaptured.map(({ objectClass, reason }) => `${objectClass} ${reason}`).sort();

function find(cryptoki: Cryptoki, session: bigint, template: Template): bigint {
  const [found] = cryptoki.find(session, template);
  if (found === undefined) throw new Error('there is no such object');
  return found;
}

const SECRET: Template[number] = [CKA.CLASS, 4];
const dataKey: Template = [SECRET, [type('label'), Buffer.from('data')]];
const trustedKey = (): Template => [
  SECRET,
  [type('label'), Buffer.from(trustedKeyLabel({ group: group.name, version }))],
];

const nowGuarded = [
  ['private-key', true],
  ['secret-key', true],
];
const guardsAt = async ({ provider, keyring }: TestMember) =>
  (await provider.inventory())
    .filter(({ handle, objectClass }) => !keyring.ownHandles.has(handle) && objectClass !== 'public-key')
    .map(({ objectClass, attributes }) => [objectClass, attributes.wrapWithTrusted])
    .sort();

it('moves keys that only a trusted key may wrap, and programs use them at the standby', async () => {
  makeGuarded(a!);
  expect(uncapturedOf((await captured(a!)).generation)).toEqual([
    'private-key wrap-with-trusted',
    'secret-key wrap-with-trusted',
  ]);
  await a!.trust();
  await b!.trust();
  const sealed = await captured(a!);
  expect(sealed.generation.uncaptured).toEqual([]);
  const replica = { memory: new ReplicaMemory() };
  expect(await group.apply(b!, sealed, replica)).toMatchObject({ refused: [], unaccounted: 0 });
  const { contentDigest, proof } = await group.verify(b!, sealed, replica);
  expect([contentDigest, proof.failed, proof.proved]).toEqual([sealed.contentDigest, 0, 3]);
  expect(await guardsAt(b!)).toEqual(nowGuarded);

  const engine = new EngineUser(desk, a!.token);
  engine.openssl('pkey', '-pubin', '-in', engine.publicKey('01'), '-pubout', '-outform', 'DER', '-out', desk.at('tls'));
  writeFileSync(desk.at('message'), 'pay 12 to Anna\n');
  desk.openssl('dgst', '-sha256', '-binary', '-out', 'digest', 'message');
  const verified = (): string =>
    desk.openssl('dgst', '-sha256', '-verify', 'tls', '-keyform', 'DER', '-signature', 'signature', 'message');
  const [input, output] = [desk.at('digest'), desk.at('signature')];
  const sign = ['--sign', '-m', 'ECDSA', '--signature-format', 'openssl', '-i', input, '-o', output];
  // Asked to sign, pkcs11-tool 0.23 looks at no label; the engine does.
  b!.token.tool(...sign, '--id', '01');
  expect(verified()).toBe('Verified OK\n');
  const there = new EngineUser(desk, b!.token);
  there.openssl('dgst', '-sha256', '-sign', there.keyByLabel('tls'), '-out', output, desk.at('message'));
  expect(verified()).toBe('Verified OK\n');
  // After restarts of both workers, nothing is new to either.
  await a!.reopen();
  await b!.reopen();
  group.captures.forget();
  expect((await group.capture(a!, { domainKeyVersion: version })).sealed).toBeUndefined();
  expect((await group.apply(b!, sealed, { memory: new ReplicaMemory() })).applied).toEqual([]);
  // The standby, promoted, captures them as the source did.
  const promoted = await captured(b!, { epoch: 2n, hasRestored: true });
  expect([promoted.generation.entries.length, promoted.generation.uncaptured]).toEqual([3, []]);
});

it('names what it does not restore where the officer has not acted, and restores it afterwards', async () => {
  makeGuarded(a!);
  a!.token.makeAes('03');
  await a!.trust();
  const sealed = await captured(a!);
  expect(sealed.generation.entries).toHaveLength(4);
  const first = await group.apply(b!, sealed, { memory: new ReplicaMemory() });
  expect(first.refused.map(({ code }) => code)).toEqual(['DOMAIN_KEY_UNTRUSTED', 'DOMAIN_KEY_UNTRUSTED']);
  expect(first.applied).toHaveLength(2);
  await b!.trust();
  const replica = { memory: new ReplicaMemory() };
  expect(await group.apply(b!, sealed, replica)).toMatchObject({ refused: [] });
  expect((await group.verify(b!, sealed, replica)).contentDigest).toBe(sealed.contentDigest);
});

it('holds a capture that a new version would leave guarded keys out of, until the officer trusts it', async () => {
  makeGuarded(a!);
  await a!.trust();
  await b!.trust();
  const before = await captured(a!);
  const replica = { memory: new ReplicaMemory() };
  await group.apply(b!, before, replica);
  await group.verify(b!, before, replica);
  version += 1;
  await enrolTogether([a!, b!], { group: group.name, version });
  const held = await group.capture(a!, { domainKeyVersion: version });
  expect(held.held?.losses.map(({ reason }) => reason)).toEqual(['wrap-with-trusted', 'wrap-with-trusted']);
  expect(held.sealed).toBeUndefined();
  await a!.trust();
  await b!.trust();
  const sealed = await group.captured(a!);
  expect(sealed.generation.uncaptured).toEqual([]);
  const again = { memory: new ReplicaMemory(), previous: [before] };
  // Recognised under the new version: nothing is made again.
  expect(await group.apply(b!, sealed, again)).toMatchObject({ applied: [], refused: [] });
  expect((await group.verify(b!, sealed, again)).contentDigest).toBe(sealed.contentDigest);
});

it('takes no captured key for deleted when somebody destroys the trusted key', async () => {
  makeGuarded(a!);
  await a!.trust();
  await b!.trust();
  const before = await captured(a!);
  const replica = { memory: new ReplicaMemory() };
  await group.apply(b!, before, replica);
  await group.verify(b!, before, replica);
  // At the source, and at a standby that was promoted: what was restored shows no check value to go by.
  for (const [epoch, member] of [[1n, a!] as const, [2n, b!] as const]) {
    onToken(member.token, (cryptoki, session) => cryptoki.destroy(session, find(cryptoki, session, trustedKey())));
    await member.reopen();
    group.captures.forget();
    const { generation } = await captured(member, { epoch, hasRestored: epoch > 1n });
    expect(generation.tombstones).toEqual([]);
    expect(generation.entries.map(({ objectId }) => objectId).sort()).toEqual(
      before.generation.entries.map(({ objectId }) => objectId).sort(),
    );
    expect(uncapturedOf(generation)).toEqual(['private-key wrap-with-trusted', 'secret-key wrap-with-trusted']);
  }
});

it('lets the PIN of the user take no guarded key out, with the trusted key in the token', async () => {
  makeGuarded(a!);
  await a!.trust();
  onToken(a!.token, (cryptoki, session) => {
    const refused = (work: () => unknown): string => String(thrownReturn(work));
    const guarded = find(cryptoki, session, dataKey);
    const trusted = find(cryptoki, session, trustedKey());
    const own = cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [type('wrap'), true],
      [type('unwrap'), true],
      [type('decrypt'), true],
      [type('extractable'), true],
    ]);
    const shown = cryptoki.attributes(session, trusted, [
      CKA.TRUSTED,
      type('private'),
      type('extractable'),
      type('modifiable'),
    ])!;
    expect([...shown.values()].map(([byte]) => byte)).toEqual([1, 1, 0, 0]);
    const blob = cryptoki.wrapKey(session, KEY_WRAP, trusted, guarded);
    const aes: Template = [SECRET, [CKA.KEY_TYPE, 0x1f], [CKA.TOKEN, false], [type('extractable'), true]];
    const unwrap = (template: Template): bigint =>
      cryptoki.unwrapKey(session, KEY_WRAP, trusted, blob, [...aes, ...template]);
    const honest = unwrap([
      [type('sensitive'), true],
      [type('wrapWithTrusted'), true],
    ]);
    expect({
      'wrapped by a key of his own': refused(() => cryptoki.wrapKey(session, KEY_WRAP, own, guarded)),
      'wrapped after unwrapping it again': refused(() => cryptoki.wrapKey(session, KEY_WRAP, own, honest)),
      'unwrapped without the guard': refused(() => unwrap([[type('sensitive'), true]])),
      'unwrapped with the guard off': refused(() =>
        unwrap([
          [type('sensitive'), true],
          [type('wrapWithTrusted'), false],
        ]),
      ),
      'unwrapped to be read': refused(() =>
        unwrap([
          [type('sensitive'), false],
          [type('wrapWithTrusted'), true],
        ]),
      ),
      'the guard taken off': refused(() =>
        cryptoki.setAttributes(session, guarded, [[type('wrapWithTrusted'), false]]),
      ),
      'the trusted key wrapped': refused(() => cryptoki.wrapKey(session, KEY_WRAP, own, trusted)),
      'the trusted key copied': refused(() =>
        cryptoki.copy(session, trusted, [
          [CKA.TOKEN, false],
          [type('decrypt'), true],
        ]),
      ),
      'a key of his own trusted': refused(() => cryptoki.setAttributes(session, own, [[CKA.TRUSTED, true]])),
    }).toEqual({
      'wrapped by a key of his own': 'CKR_KEY_NOT_WRAPPABLE',
      'wrapped after unwrapping it again': 'CKR_KEY_NOT_WRAPPABLE',
      'unwrapped without the guard': 'CKR_TEMPLATE_INCONSISTENT',
      'unwrapped with the guard off': 'CKR_TEMPLATE_INCONSISTENT',
      'unwrapped to be read': 'CKR_TEMPLATE_INCONSISTENT',
      'the guard taken off': 'CKR_ATTRIBUTE_READ_ONLY',
      'the trusted key wrapped': 'CKR_KEY_UNEXTRACTABLE',
      'the trusted key copied': 'CKR_ATTRIBUTE_READ_ONLY',
      'a key of his own trusted': 'CKR_ATTRIBUTE_READ_ONLY',
    });
  });
});

function thrownReturn(work: () => unknown): unknown {
  try {
    work();
    return 'it went through';
  } catch (thrown) {
    return (thrown as { returnValue?: string }).returnValue;
  }
}

it('tries a wrong PIN of the officer once, and reads it from a guarded file only', async () => {
  const officerPinFile = desk.at('wrong.pin');
  const deliveries = [{ sealed: a!.delivered[0]!.sealed, ckaId: Buffer.alloc(16, 7), label: 'antipode trusted key' }];
  const trust = async (): Promise<string> => {
    await a!.reopen();
    const error = await rejection(a!.provider.trustKeys({ identity: a!.identity, officerPinFile, deliveries }));
    return `${error.code} ${error.details['returnValue'] ?? 'not asked'}`;
  };
  writeFileSync(officerPinFile, '99999999\n', { mode: 0o600 });
  expect([await trust(), await trust()]).toEqual(['PIN_REFUSED CKR_PIN_INCORRECT', 'PIN_REFUSED not asked']);
  writeFileSync(officerPinFile, '11223344\n');
  chmodSync(officerPinFile, 0o644);
  expect(await trust()).toBe('PIN_FILE_EXPOSED not asked');
  // The user's own PIN is not the officer's to lock out.
  await a!.reopen();
  expect((await a!.provider.describe()).serial).toBe(a!.serial);
  await a!.trust();
  expect(a!.keyring.domainKey(group.name, version).trusted).toBeDefined();
});

it('makes an officer key only where the token keeps what it stands for', async () => {
  const identityOn = async (token: AnyToken): Promise<Uint8Array> =>
    keep(await TestMember.on(token, { withReceivingKey: true, withOfficerKey: true })).identity.publicHalf;
  expect(hasOfficerKey(a!.identity.publicHalf)).toBe(true);
  expect(hasOfficerKey(await identityOn(makeNssToken('nss')))).toBe(false);
  // A token that lets any key wrap one with CKA_WRAP_WITH_TRUSTED.
  const lax = lying(makeToken('lax'), { lie: 'ignore', function: 'C_GenerateKey', attribute: type('wrapWithTrusted') });
  const identity = await identityOn(lax);
  expect([hasReceivingKey(identity), hasOfficerKey(identity)]).toEqual([true, false]);
  // One that does not hold the officer key to its template: the user could unwrap with it.
  const lie = { lie: 'ignore', function: 'C_GenerateKeyPair', attribute: CKA.UNWRAP_TEMPLATE } as const;
  const loose = lying(makeToken('loose'), { ...lie, label: 'antipode officer key' });
  const bound = await identityOn(loose);
  expect([hasReceivingKey(bound), hasOfficerKey(bound)]).toEqual([true, false]);
});

it('takes the officer key of an identity that is made, or was left half made, for its own, and no key of use', async () => {
  const { provider, keyring } = a!;
  const ckaId = new Uint8Array(randomBytes(16));
  await provider.generateOfficerKey(ckaId);
  const [officerKey, ...more] = await provider.findUnder([ckaId]);
  expect([officerKey === undefined, more]).toEqual([false, []]);
  expect(keyring.ownHandles.has(officerKey!)).toBe(false);
  const [own] = await provider.read([officerKey!]);
  expect(Buffer.from(own!.attributes.label!).toString()).toBe('antipode officer key');
  // An application's key under the same id stays an application's.
  const id = Buffer.from(own!.attributes.id!);
  onToken(a!.token, (cryptoki, session) => {
    cryptoki.generateKeyPair(
      session,
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [[CKA.TOKEN, true], [CKA.EC_PARAMS, P256_PARAMS], [type('verify'), true], ...names(id.toString('hex'), 'tls')],
      [...GUARDED, [type('sign'), true], ...names(id.toString('hex'), 'tls')],
    );
  });
  await a!.reopen();
  expect(await a!.provider.findUnder([ckaId])).toHaveLength(1);
});
