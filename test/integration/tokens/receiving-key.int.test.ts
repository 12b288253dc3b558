/** A domain key that is delivered under the receiving key of a real token. */

import { hasReceivingKey } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { afterEach, expect, it } from 'vitest';
import { lying } from '../../support/devices/lying-token.ts';
import { makeNssToken } from '../../support/devices/nss-tokens.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { onToken } from '../../support/raw-token.ts';
import { type AnyToken, makeToken } from '../../support/tokens.ts';

const members: TestMember<AnyToken>[] = [];
afterEach(async () => {
  for (const member of members.splice(0)) await member.close();
});

async function memberOn<Token extends AnyToken>(token: Token): Promise<TestMember<Token>> {
  const member = await TestMember.on(token, { withReceivingKey: true });
  members.push(member);
  return member;
}

it('reaches members with and without one, which open what each other sealed', async () => {
  const [a, b] = [await memberOn(makeToken('a')), await memberOn(makeToken('b'))];
  const old = await TestMember.make('old');
  members.push(old);
  const nss = await memberOn(makeNssToken('nss'));
  const all = [a, b, old, nss];
  expect(all.map(({ identity }) => hasReceivingKey(identity.publicHalf))).toEqual([true, true, false, false]);
  await enrolTogether(all, { group: 'payments', version: 1 });
  a.token.makeAes('01');
  const group = new SealedGroup();
  const sealed = await group.captured(a);
  for (const standby of [b, old]) {
    await group.apply(standby, sealed);
    expect((await group.verify(standby, sealed)).contentDigest).toBe(sealed.contentDigest);
  }
  // Found again after a restart, as objects of our own that no capture tells of.
  await b.reopen();
  expect([b.keyring.missing, b.keyring.receivingKey?.publicHalf.length]).toEqual([[], expect.any(Number)]);
  expect((await new SealedGroup().captured(b)).generation.entries).toHaveLength(1);
});

it('is refused where the receiving key has gone', async () => {
  const [a, b] = [await memberOn(makeToken('a')), await memberOn(makeToken('b'))];
  onToken(b.token, (cryptoki, session) => {
    const [key] = cryptoki.find(session, [
      [0x000, 3],
      [0x100, 0],
    ]);
    cryptoki.destroy(session, key!);
  });
  await b.reopen();
  await expect(enrolTogether([a, b], { group: 'payments', version: 1 })).rejects.toMatchObject({
    code: 'EXCHANGE_REFUSED',
  });
});

it('is made only where the token holds it to its template', async () => {
  const token = lying(makeToken('lying'), {
    lie: 'ignore',
    function: 'C_GenerateKeyPair',
    attribute: 0x40000212,
  });
  const member = await memberOn(token);
  expect(hasReceivingKey(member.identity.publicHalf)).toBe(false);
  const left = onToken(token.honest, (cryptoki, session) => cryptoki.find(session, [[0x100, 0]]).length);
  expect(left).toBe(0);
});
