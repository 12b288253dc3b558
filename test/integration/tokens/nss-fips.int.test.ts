/**
 * NSS in FIPS mode as a member: it takes no secret in the clear, and shows none. SoftHSM is beside it in one group. The
 * suite of provider-conformance.int.test.ts runs on it too.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import {
  CKA,
  CKF,
  CKK,
  CKM,
  CKO,
  type Cryptoki,
  loadCryptoki,
  mechanism,
  type Template,
  ulong,
} from '@antipode/cryptoki';
import { named, plantedKey, SealedGroup, SoftwareDomain, secretKey } from '@antipode/hsm-core/testing';
import { hex, readPinFile } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeFipsToken } from '../../support/devices/nss-tokens.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { onToken } from '../../support/raw-token.ts';
import type { AnyToken } from '../../support/tokens.ts';

let soft: TestMember;
let fips: TestMember<AnyToken>;

beforeAll(async () => {
  [soft, fips] = await Promise.all([TestMember.make('soft'), TestMember.on(makeFipsToken('fips'))]);
  await enrolTogether([fips, soft], { group: 'payments', version: 1 });
});

afterAll(async () => {
  await Promise.all([soft, fips].map((member) => member?.close()));
});

/** As an application in this process. */
function onFips<T>(work: (cryptoki: Cryptoki, session: bigint) => T): T {
  const { module, moduleParameters, functionPrefix, pinFile, tokenLabel } = fips.token.config;
  const cryptoki = loadCryptoki(module, moduleParameters, functionPrefix);
  try {
    const slot = cryptoki.slots().find((one) => cryptoki.tokenInfo(one).label === tokenLabel)!;
    const session = cryptoki.openSession(slot);
    readPinFile(pinFile, { owners: [] }).expose((pin) => cryptoki.login(session, pin));
    return work(cryptoki, session);
  } finally {
    cryptoki.finalize();
  }
}

/** CK_MECHANISM without a parameter. */
const packed = (type: number): Buffer => Buffer.concat([ulong(type), ulong(0), ulong(0)]);

const SECRET: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.TOKEN, false],
  [CKA.EXTRACTABLE, true],
];

it('takes no secret in the clear, and makes none that it would show', () => {
  onFips((cryptoki, session) => {
    for (const sensitive of [true, false])
      expect(() =>
        cryptoki.create(session, [...SECRET, [CKA.SENSITIVE, sensitive], [CKA.VALUE, randomBytes(32)]]),
      ).toThrow('C_CreateObject returned');
    expect(() =>
      cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
        [CKA.VALUE_LEN, 32],
        [CKA.TOKEN, false],
        [CKA.SENSITIVE, false],
      ]),
    ).toThrow('C_GenerateKey returned');
  });
});

it('ends an open operation by C_SessionCancel, which SoftHSM does not have', () => {
  onFips((cryptoki, session) => {
    const how = packed(CKM.AES_ECB);
    const key = cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [CKA.ENCRYPT, true],
    ]);
    cryptoki.call('C_EncryptInit', session, how, key);
    expect(cryptoki.cancel(session, CKF.ENCRYPT)).toBe(true);
    cryptoki.call('C_EncryptInit', session, how, key);
    expect(cryptoki.encrypt(session, mechanism(CKM.AES_ECB), key, randomBytes(16))).toHaveLength(16);
  });
  onToken(soft.token, (cryptoki, session) => expect(cryptoki.cancel(session, CKF.ENCRYPT)).toBe(false));
});

it('has the check tag and the tags of values that every other device has', async () => {
  const [ofFips, ofSoft] = [fips, soft].map(({ domainKeys }) => hex(domainKeys[0]!.checkTag));
  expect(ofFips).toBe(ofSoft);
  const value = randomBytes(32);
  const [here, there] = await Promise.all(
    [fips, soft].map(async ({ provider }) => {
      const domain = await SoftwareDomain.installIn(provider, value);
      const values = ['', 'a', 'x'.repeat(5_000)].map((text) => Buffer.from(text));
      const tags = await provider.tagBytes(domain.handle, values);
      expect(tags).toEqual(values.map((one) => domain.tagOf(one)));
      await provider.destroy([domain.handle]);
      return tags.map(hex);
    }),
  );
  expect(here).toEqual(there);
});

/** Keys of which every use has to be shown. */
const planted = () => {
  const everything = { encrypt: true, decrypt: true, wrap: true, unwrap: true, derive: true };
  const pair = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
  return [
    secretKey('aes', randomBytes(32), { ...named('aes'), ...everything }),
    plantedKey(pair('P-256'), { ...named('signs'), sign: true }),
    plantedKey(pair('P-384'), { ...named('agrees'), derive: true }),
    plantedKey(generateKeyPairSync('rsa', { modulusLength: 2048 }), {
      ...named('rsa'),
      sign: true,
      decrypt: true,
      unwrap: true,
    }),
  ];
};

it.each([
  ['from SoftHSM to NSS in FIPS mode', () => [soft, fips] as const],
  ['from NSS in FIPS mode to SoftHSM', () => [fips, soft] as const],
])('moves every kind of key %s, and shows every use of it', async (_way, members) => {
  const [source, target] = members();
  const domain = await SoftwareDomain.installIn(source.provider);
  await domain.plant(source.provider, planted());
  // SoftHSM does not know the length of a secret that it has unwrapped.
  if (source === soft)
    soft.token.tool(
      '--keygen',
      '--key-type',
      'GENERIC:64',
      '--label',
      'generic',
      '--sensitive',
      '--extractable',
      '--usage-sign',
    );
  else
    await domain.plant(source.provider, [
      secretKey('generic-secret', randomBytes(64), { ...named('generic'), sign: true, verify: true }),
    ]);
  await source.provider.destroy([domain.handle]);
  const group = new SealedGroup();
  const sealed = await group.captured(source);
  expect(sealed.generation.uncaptured).toEqual([]);
  expect(sealed.generation.entries).toHaveLength(5);
  expect(await group.apply(target, sealed)).toMatchObject({ unaccounted: 0, divergent: 0, refused: [] });
  const { contentDigest, proof } = await group.verify(target, sealed);
  expect(contentDigest).toBe(sealed.contentDigest);
  expect(proof).toMatchObject({ proved: 5, failed: 0 });
  // pkcs11-tool gives a generic secret uses that no mechanism has for such keys.
  const reasons = proof.notExercised.flatMap((one) => one.reasons);
  expect(reasons.filter((reason) => reason !== 'no mechanism of this type of key')).toEqual([]);
  for (const { provider, keyring } of [source, target])
    await provider.destroy(
      (await provider.inventory()).map(({ handle }) => handle).filter((handle) => !keyring.ownHandles.has(handle)),
    );
});
