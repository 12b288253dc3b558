/**
 * The users' own tools: keys that they make at a source serve the same tools at a standby, when the source is gone. What
 * they give there is judged by plain OpenSSL with what was known at the source: public keys, certificates, known values.
 */
import { createDecipheriv, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { Desk, EngineUser, NssUser } from '../../support/token-users.ts';
import { temporaryFolder } from '../../support/tokens.ts';

const MESSAGE = 'pay 12 to Anna\n';
const IV = '00112233445566778899aabbccddeeff';
const desk = new Desk(temporaryFolder('desk'));
const { folder: work } = desk;
const knownAes = randomBytes(32);
const block = randomBytes(64);

let a: TestMember;
let b: TestMember;
let atStandby: { engine: EngineUser; nss: NssUser };
let generation: SealedGeneration['generation'];

const bytesOf = (name: string): Buffer => readFileSync(desk.at(name));
const pairs = ['--keypairgen', '--extractable', '--usage-sign'];

/** RSA signs and decrypts, EC signs and agrees, AES encrypts, a secret authenticates. */
function makeByPkcs11Tool({ tool }: TestMember['token'], engine: EngineUser): void {
  const make = (id: string, ...args: string[]): void => void tool(...args, '--id', id, '--label', `tool ${id}`);
  make('a1', ...pairs, '--key-type', 'rsa:2048', '--usage-decrypt');
  make('a2', ...pairs, '--key-type', 'EC:prime256v1', '--usage-derive');
  make('a3', ...pairs, '--key-type', 'EC:secp384r1', '--usage-derive');
  const secret = ['--sensitive', '--extractable', '--private'];
  make('a4', '--keygen', '--key-type', 'aes:32', ...secret);
  writeFileSync(desk.at('value'), knownAes);
  make('a5', '--write-object', desk.at('value'), '--type', 'secrkey', '--key-type', 'AES:32', ...secret);
  make('a6', '--keygen', '--key-type', 'GENERIC:32', ...secret);
  // pkcs11-tool 0.23 cannot write out a point on P-384.
  const der = ['-pubout', '-outform', 'DER'];
  for (const id of ['a1', 'a2', 'a3'])
    engine.openssl('pkey', '-pubin', '-in', engine.publicKey(id), ...der, '-out', `${id}.der`);
  tool('--encrypt', '-m', 'AES-CBC', '--iv', IV, '--id', 'a4', '-i', desk.at('block'), '-o', desk.at('a4.sealed'));
  tool('--sign', '-m', 'SHA256-HMAC', '--id', 'a6', '-i', desk.at('message'), '-o', desk.at('a6.mac'));
}

/** The engine of Debian 12 makes no keys: OpenSSL makes them in software and a tool brings them in; the engine certifies. */
function makeByEngine({ tool }: TestMember['token'], engine: EngineUser): void {
  for (const [id, algorithm, option] of [
    ['b1', 'RSA', 'rsa_keygen_bits:2048'],
    ['b2', 'EC', 'ec_paramgen_curve:P-256'],
  ] as const) {
    desk.openssl('genpkey', '-algorithm', algorithm, '-pkeyopt', option, '-outform', 'DER', '-out', `${id}.key`);
    desk.openssl('pkey', '-inform', 'DER', '-in', `${id}.key`, '-pubout', '-outform', 'DER', '-out', `${id}.pub`);
    const names = ['--id', id, '--label', `openssl ${id}`];
    const uses = ['--usage-sign', algorithm === 'RSA' ? '--usage-decrypt' : '--usage-derive'];
    const rules = ['--type', 'privkey', '--private', '--sensitive', '--extractable', ...uses];
    tool('--write-object', desk.at(`${id}.key`), ...names, ...rules);
    tool('--write-object', desk.at(`${id}.pub`), ...names, '--type', 'pubkey');
    rmSync(desk.at(`${id}.key`));
    engine.openssl('req', '-x509', '-new', '-key', engine.key(id), '-subj', `/CN=${id}`, '-out', `${id}.pem`);
  }
}

function makeByNss(nss: NssUser): void {
  desk.openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-keyout', 'authority.key', '-out', 'authority.pem', '-subj', '/CN=authority'],
  );
  writeFileSync(desk.at('extensions'), 'extendedKeyUsage=codeSigning,emailProtection\nnsCertType=objsign,email\n');
  for (const [name, ...key] of [
    ['nss-rsa', '-k', 'rsa', '-g', '2048'],
    ['nss-ec', '-k', 'ec', '-q', 'nistp384'],
  ] as const) {
    nss.makeRequest(`${name}.req`, ...key, '-s', `CN=${name}`);
    desk.openssl(
      ...['x509', '-req', '-inform', 'DER', '-in', `${name}.req`, '-out', `${name}.pem`, '-extfile', 'extensions'],
      ...['-CA', 'authority.pem', '-CAkey', 'authority.key', '-CAcreateserial'],
    );
    nss.addCertificate(name, `${name}.pem`);
  }
  // Keys that it always makes unextractable.
  desk.openssl(
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'p12.key', '-out', 'p12.pem', '-subj', '/CN=p12'],
  );
  writeFileSync(desk.at('password'), 'secret\n');
  const parts = ['-inkey', 'p12.key', '-in', 'p12.pem', '-name', 'p12'];
  desk.openssl('pkcs12', '-export', ...parts, '-passout', 'file:password', '-out', 'p12');
  nss.importPkcs12('p12', 'password');
  nss.run('symkeyutil', '-K', '-n', 'nss-aes', '-t', 'aes', '-s', '32', '-h', 'a');
}

beforeAll(async () => {
  [a, b] = await Promise.all([TestMember.make('a'), TestMember.make('b')]);
  const group = new SealedGroup();
  await enrolTogether([a, b], { group: group.name, version: 1 });
  writeFileSync(desk.at('message'), MESSAGE);
  writeFileSync(desk.at('block'), block);
  const engine = new EngineUser(desk, a.token);
  makeByPkcs11Tool(a.token, engine);
  makeByEngine(a.token, engine);
  makeByNss(new NssUser(desk, a.token));

  const target = await group.captured(a);
  generation = target.generation;
  await a.close();
  await group.apply(b, target);
  const { contentDigest, proof } = await group.verify(b, target);
  expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
  atStandby = { engine: new EngineUser(desk, b.token), nss: new NssUser(desk, b.token) };
  atStandby.nss.trust('authority.pem');
});

afterAll(async () => {
  await Promise.all([a, b].map((member) => member?.close()));
  rmSync(work, { recursive: true, force: true });
});

describe('pkcs11-tool at the standby', () => {
  const tool = (...args: string[]): string => b.token.tool(...args);

  it.each([
    ['SHA256-RSA-PKCS', []],
    ['SHA256-RSA-PKCS-PSS', ['-sigopt', 'rsa_padding_mode:pss']],
  ])('signs by %s', (mechanism, options) => {
    tool('--sign', '-m', mechanism, '--id', 'a1', '-i', desk.at('message'), '-o', desk.at('signature'));
    const judged = ['-verify', 'a1.der', '-keyform', 'DER', '-signature', 'signature', 'message'];
    expect(desk.openssl('dgst', '-sha256', ...options, ...judged)).toBe('Verified OK\n');
  });

  it('decrypts what OpenSSL encrypted with the public key of the source', () => {
    const padding = ['-pkeyopt', 'rsa_padding_mode:oaep'];
    const recipient = ['-pubin', '-keyform', 'DER', '-inkey', 'a1.der'];
    desk.openssl('pkeyutl', '-encrypt', ...recipient, ...padding, '-in', 'message', '-out', 'sealed');
    const how = ['-m', 'RSA-PKCS-OAEP', '--hash-algorithm', 'SHA-1', '--id', 'a1'];
    tool('--decrypt', ...how, '-i', desk.at('sealed'), '-o', desk.at('opened'));
    expect(bytesOf('opened').toString()).toBe(MESSAGE);
  });

  it.each([
    ['a2', 'prime256v1', 'sha256'],
    ['a3', 'secp384r1', 'sha384'],
  ])('signs and agrees by EC key %s on %s', (id, curve, hash) => {
    desk.openssl('dgst', `-${hash}`, '-binary', '-out', 'digest', 'message');
    const sign = ['--sign', '-m', 'ECDSA', '--signature-format', 'openssl', '--id', id];
    tool(...sign, '-i', desk.at('digest'), '-o', desk.at('signature'));
    const judged = ['-verify', `${id}.der`, '-keyform', 'DER', '-signature', 'signature', 'message'];
    expect(desk.openssl('dgst', `-${hash}`, ...judged)).toBe('Verified OK\n');

    desk.openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${curve}`, '-out', 'peer.pem');
    desk.openssl('pkey', '-in', 'peer.pem', '-pubout', '-outform', 'DER', '-out', 'peer.der');
    tool('--derive', '-m', 'ECDH1-DERIVE', '--id', id, '-i', desk.at('peer.der'), '-o', desk.at('agreed'));
    const peer = ['-inkey', 'peer.pem', '-peerkey', `${id}.der`, '-peerform', 'DER'];
    desk.openssl('pkeyutl', '-derive', ...peer, '-out', 'expected');
    expect(bytesOf('agreed')).toEqual(bytesOf('expected'));
  });

  it('decrypts what the source encrypted, and encrypts what OpenSSL decrypts', () => {
    const cbc = ['-m', 'AES-CBC', '--iv', IV];
    tool('--decrypt', ...cbc, '--id', 'a4', '-i', desk.at('a4.sealed'), '-o', desk.at('opened'));
    expect(bytesOf('opened')).toEqual(block);
    tool('--encrypt', ...cbc, '--id', 'a5', '-i', desk.at('block'), '-o', desk.at('sealed'));
    const decipher = createDecipheriv('aes-256-cbc', knownAes, Buffer.from(IV, 'hex')).setAutoPadding(false);
    expect(Buffer.concat([decipher.update(bytesOf('sealed')), decipher.final()])).toEqual(block);
  });

  it('authenticates as the source did', () => {
    tool('--sign', '-m', 'SHA256-HMAC', '--id', 'a6', '-i', desk.at('message'), '-o', desk.at('mac'));
    expect(bytesOf('mac')).toEqual(bytesOf('a6.mac'));
  });
});

describe.each([
  ['b1', 'RSA'],
  ['b2', 'EC'],
])('OpenSSL through the PKCS#11 engine at the standby, by key %s (%s)', (id) => {
  const key = (): string => atStandby.engine.key(id);
  const engine = (...args: string[]): string => atStandby.engine.openssl(...args);

  it('signs for the certificate of the source', () => {
    engine('dgst', '-sha256', '-sign', key(), '-out', 'signature', 'message');
    desk.openssl('x509', '-in', `${id}.pem`, '-pubkey', '-noout', '-out', 'certified.pem');
    expect(desk.openssl('dgst', '-sha256', '-verify', 'certified.pem', '-signature', 'signature', 'message')).toBe(
      'Verified OK\n',
    );
  });

  it('requests another certificate for the same public key', () => {
    engine('req', '-new', '-key', key(), '-subj', '/CN=again', '-out', 'request.pem');
    const [asked, had] = [
      desk.openssl('req', '-in', 'request.pem', '-verify', '-pubkey', '-noout'),
      desk.openssl('x509', '-in', `${id}.pem`, '-pubkey', '-noout'),
    ];
    expect(asked).toBe(had);
  });

  it('signs and opens CMS messages', () => {
    const binary = ['-binary', '-outform', 'DER'];
    engine(
      ...['cms', '-sign', '-nodetach', '-in', 'message', '-signer', `${id}.pem`, '-inkey', key()],
      ...[...binary, '-out', 'signed'],
    );
    const trust = ['-CAfile', `${id}.pem`, '-purpose', 'any'];
    expect(desk.openssl('cms', '-verify', '-binary', '-inform', 'DER', '-in', 'signed', ...trust)).toBe(MESSAGE);
    desk.openssl('cms', '-encrypt', '-aes-256-cbc', ...binary, '-in', 'message', '-out', 'sealed', `${id}.pem`);
    const opened = engine(
      ...['cms', '-decrypt', '-binary', '-inform', 'DER', '-in', 'sealed', '-recip', `${id}.pem`, '-inkey', key()],
    );
    expect(opened).toBe(MESSAGE);
  });
});

describe('the NSS tools at the standby', () => {
  it('certutil shows the keys under the names of their certificates', () => {
    const keys = atStandby.nss.run('certutil', '-K', '-h', 'b');
    expect(keys.match(/b:nss-\S+/g)?.sort()).toEqual(['b:nss-ec', 'b:nss-rsa']);
  });

  it.each(['nss-rsa', 'nss-ec'])('cmsutil signs as %s, for whoever trusts the authority', (name) => {
    atStandby.nss.run('cmsutil', '-S', '-N', `b:${name}`, '-H', 'SHA256', '-i', 'message', '-o', 'signed');
    const trust = ['-CAfile', 'authority.pem', '-purpose', 'any'];
    expect(desk.openssl('cms', '-verify', '-binary', '-inform', 'DER', '-in', 'signed', ...trust)).toBe(MESSAGE);
  });

  it('cmsutil opens what OpenSSL encrypted for the certificate of the source', () => {
    const sealing = ['-encrypt', '-binary', '-aes-256-cbc', '-in', 'message', '-outform', 'DER', '-out', 'sealed'];
    desk.openssl('cms', ...sealing, 'nss-rsa.pem');
    atStandby.nss.run('cmsutil', '-D', '-i', 'sealed', '-o', 'opened');
    expect(bytesOf('opened').toString()).toBe(MESSAGE);
  });

  it('signtool signs an archive, and OpenSSL verifies its signature', () => {
    mkdirSync(desk.at('archive'));
    writeFileSync(desk.at('archive/a.txt'), MESSAGE);
    atStandby.nss.signArchive('signed.jar', { folder: 'archive', certificate: 'b:nss-rsa' });
    const [signature, content] = ['rsa', 'sf'].map((name) => `archive/META-INF/zigbert.${name}`) as [string, string];
    const trust = ['-CAfile', 'authority.pem', '-purpose', 'any'];
    const judged = ['-binary', '-inform', 'DER', '-in', signature, '-content', content];
    expect(desk.openssl('cms', '-verify', ...judged, ...trust)).toBe(bytesOf(content).toString());
  });

  it('certutil requests another certificate for the same key', () => {
    const id = /ec\s+([0-9a-f]{40})\s+b:nss-ec/.exec(atStandby.nss.run('certutil', '-K', '-h', 'b'))![1]!;
    atStandby.nss.makeRequest('again.req', '-k', id, '-s', 'CN=again');
    const [asked, had] = [
      desk.openssl('req', '-inform', 'DER', '-in', 'again.req', '-verify', '-pubkey', '-noout'),
      desk.openssl('x509', '-in', 'nss-ec.pem', '-pubkey', '-noout'),
    ];
    expect(asked).toBe(had);
  });
});

it('names what pk12util and symkeyutil made unextractable, and captures all else', () => {
  const { entries, uncaptured } = generation;
  expect(uncaptured.map(({ keyType, reason }) => `${keyType} ${reason}`).sort()).toEqual([
    'aes unextractable',
    'rsa unextractable',
  ]);
  const count = Object.groupBy(entries, ({ objectClass }) => objectClass);
  expect([count['private-key']?.length, count['secret-key']?.length, count.certificate?.length]).toEqual([7, 3, 3]);
});
