/**
 * A source and a standby on real tokens, each with an application beside us that holds the PIN: what it keeps in one token
 * has to serve it in the other.
 */
import { CKA, CKK, CKM, CKO, mechanism, type Template } from '@antipode/cryptoki';
import type { ObservedObject } from '@antipode/hsm-core';
import { ReplicaMemory, type SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { expect } from 'vitest';
import { openRawToken, type RawToken } from '../attacks/support/raw-token.ts';
import { flags, value } from '../attacks/support/templates.ts';
import { enrolTogether, TestMember } from './members.ts';
import { makeToken } from './tokens.ts';

export class TokenPair {
  readonly a: TestMember;
  readonly b: TestMember;
  /** The applications. */
  readonly source: RawToken;
  readonly standby: RawToken;
  group = new SealedGroup();
  #memory = new ReplicaMemory();

  private constructor(members: [TestMember, TestMember], applications: [RawToken, RawToken]) {
    [this.a, this.b] = members;
    [this.source, this.standby] = applications;
  }

  /** `withTrusted`: the security officers have trusted the domain key. */
  static async make({ withTrusted = false } = {}): Promise<TokenPair> {
    const own = withTrusted ? { withReceivingKey: true, withOfficerKey: true } : {};
    const members = await Promise.all(
      [makeToken('a'), makeToken('b')].map((token) => TestMember.on(token, own)) as [
        Promise<TestMember>,
        Promise<TestMember>,
      ],
    );
    const applications = await Promise.all([openRawToken(members[0].token), openRawToken(members[1].token)]);
    const pair = new TokenPair(members, applications);
    await enrolTogether(members, { group: pair.group.name, version: 1 });
    if (withTrusted) for (const member of members) await member.trust();
    return pair;
  }

  /** A capture that finds something new, applied to the standby, read back and proved there. */
  async replicate(options: Parameters<SealedGroup['captured']>[1] = {}): Promise<SealedGeneration> {
    const { newest: before } = this.group;
    const sealed = await this.group.captured(this.a, options);
    await this.apply(sealed, before);
    return sealed;
  }

  async apply(sealed: SealedGeneration, before?: SealedGeneration) {
    const options = { memory: this.#memory, previous: before === undefined ? [] : [before] };
    const result = await this.group.apply(this.b, sealed, options);
    const { contentDigest, proof } = await this.group.verify(this.b, sealed, options);
    expect([contentDigest, proof.failed]).toEqual([sealed.contentDigest, 0]);
    return result;
  }

  /** The objects in the token of a member, without its own keys. */
  async objects({ provider, keyring }: TestMember): Promise<ObservedObject[]> {
    return (await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle));
  }

  /** Ends the workers, so that handles and what is remembered by them are void. */
  async restart(): Promise<void> {
    await Promise.all([this.a.reopen(), this.b.reopen()]);
    this.group.captures.forget();
    this.#memory = new ReplicaMemory();
  }

  /** As it was made. */
  async empty(): Promise<void> {
    for (const member of [this.a, this.b])
      await member.provider.destroy((await this.objects(member)).map(({ handle }) => handle));
    this.group = new SealedGroup();
    this.#memory = new ReplicaMemory();
  }

  async close(): Promise<void> {
    await Promise.all([this.source, this.standby].map((token) => token.close()));
    await Promise.all([this.a, this.b].map((member) => member.close()));
  }
}

/** A key that can be replicated, and stays in its token. */
export const PORTABLE: Template = [[CKA.TOKEN, true], ...flags({ private: true, sensitive: true, extractable: true })];

export const makeAes = (token: RawToken, ...template: Template): Promise<bigint> =>
  token.generateKey(mechanism(CKM.AES_KEY_GEN), [[CKA.VALUE_LEN, 32], ...PORTABLE, ...template]);

export const makeSecret = (token: RawToken, bytes: number, ...template: Template): Promise<bigint> =>
  token.generateKey(mechanism(CKM.GENERIC_SECRET_KEY_GEN), [[CKA.VALUE_LEN, bytes], ...PORTABLE, ...template]);

/** A pair on a curve, which may sign and agree; `template` holds for both halves. */
export const makePair = (token: RawToken, params: Uint8Array, ...template: Template) =>
  token.generateKeyPair(
    mechanism(CKM.EC_KEY_PAIR_GEN),
    [[CKA.TOKEN, true], [CKA.EC_PARAMS, params], ...template],
    [...PORTABLE, ...flags({ sign: true, derive: true }), ...template],
  );

export const makeRsa = (token: RawToken, name: Template, ...template: Template) =>
  token.generateKeyPair(
    mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
    [[CKA.TOKEN, true], [CKA.MODULUS_BITS, 2048], [CKA.PUBLIC_EXPONENT, Buffer.from('010001', 'hex')], ...name],
    [...PORTABLE, ...name, ...template],
  );

export const secretOf = (bytes: Uint8Array, ...template: Template): Template => [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  ...PORTABLE,
  ...value(bytes),
  ...template,
];

export const dataOf = (bytes: Uint8Array, ...template: Template): Template => [
  [CKA.CLASS, CKO.DATA],
  [CKA.TOKEN, true],
  ...value(bytes),
  ...template,
];

export { certificateOf } from '../attacks/support/templates.ts';
