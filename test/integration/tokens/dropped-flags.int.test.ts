/** A token that drops a flag from keys that cannot have the use, as NSS 3.132 drops CKA_SIGN_RECOVER of EC keys. */
import { generateKeyPairSync } from 'node:crypto';
import { named, plantedKey, SealedGroup, SoftwareDomain } from '@antipode/hsm-core/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FALSE, type LyingToken, lying } from '../../support/devices/lying-token.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { makeToken } from '../../support/tokens.ts';

let source: TestMember;
let target: TestMember<LyingToken>;

beforeAll(async () => {
  [source, target] = await Promise.all([TestMember.make('keeps'), TestMember.on(lying(makeToken('drops')))]);
  await enrolTogether([source, target], { group: 'payments', version: 1 });
});

afterAll(async () => {
  await Promise.all([source, target].map((member) => member?.close()));
});

it('holds such a key as it was captured, and captures nothing new when it is promoted', async () => {
  target.token.tell({ lie: 'answer', attribute: 'signRecover', value: FALSE });
  const domain = await SoftwareDomain.installIn(source.provider);
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await domain.plant(source.provider, [plantedKey(pair, { ...named('ec'), sign: true, signRecover: true })]);
  await source.provider.destroy([domain.handle]);
  const group = new SealedGroup();
  const sealed = await group.captured(source);
  expect(sealed.generation.entries[0]).toMatchObject({ keyType: 'ec', attributes: { signRecover: true } });
  expect(await group.apply(target, sealed)).toMatchObject({ divergent: 0, unaccounted: 0, refused: [] });
  const { contentDigest, proof } = await group.verify(target, sealed);
  expect([contentDigest, proof.failed]).toEqual([sealed.contentDigest, 0]);
  const promoted = new SealedGroup();
  promoted.newest = sealed;
  const { sealedObjects, sealed: next } = await promoted.capture(target, { epoch: 2n });
  expect(sealedObjects).toBe(0);
  expect(next?.contentDigest ?? sealed.contentDigest).toBe(sealed.contentDigest);
});
