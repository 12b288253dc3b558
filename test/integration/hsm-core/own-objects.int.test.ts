/** Our own objects among those of applications: what programs find that look for their keys as they always did. */

import { execFileSync } from 'node:child_process';
import { constants, createPublicKey, publicEncrypt, randomBytes, verify } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPartition } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { silentLog, systemClock } from '@antipode/runtime';
import { afterEach, describe, expect, it } from 'vitest';
import { javaAliases } from '../../support/java-key-store.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { onToken } from '../../support/raw-token.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';

const members: TestMember[] = [];
afterEach(async () => {
  for (const member of members.splice(0)) await member.close();
});

async function memberOn(token: TestToken): Promise<TestMember> {
  const member = await TestMember.on(token);
  members.push(member);
  return member;
}

/** A partition whose identity key lies in another token of the same module. */
function withIdentityToken(label: string): { token: TestToken; identities: TestToken } {
  const plain = makeToken(label);
  const identities = makeToken('identities', { folder: plain.folder });
  const { tokenLabel, pinFile, module, environment, stateFolder } = identities.config;
  const identity = { tokenLabel, pinFile, module, stateFolder, ...(environment === undefined ? {} : { environment }) };
  return { token: { ...plain, config: { ...plain.config, identity } }, identities };
}

describe('a program that opens the whole token', () => {
  it('in Java finds its keys after rotations and in a token of several groups', async () => {
    const [a, b] = [await memberOn(makeToken('java')), await memberOn(makeToken('other'))];
    a.token.makeAes('01');
    for (const version of [1, 2, 3]) await enrolTogether([a, b], { group: 'payments', version });
    await enrolTogether([a, b], { group: 'loans', version: 1 });
    expect(javaAliases(a.token)).toContain('key 01');
  });

  it('restores keys that Java finds at a standby', async () => {
    const [a, b] = [await memberOn(makeToken('source')), await memberOn(makeToken('standby'))];
    for (const version of [1, 2]) await enrolTogether([a, b], { group: 'payments', version });
    a.token.makeAes('01');
    const group = new SealedGroup();
    await group.apply(b, await group.captured(a));
    expect(javaAliases(b.token)).toContain('key 01');
  });
});

describe('a program that takes the private key of the token', () => {
  it('signs with its own where the identity key has a token of its own', async () => {
    const { token } = withIdentityToken('app');
    const member = await memberOn(token);
    await enrolTogether([member], { group: 'payments', version: 1 });
    token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'tls', '--id', '02', '--extractable');
    const der = join(token.folder, 'public.der');
    token.tool('--read-object', '--type', 'pubkey', '--id', '02', '--output-file', der);
    const [message, digest, signature] = ['message', 'digest', 'signature'].map((name) => join(token.folder, name));
    writeFileSync(message!, randomBytes(100));
    execFileSync('openssl', ['dgst', '-sha256', '-binary', '-out', digest!, message!]);
    // Without a label and an id: pkcs11-tool takes the first that may sign.
    token.tool(
      '--sign',
      '--mechanism',
      'ECDSA',
      '--signature-format',
      'openssl',
      '--input-file',
      digest!,
      '--output-file',
      signature!,
    );
    const pem = join(token.folder, 'public.pem');
    execFileSync('openssl', ['ec', '-pubin', '-inform', 'DER', '-in', der, '-pubout', '-out', pem], { stdio: 'pipe' });
    const said = execFileSync('openssl', ['dgst', '-sha256', '-verify', pem, '-signature', signature!, message!]);
    expect(said.toString()).toContain('Verified OK');
  });

  /**
   * Signs or decrypts with the private key that `pkcs11-tool` takes by default. Returns whether it was the
   * application's.
   */
  function usesItsOwn(token: TestToken, use: 'sign' | 'decrypt'): boolean {
    const file = (name: string): string => join(token.folder, name);
    token.tool('--read-object', '--type', 'pubkey', '--id', '02', '--output-file', file('public.der'));
    const publicKey = createPublicKey({ key: readFileSync(file('public.der')), format: 'der', type: 'spki' });
    const message = randomBytes(32);
    const files = ['--input-file', file('input'), '--output-file', file('output')];
    if (use === 'sign') {
      writeFileSync(file('input'), message);
      token.tool('--sign', '--mechanism', 'SHA256-RSA-PKCS', ...files);
      return verify('sha256', message, publicKey, readFileSync(file('output')));
    }
    const padding = constants.RSA_PKCS1_PADDING;
    writeFileSync(file('input'), publicEncrypt({ key: publicKey, padding }, message));
    token.tool('--decrypt', '--mechanism', 'RSA-PKCS', ...files);
    return readFileSync(file('output')).equals(message);
  }

  it.each(['sign', 'decrypt'] as const)('would %s with its own where the receiving key is left out', async (use) => {
    // Which of several keys comes first is chance: each token is another try.
    for (let tokens = 0; tokens < 4; tokens += 1) {
      const { token } = withIdentityToken('app');
      const member = await memberOn(token);
      await enrolTogether([member], { group: 'payments', version: 1 });
      token.tool('--keypairgen', '--key-type', 'rsa:2048', '--label', 'tls', '--id', '02', '--extractable');
      expect(usesItsOwn(token, use)).toBe(true);
      token.makeAes('03');
      expect(javaAliases(token).filter((alias) => !alias.startsWith('antipode domain key'))).toEqual(['key 03']);
    }
  });

  it.each(['sign', 'decrypt'] as const)(
    'fails to %s, or does it with its own, beside the receiving key',
    async (use) => {
      const { token } = withIdentityToken('app');
      const member = await TestMember.on(token, { withReceivingKey: true });
      members.push(member);
      token.tool('--keypairgen', '--key-type', 'rsa:2048', '--label', 'tls', '--id', '02', '--extractable');
      let said = '';
      try {
        expect(usesItsOwn(token, use)).toBe(true);
      } catch (thrown) {
        said = String((thrown as Error).message);
      }
      // It can do neither: nobody gets a signature or a text of ours for his own.
      expect(['', 'CKR_KEY_FUNCTION_NOT_PERMITTED']).toContain(/CKR_\w+/.exec(said)?.[0] ?? said);
      token.makeAes('03');
      expect(javaAliases(token).filter((alias) => !alias.startsWith('antipode domain key'))).toEqual(['key 03']);
    },
  );

  it('finds no private key of ours there, and the partition works all the same', async () => {
    const { token, identities } = withIdentityToken('app');
    const member = await memberOn(token);
    await enrolTogether([member], { group: 'payments', version: 1 });
    const privateKeys = (one: TestToken): number =>
      onToken(one, (cryptoki, session) => cryptoki.find(session, [[0, 3]]).length);
    expect([privateKeys(token), privateKeys(identities)]).toEqual([0, 1]);
    token.makeAes('01');
    await member.reopen();
    const { generation } = await new SealedGroup().captured(member);
    // The object with the handle of the identity key in the other token is an ordinary object.
    expect(generation.entries.map(({ keyType }) => keyType)).toEqual(['aes']);
    const message = randomBytes(10);
    const signature = await member.provider.signAsIdentity(member.keyring.identity.handle, message);
    const key = createPublicKey({ key: Buffer.from(member.identity.publicHalf), format: 'der', type: 'spki' });
    expect(verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
  });

  it('keeps no object of ours out of captures by its handle in the other token', async () => {
    const { token } = withIdentityToken('app');
    const member = await memberOn(token);
    expect(member.keyring.ownHandles.size).toBe(0);
  });
});

it('tells of a slot in which a token for the identity key could be made', async () => {
  const token = makeToken('free');
  const provider = await openPartition(token.config, { log: silentLog, clock: systemClock });
  expect((await provider.describe()).freeSlots).toBeGreaterThan(0);
  await provider.close();
  token.remove();
});
