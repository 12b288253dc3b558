/** Reported numbers are true (I13): each use that a key allows is tried, or counted as not tried. */
import { CKA, CKM, mechanism, P256_PARAMS, type Template } from '@antipode/cryptoki';
import { ReplicaMemory } from '@antipode/hsm-core';
import { ATTRIBUTES, type AttributeName, proofItem, SealedGroup } from '@antipode/hsm-core/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openRawToken } from '../../attacks/support/raw-token.ts';
import { label } from '../../attacks/support/templates.ts';
import { lying } from '../../support/devices/lying-token.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { PORTABLE, TokenPair } from '../../support/token-pair.ts';
import { makeToken } from '../../support/tokens.ts';

let pair: TokenPair;
beforeAll(async () => {
  pair = await TokenPair.make();
});
afterAll(() => pair.close());

const SECRET_USES = ['encrypt', 'decrypt', 'wrap', 'unwrap', 'sign', 'verify', 'derive'] as const;
const PRIVATE_USES = ['decrypt', 'unwrap', 'sign', 'signRecover', 'derive'] as const;
const only = (uses: readonly AttributeName[], ...on: AttributeName[]): Template =>
  uses.map((name) => [ATTRIBUTES[name].type, on.includes(name)] as const);

it('every use that a key allows is tried, or counted as not tried', async () => {
  const { source } = pair;
  const aes = (...on: AttributeName[]) =>
    source.generateKey(mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      ...PORTABLE,
      ...label(`aes ${on.join(' ')}`),
      ...only(SECRET_USES, ...on),
    ]);
  const generic = (...on: AttributeName[]) =>
    source.generateKey(mechanism(CKM.GENERIC_SECRET_KEY_GEN), [
      [CKA.VALUE_LEN, 64],
      ...PORTABLE,
      ...label(`generic ${on.join(' ')}`),
      ...only(SECRET_USES, ...on),
    ]);
  const AGAIN: Template = [[ATTRIBUTES.alwaysAuthenticate.type, true]];
  const rsa = (name: string, on: readonly AttributeName[], more: Template = []) =>
    source.generateKeyPair(
      mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.MODULUS_BITS, 2048],
        [CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1)],
      ],
      [...PORTABLE, ...label(name), ...only(PRIVATE_USES, ...on), ...more],
    );
  for (const use of SECRET_USES) await aes(use);
  // Its other side is a copy of it.
  await source.generateKey(mechanism(CKM.AES_KEY_GEN), [
    [CKA.VALUE_LEN, 32],
    ...PORTABLE,
    ...label('aes unwrap, not to be copied'),
    ...only(SECRET_USES, 'unwrap'),
    [ATTRIBUTES.copyable.type, false],
  ]);
  await aes('encrypt', 'decrypt', 'sign', 'verify');
  for (const use of ['sign', 'verify', 'derive'] as const) await generic(use);
  await rsa('rsa signRecover', ['signRecover']);
  await rsa('rsa sign decrypt, PIN each time', ['sign', 'decrypt'], AGAIN);
  await source.generateKeyPair(
    mechanism(CKM.EC_KEY_PAIR_GEN),
    [
      [CKA.TOKEN, false],
      [CKA.EC_PARAMS, P256_PARAMS],
    ],
    [...PORTABLE, ...label('ec sign'), ...only(PRIVATE_USES, 'sign')],
  );

  const sealed = await pair.group.captured(pair.a);
  const memory = new ReplicaMemory();
  await pair.group.apply(pair.b, sealed, { memory });
  const { proof } = await pair.group.verify(pair.b, sealed, { memory });
  const domainKey = pair.b.keyring.domainKey(pair.group.name, 1).handle;
  const untried: string[] = [];
  for (const entry of sealed.generation.entries) {
    const item = proofItem(entry, memory.known.get(entry.objectId)!.handle);
    const [outcome] = await pair.b.provider.prove(domainKey, [item]);
    for (const { use, outcome: how } of outcome!.checks)
      if (how === 'not-exercised') untried.push(`${Buffer.from(entry.attributes.label ?? []).toString()}: ${use}`);
  }
  expect(untried.sort()).toEqual([
    'aes unwrap, not to be copied: unwrap',
    'generic derive: derive',
    'rsa signRecover: signRecover',
  ]);
  // Nothing of the trials is left: a copy may do more than its key.
  const session = await pair.b.provider.inventory();
  expect(session).toHaveLength(sealed.generation.entries.length + pair.b.keyring.ownHandles.size);
  expect(proof).toMatchObject({ proved: sealed.generation.entries.length, failed: 0, usesNotExercised: 3 });
  // By object: a number alone does not say which keys to try with their application.
  const labels = new Map(
    sealed.generation.entries.map(({ objectId, attributes }) => [
      objectId,
      Buffer.from(attributes.label ?? []).toString(),
    ]),
  );
  const byObject = proof.notExercised.map(({ objectId, uses }) => `${labels.get(objectId)}: ${uses.join(' ')}`);
  expect(byObject.sort()).toEqual(untried);
});

it('a token that refuses the PIN for one key is asked once, and stays open with the same PIN', async () => {
  const token = lying(makeToken('context'));
  const member = await TestMember.on(token);
  try {
    await enrolTogether([member], { group: 'payments', version: 1 });
    const application = await openRawToken(token.honest);
    await application.generateKeyPair(
      mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.MODULUS_BITS, 2048],
        [CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1)],
      ],
      [...PORTABLE, ...label('each time'), ...only(PRIVATE_USES, 'sign'), [ATTRIBUTES.alwaysAuthenticate.type, true]],
    );
    await application.close();
    token.tell({ lie: 'refuse', code: 'CKR_PIN_INCORRECT', function: 'C_Login' });
    const group = new SealedGroup();
    const sealed = await group.captured(member);
    const [entry] = sealed.generation.entries;
    const [key] = (await member.provider.inventory()).filter(({ handle }) => !member.keyring.ownHandles.has(handle));
    const domainKey = member.keyring.domainKey('payments', 1).handle;
    const [outcome] = await member.provider.prove(domainKey, [proofItem(entry!, key!.handle)]);
    expect(outcome).toMatchObject({ proved: true });
    expect(outcome!.checks).toContainEqual(expect.objectContaining({ use: 'sign', outcome: 'not-exercised' }));
    expect(token.calls('C_Login')).toBe(1);
    token.tell();
    await member.reopen();
  } finally {
    await member.close();
  }
});
