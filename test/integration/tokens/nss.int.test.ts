/** NSS softokn as a second device, and SoftHSM beside it in one group: what moves between them, and what is refused. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, getDiffieHellman, randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CKA, CKM, mechanism, type Template } from '@antipode/cryptoki';
import { type Entry, openPartition, type SealedGeneration } from '@antipode/hsm-core';
import {
  ATTRIBUTES,
  encodeNested,
  named,
  plantedKey,
  proofItem,
  SealedGroup,
  SoftwareDomain,
  secretKey,
} from '@antipode/hsm-core/testing';
import { type ErrorCode, silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { agentConfigSchema, initialisePartition } from '@antipode/site-agent';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRawToken } from '../../attacks/support/raw-token.ts';
import { flags, label } from '../../attacks/support/templates.ts';
import { makeNssToken, NSS_UNENFORCED } from '../../support/devices/nss-tokens.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { onToken } from '../../support/raw-token.ts';
import { PORTABLE } from '../../support/token-pair.ts';
import { type AnyToken, temporaryFolder } from '../../support/tokens.ts';
import { aesOf } from '../../support/zoo/specimen.ts';

const GROUP = 'payments';
const RULE: Template = [[CKA.SENSITIVE, true]];

let soft: TestMember;
let nss: TestMember<AnyToken>;

beforeAll(async () => {
  [soft, nss] = await Promise.all([TestMember.make('soft'), TestMember.on(makeNssToken('nss'))]);
  await enrolTogether([soft, nss], { group: GROUP, version: 1 });
});

afterAll(async () => {
  await Promise.all([soft, nss].map((member) => member?.close()));
});

/** Objects that are not the partition's own. */
const othersAt = async ({ provider, keyring }: TestMember<AnyToken>) =>
  (await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle));

const empty = async (member: TestMember<AnyToken>): Promise<unknown> =>
  member.provider.destroy((await othersAt(member)).map(({ handle }) => handle));

const kindsIn = ({ generation }: SealedGeneration): string[] =>
  generation.entries.map(({ objectClass, keyType, sizeBits }) => `${objectClass} ${keyType ?? ''} ${sizeBits}`).sort();

/** The target holds all of it, by use; and when it captures in its turn, it tells the same of every object. */
async function expectHeld(group: SealedGroup, at: TestMember<AnyToken>, sealed: SealedGeneration): Promise<void> {
  const { contentDigest, proof } = await group.verify(at, sealed);
  expect(proof).toMatchObject({ proved: sealed.generation.entries.length, failed: 0 });
  expect(contentDigest).toBe(sealed.contentDigest);
  const own = new SealedGroup();
  own.newest = sealed;
  const promoted = await own.capture(at, { epoch: 2n });
  expect(promoted.sealedObjects).toBe(0);
  const byId = ({ generation }: SealedGeneration): Entry[] =>
    [...generation.entries].sort((a, b) => (a.objectId < b.objectId ? -1 : 1));
  expect(byId(promoted.sealed!)).toEqual(byId(sealed));
}

describe('from SoftHSM to NSS', () => {
  const group = new SealedGroup();
  const secret = ['--sensitive', '--extractable'];
  const tool = (...args: string[]) => soft.token.toolAsync(...args);
  const pair = (type: string, id: string, ...uses: string[]) =>
    tool('--keypairgen', '--key-type', type, '--id', id, '--label', type, '--extractable', ...uses);
  const certificate = () => join(soft.token.folder, 'certificate.der');

  afterAll(async () => {
    await empty(soft);
    await empty(nss);
  });

  it('every kind of key and certificates arrive, and prove themselves by use', async () => {
    const subject = ['-subj', '/CN=test', '-keyout', `${certificate()}.key`, '-out', certificate(), '-outform', 'DER'];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject], { stdio: 'pipe' });
    await pair('rsa:2048', 'a1', '--usage-sign', '--usage-decrypt');
    await pair('EC:prime256v1', 'a2', '--usage-sign');
    await pair('EC:secp384r1', 'a3', '--usage-sign', '--usage-derive');
    await tool('--keygen', '--key-type', 'aes:32', '--id', 'a4', '--label', 'aes', ...secret);
    await tool('--keygen', '--key-type', 'GENERIC:32', '--id', 'a5', '--label', 'generic', ...secret);
    await tool('--write-object', certificate(), '--type', 'cert', '--id', 'a1', '--label', 'certificate');
    const sealed = await group.captured(soft);
    expect(kindsIn(sealed)).toEqual(
      [
        'certificate  0',
        ...['ec 256', 'ec 384', 'rsa 2048'].flatMap((kind) => [`private-key ${kind}`, `public-key ${kind}`]),
        'secret-key aes 256',
        'secret-key generic-secret 256',
      ].sort(),
    );
    expect(await group.apply(nss, sealed)).toMatchObject({ unaccounted: 0, divergent: 0, narrowed: 0 });
    await expectHeld(group, nss, sealed);
  });

  it('a private key may do there what it may do here, and no more, though NSS grants every use in an unwrap', async () => {
    const uses = ['decrypt', 'unwrap', 'sign', 'signRecover', 'derive'] as const;
    const usesAt = async (member: TestMember<AnyToken>) =>
      (await othersAt(member))
        .filter(({ objectClass }) => objectClass === 'private-key')
        .map(({ sizeBits, attributes }) => [sizeBits, ...uses.map((use) => attributes[use])])
        .sort();
    expect(await usesAt(nss)).toEqual(await usesAt(soft));
  });

  it('a change is made in place, since a second key under the id would overwrite the first', async () => {
    const handles = async () => (await othersAt(nss)).map(({ handle }) => handle).sort();
    const before = await handles();
    const former = group.newest!;
    onToken(soft.token, (cryptoki, session) => {
      const [key] = cryptoki.find(session, [[ATTRIBUTES.label.type, Buffer.from('aes')]]);
      cryptoki.setAttributes(session, key!, [
        [ATTRIBUTES.label.type, Buffer.from('renamed')],
        [ATTRIBUTES.decrypt.type, false],
      ]);
    });
    const changed = await group.captured(soft);
    await group.apply(nss, changed, { previous: [former] });
    await expectHeld(group, nss, changed);
    expect(await handles()).toEqual(before);

    // Under another id it is another object, and the former one goes.
    soft.token.tool('--type', 'secrkey', '--id', 'a4', '--set-id', 'b4');
    const moved = await group.captured(soft);
    await group.apply(nss, moved, { previous: [changed] });
    await expectHeld(group, nss, moved);
    expect((await handles()).length).toBe(before.length);
    expect(await handles()).not.toEqual(before);
  });

  it('a key whose id another one has is refused with ID_TAKEN, and the other stays what it was', async () => {
    const domain = await SoftwareDomain.installIn(nss.provider);
    const [foreign] = await domain.plant(nss.provider, [secretKey('aes', randomBytes(32), named('taken'))]);
    const blobOf = async () => (await nss.provider.wrap(domain.handle, [foreign!]))[0];
    const before = await blobOf();
    const id = Buffer.from('taken').toString('hex');
    soft.token.tool('--keygen', '--key-type', 'aes:32', '--id', id, '--label', 'mine', ...secret);
    const former = group.newest!;
    const sealed = await group.captured(soft);
    expect((await group.apply(nss, sealed, { previous: [former] })).refused).toMatchObject([{ code: 'ID_TAKEN' }]);
    expect(await blobOf()).toEqual(before);
    soft.token.tool('--delete-object', '--type', 'secrkey', '--id', id);
    await nss.provider.destroy([foreign!, domain.handle]);
  });

  it('data objects, which NSS does not keep, are refused; excluded from the group they are in nobody’s way', async () => {
    writeFileSync(join(soft.token.folder, 'data'), randomBytes(100));
    await tool('--write-object', join(soft.token.folder, 'data'), '--type', 'data', '--label', 'data');
    const { refused } = await group.apply(nss, await group.captured(soft));
    expect(refused).toMatchObject([{ code: 'HSM_REFUSED', returnValue: 'CKR_ATTRIBUTE_VALUE_INVALID' }]);
    const filter = { excludeIds: [], excludeLabels: [], excludeClasses: ['data'] };
    const sealed = await group.captured(soft, { filter });
    await group.apply(nss, sealed);
    await expectHeld(group, nss, sealed);
  });

  it('refuses a key that must not be copied, because NSS cannot forbid it, and never makes it wider', async () => {
    const domain = await SoftwareDomain.installIn(soft.provider);
    const restricted = { ...named('restricted'), encrypt: true, copyable: false };
    const [planted] = await domain.plant(soft.provider, [secretKey('aes', randomBytes(32), restricted)]);
    await soft.provider.destroy([domain.handle]);
    const before = await othersAt(nss);
    const { refused } = await group.apply(nss, await group.captured(soft));
    expect(refused.map(({ returnValue }) => returnValue)).toContain('CKR_GENERAL_ERROR');
    expect(await othersAt(nss)).toHaveLength(before.length);
    await soft.provider.destroy([planted!]);
  });
});

describe('from NSS to SoftHSM', () => {
  const group = new SealedGroup();

  afterAll(async () => {
    await empty(soft);
    await empty(nss);
  });

  it('every kind of key arrives, with what certutil has made, and proves itself by use', async () => {
    const domain = await SoftwareDomain.installIn(nss.provider);
    await domain.plant(nss.provider, [
      secretKey('aes', randomBytes(32), { ...named('aes'), encrypt: true, decrypt: true }),
      secretKey('generic-secret', randomBytes(32), { ...named('generic'), sign: true, verify: true }),
      plantedKey(generateKeyPairSync('rsa', { modulusLength: 2048 }), { ...named('rsa'), sign: true, decrypt: true }),
      plantedKey(generateKeyPairSync('ec', { namedCurve: 'P-384' }), { ...named('p384'), sign: true, derive: true }),
    ]);
    await nss.provider.destroy([domain.handle]);
    const { folder, config } = nss.token;
    const noise = join(folder, 'noise');
    writeFileSync(noise, randomBytes(64));
    const subject = ['-n', 'server', '-s', 'CN=server', '-x', '-t', ',,', '-k', 'ec', '-q', 'nistp256', '-z', noise];
    execFileSync('certutil', ['-S', '-d', `sql:${folder}`, '-f', config.pinFile, ...subject], { stdio: 'pipe' });

    const sealed = await group.captured(nss);
    expect(kindsIn(sealed)).toEqual([
      'certificate  0',
      'private-key ec 256',
      'private-key ec 384',
      'private-key rsa 2048',
      'public-key ec 256',
      'secret-key aes 256',
      'secret-key generic-secret 256',
    ]);
    // The trust that NSS keeps beside a certificate is an object of its own kind.
    expect(sealed.generation.uncaptured).toMatchObject([{ objectClass: 'other', reason: 'unsupported-type' }]);
    expect(await group.apply(soft, sealed)).toMatchObject({ unaccounted: 0, divergent: 0, narrowed: 0 });
    await expectHeld(group, soft, sealed);
  });

  it('a key that asks for the PIN at each use is proved, though NSS knows no login for a use', async () => {
    const token = await openRawToken(nss.token);
    try {
      await token.generateKeyPair(
        mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
        [[CKA.TOKEN, true], [CKA.MODULUS_BITS, 2048], [CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1)], ...label('each time')],
        [...PORTABLE, ...label('each time'), ...flags({ sign: true }), [ATTRIBUTES.alwaysAuthenticate.type, true]],
      );
    } finally {
      await token.close();
    }
    const { generation } = await group.captured(nss);
    const isIt = ({ attributes }: Pick<Entry, 'attributes'>): boolean => attributes.alwaysAuthenticate === true;
    const [entry] = generation.entries.filter(isIt);
    const [key] = (await othersAt(nss)).filter(isIt);
    const domainKey = nss.keyring.domainKey(GROUP, 1).handle;
    const [outcome] = await nss.provider.prove(domainKey, [proofItem(entry!, key!.handle)]);
    expect(outcome).toMatchObject({ proved: true });
    expect(outcome!.checks).toContainEqual(expect.objectContaining({ use: 'sign', outcome: 'proved' }));
    await nss.provider.destroy([key!.handle]);
  });

  it('a long Diffie-Hellman key stays there, because NSS wraps none, and it does not end the worker', async () => {
    const token = await openRawToken(nss.token);
    try {
      const [prime, base] = [getDiffieHellman('modp14').getPrime(), Uint8Array.of(2)];
      await token.generateKeyPair(
        mechanism(CKM.DH_PKCS_KEY_PAIR_GEN),
        [[CKA.TOKEN, true], [CKA.PRIME, prime], [CKA.BASE, base], ...label('dh')],
        [...PORTABLE, ...label('dh'), ...flags({ derive: true, sign: false })],
      );
    } finally {
      await token.close();
    }
    // NSS 3.87 damages its memory where it derives as many bytes as the prime has. So the public half is found by fewer.
    const keys = (await othersAt(nss)).filter(({ keyType }) => keyType === 'dh');
    expect(keys.map(({ objectClass }) => objectClass).sort()).toEqual(['private-key', 'public-key']);
    expect(keys[0]!.publicHalf).toEqual(keys[1]!.publicHalf);
    const { generation } = await group.captured(nss);
    expect(generation.uncaptured).toContainEqual(
      expect.objectContaining({ objectClass: 'private-key', keyType: 'dh', reason: 'unreadable' }),
    );
    await nss.provider.destroy(keys.map(({ handle }) => handle));
  });

  it('a key with an unwrap template stays there: NSS keeps addresses of one process, and no template', async () => {
    const token = await openRawToken(nss.token);
    try {
      const made = await token.create(aesOf(randomBytes(32), ...label('template'), [CKA.UNWRAP_TEMPLATE, RULE]));
      const found = (await othersAt(nss)).find(({ attributes }) => attributes.label?.length === 'template'.length);
      expect(found).toMatchObject({ hasTemplate: true });
      expect(found?.attributes.unwrapTemplate).toBeUndefined();
      await token.destroy(made);
    } finally {
      await token.close();
    }
  });

  it('and it gets no key with one, since it would not look at it', async () => {
    const domain = await SoftwareDomain.installIn(nss.provider);
    const unwrapTemplate = encodeNested([{ type: CKA.SENSITIVE, value: Uint8Array.of(1) }]);
    const item = domain.item(secretKey('aes', randomBytes(32), { ...named('rule'), unwrapTemplate }));
    expect((await nss.provider.unwrap(domain.handle, [item])).failure).toMatchObject({ code: 'HSM_REFUSED' });
    await nss.provider.destroyDomainKey(domain);
  });

  it('a key that is not extractable stays there, though NSS would wrap it', async () => {
    const domainKey = nss.keyring.domainKey(GROUP, 1).handle;
    const handles = [nss.keyring.identity.handle, domainKey];
    expect(await nss.provider.wrap(domainKey, handles)).toMatchObject(handles.map(() => ({ reason: 'unextractable' })));
  });
});

describe('an NSS database is opened', () => {
  let token: AnyToken;
  beforeAll(() => {
    token = makeNssToken('opened');
  });
  afterAll(() => token?.remove());
  const codeOf = async (change: Partial<AnyToken['config']>): Promise<ErrorCode> =>
    (await rejection(openPartition({ ...token.config, ...change }, { log: silentLog, clock: systemClock }))).code;

  it('with what it does not keep told, and only where the site accepts that', async () => {
    const provider = await openPartition(token.config, { log: silentLog, clock: systemClock });
    expect(await provider.describe()).toMatchObject({
      label: 'opened',
      serial: token.config.serial,
      model: 'NSS 3',
      unenforced: NSS_UNENFORCED,
    });
    await provider.close();
    expect(
      await rejection(openPartition({ ...token.config, acceptUnenforced: [] }, { log: silentLog, clock: systemClock })),
    ).toMatchObject({
      code: 'PROTECTION_UNENFORCED',
      details: { unenforced: NSS_UNENFORCED.join(',') },
    });
    for (const missing of NSS_UNENFORCED)
      expect(await codeOf({ acceptUnenforced: NSS_UNENFORCED.filter((one) => one !== missing) })).toBe(
        'PROTECTION_UNENFORCED',
      );
  });

  it('only under a serial number that the configuration gives it, since all of them have the same', async () => {
    const { serial: _serial, ...without } = token.config;
    expect((await rejection(openPartition(without, { log: silentLog, clock: systemClock }))).code).toBe(
      'CONFIG_INVALID',
    );
    expect(await codeOf({ serial: '0000000000000000' })).toBe('CONFIG_INVALID');
  });

  it('only with its parameters, its label, and its password, which is tried once', async () => {
    const { moduleParameters: _parameters, ...without } = token.config;
    expect((await rejection(openPartition(without, { log: silentLog, clock: systemClock }))).code).toBe(
      'MODULE_UNAVAILABLE',
    );
    expect(await codeOf({ tokenLabel: 'another' })).toBe('PARTITION_NOT_FOUND');
    const pinFile = join(token.folder, 'wrong.pin');
    writeFileSync(pinFile, 'wrong\n', { mode: 0o600 });
    expect([await codeOf({ pinFile }), await codeOf({ pinFile })]).toEqual(['PIN_REFUSED', 'PIN_REFUSED']);
    await (await openPartition(token.config, { log: silentLog, clock: systemClock })).close();
  });

  it('under one name: a second one for the same database is noticed by its identity key', async () => {
    const dataFolder = temporaryFolder('names');
    const { module, moduleParameters, tokenLabel, pinFile } = token.config;
    const common = { module, moduleParameters, tokenLabel, pinFile, acceptUnenforced: NSS_UNENFORCED };
    const config = agentConfigSchema.parse({
      site: 'a',
      listen: 'a:1',
      coordinator: { id: 'main', address: 'b:1' },
      tls: { ca: 'ca', certificate: 'certificate', key: 'key' },
      dataFolder,
      partitions: [
        { name: 'main', serial: 'one', ...common },
        { name: 'scratch', serial: 'two', role: 'scratch', ...common },
      ],
    });
    try {
      expect(await initialisePartition({ config, name: 'main', log: silentLog })).toMatchObject({ serial: 'one' });
      const second = initialisePartition({ config, name: 'scratch', log: silentLog });
      expect(await rejection(second)).toMatchObject({ code: 'ALREADY_EXISTS', details: { partition: 'main' } });
    } finally {
      rmSync(dataFolder, { recursive: true });
    }
  });
});
