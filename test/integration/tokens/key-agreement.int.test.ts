/** Tokens that agree on keys in different ways, in one group. The vendor's token also passes the suite of providers. */

import { openPartition } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { hex, silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LyingToken } from '../../support/devices/lying-token.ts';
import { makeNssToken } from '../../support/devices/nss-tokens.ts';
import { makeVendorToken, VENDOR_KEY_WRAP } from '../../support/devices/vendor-token.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import type { AnyToken } from '../../support/tokens.ts';

let soft: TestMember;
let vendor: TestMember<LyingToken>;
let nss: TestMember<AnyToken>;

beforeAll(async () => {
  [soft, vendor, nss] = await Promise.all([
    TestMember.make('soft'),
    TestMember.on(makeVendorToken('vendor')),
    TestMember.on(makeNssToken('nss')),
  ]);
});

afterAll(async () => {
  await Promise.all([soft, vendor, nss].map((member) => member?.close()));
});

it('is found by the self-test, and told', async () => {
  const told = await Promise.all(
    [soft, vendor, nss].map(async ({ provider }) => (await provider.describe()).mechanisms),
  );
  expect(told).toEqual([
    { keyWrap: 0x210a, kdfs: ['null'], pointEncoding: 'raw', takesSecrets: true },
    { keyWrap: VENDOR_KEY_WRAP, kdfs: ['sha256'], pointEncoding: 'der', takesSecrets: false },
    {
      keyWrap: 0x210b,
      kdfs: ['sha256', 'sha384', 'sha512', 'sha224', 'sha1', 'null'],
      pointEncoding: 'raw',
      takesSecrets: true,
    },
  ]);
});

it('is what the configuration allows, where it says so', async () => {
  const open = (member: TestMember<AnyToken>, config: object) =>
    openPartition({ ...member.token.config, ...config }, { log: silentLog, clock: systemClock });
  const provider = await open(nss, { kdf: 'sha384' });
  expect((await provider.describe()).mechanisms?.kdfs).toEqual(['sha384']);
  await provider.close();
  for (const wrong of [{ pointEncoding: 'raw' }, { keyWrapMechanism: 0x210a }, { kdf: 'null' }])
    expect((await rejection(open(vendor, wrong))).code).toBe('MECHANISM_MISSING');
});

it('keeps two tokens apart that have no key derivation function in common: the error says what each offers', async () => {
  const error = await rejection(enrolTogether([vendor, soft], { group: 'apart', version: 1 }));
  expect(error).toMatchObject({ code: 'EXCHANGE_REFUSED', details: { offers: 'sha256', answers: 'null' } });
  for (const { domainKeys } of [vendor, soft]) expect(domainKeys).toEqual([]);
});

it('lets a token that does both bring one domain key to both, and keys move from one to the other', async () => {
  await enrolTogether([nss, vendor, soft], { group: 'payments', version: 1 });
  const tags = [nss, vendor, soft].map(({ domainKeys }) => hex(domainKeys[0]!.checkTag));
  expect(new Set(tags).size).toBe(1);
  for (const [type, id] of [
    ['EC:prime256v1', 'a1'],
    ['EC:secp384r1', 'a2'],
    ['rsa:2048', 'a3'],
  ] as const)
    vendor.token.honest.tool('--keypairgen', '--key-type', type, '--id', id, '--label', type, '--extractable');
  vendor.token.honest.tool('--keygen', '--key-type', 'aes:32', '--label', 'aes', '--sensitive', '--extractable');
  const group = new SealedGroup();
  const sealed = await group.captured(vendor);
  expect(sealed.generation.uncaptured).toEqual([]);
  await group.apply(soft, sealed);
  const { contentDigest, proof } = await group.verify(soft, sealed);
  expect([contentDigest, proof.failed]).toEqual([sealed.contentDigest, 0]);
});
