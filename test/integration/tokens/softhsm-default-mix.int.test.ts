/**
 * Keys as programs make them by their defaults, most of which no token wraps. All of them are cloned into another token,
 * and there pkcs11-tool uses each by its id. OpenSSL judges signatures by the public halves that the source shows.
 */
import { execFileSync } from 'node:child_process';
import { createPublicKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CKA, CKK, CKM, CKO, type Cryptoki, mechanism, type Template } from '@antipode/cryptoki';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { hex } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { cloning, PINS, SoftHsmPair } from '../../support/softhsm-pair.ts';
import { SOFTHSM_MODULE, type TestToken } from '../../support/tokens.ts';

interface MixedKey {
  readonly objectClass: 'private-key' | 'secret-key';
  readonly keyType: number;
  readonly id: string;
  readonly label: string;
  readonly isExtractable: boolean;
}

let pair: SoftHsmPair;
let keys: MixedKey[];
let uncaptured: readonly unknown[];
let failed: number;

beforeAll(async () => {
  pair = new SoftHsmPair();
  await pair.share();
  byPkcs11Tool();
  byKeytool();
  byP11tool();
  byOpenDnssec();
  bySofthsmUtil();
  await byTemplates();
  keys = await pair.open(async ({ cryptoki, source: { session } }) =>
    cryptoki
      .find(session, [[CKA.TOKEN, true]])
      .filter((handle) => KEYS.has(numberOf(cryptoki, session, handle, CKA.CLASS)))
      .map((handle) => describe(cryptoki, session, handle)),
  );
  const members = await Promise.all([pair.source, pair.standby].map(({ token }) => TestMember.on(cloning(token))));
  const [source, standby] = members as [TestMember, TestMember];
  try {
    const group = new SealedGroup();
    await enrolTogether(members, { group: group.name, version: 1 });
    const sealed = await group.captured(source, { movement: 'native' });
    uncaptured = sealed.generation.uncaptured;

    await group.apply(standby, sealed);
    const { proof, contentDigest } = await group.verify(standby, sealed);
    expect(contentDigest).toBe(sealed.contentDigest);
    failed = proof.failed;
  } finally {
    for (const member of members) await member.provider.close();
  }
}, 300_000);

afterAll(() => pair?.remove());

it('are 23, almost all unextractable, and all are captured, applied and proved', () => {
  expect(keys).toHaveLength(23);
  expect(keys.filter(({ isExtractable }) => isExtractable).map(({ id }) => id)).toEqual([]);
  expect([uncaptured, failed]).toEqual([[], 0]);
});

it('serve at the standby, by their ids or labels', async () => {
  const [source, standby] = [pair.source.token, pair.standby.token];
  const message = join(pair.folder, 'message');
  writeFileSync(message, randomBytes(32));
  const [named, nameless] = [keys.filter(({ id }) => id !== ''), keys.filter(({ id }) => id === '')];
  const served = named.filter((key) =>
    key.objectClass === 'private-key'
      ? signs({ source, standby, message }, key)
      : result(source, key, message).equals(result(standby, key, message)),
  );
  // pkcs11-tool uses no key by its label. Java gives a secret key no id.
  const answers = await pair.open(async ({ cryptoki, ...tokens }) =>
    [tokens.source, tokens.standby].map(({ session }) =>
      nameless.map(({ label, keyType }) => {
        const [key] = cryptoki.find(session, [
          [CKA.CLASS, CKO.SECRET_KEY],
          [CKA.LABEL, Buffer.from(label)],
        ]);
        return keyType === CKK.AES
          ? cryptoki.encrypt(session, mechanism(CKM.AES_ECB), key!, BLOCK)
          : cryptoki.sign(session, mechanism(CKM.SHA256_HMAC), key!, BLOCK);
      }),
    ),
  );
  expect(answers[1]).toEqual(answers[0]);
  expect(served.length + nameless.length).toBe(23);
});

const BLOCK = Buffer.alloc(32, 7);

interface Place {
  readonly source: TestToken;
  readonly standby: TestToken;
  readonly message: string;
}

/** By what the source shows: a public key, or a certificate, as Java makes it. */
function publicKeyOf({ tool }: TestToken, { id }: MixedKey): KeyObject {
  const out = join(pair.folder, 'public.der');
  try {
    tool('--read-object', '--type', 'pubkey', '--id', id, '-o', out);
  } catch {
    tool('--read-object', '--type', 'cert', '--id', id, '-o', out);
    return new X509Certificate(readFileSync(out)).publicKey;
  }
  return createPublicKey({ key: readFileSync(out), format: 'der', type: 'spki' });
}

const SIGNS: Readonly<Record<number, readonly string[]>> = {
  [CKK.RSA]: ['RSA-PKCS'],
  [CKK.EC]: ['ECDSA', '--signature-format', 'openssl'],
};

function signs({ source, standby, message }: Place, key: MixedKey): boolean {
  // Two signatures of an Edwards key are equal.
  if (key.keyType === CKK.EC_EDWARDS) return result(source, key, message).equals(result(standby, key, message));
  const [signature, pem] = [join(pair.folder, 'signature'), join(pair.folder, 'public.pem')];
  const mechanism = SIGNS[key.keyType]!;
  standby.tool('--sign', '-m', ...mechanism, '--id', key.id, '-i', message, '-o', signature);
  writeFileSync(pem, publicKeyOf(source, key).export({ type: 'spki', format: 'pem' }));
  const verify = ['pkeyutl', '-verify', '-pubin', '-inkey', pem, '-sigfile', signature, '-in', message];
  return execFileSync('openssl', verify, { stdio: 'pipe' }).toString().includes('Verified Successfully');
}

const RESULTS: Readonly<Record<number, readonly string[]>> = {
  [CKK.AES]: ['--encrypt', '-m', 'AES-ECB'],
  [CKK.EC_EDWARDS]: ['--sign', '-m', 'EDDSA'],
};

function result({ tool, folder }: TestToken, key: MixedKey, message: string): Buffer {
  const out = join(folder, 'result');
  const use = RESULTS[key.keyType] ?? ['--sign', '-m', 'SHA256-HMAC'];
  tool(...use, '--id', key.id, '-i', message, '-o', out);
  return readFileSync(out);
}

function byPkcs11Tool(): void {
  const { tool } = pair.source.token;
  const pairs = ['rsa:2048', 'rsa:3072', 'EC:prime256v1', 'EC:prime256v1', 'EC:edwards25519'];
  for (const [index, type] of pairs.entries()) tool('--keypairgen', '--key-type', type, '--id', `a${index}`);
  tool('--keygen', '--key-type', 'AES:32', '--id', 'a8', '--label', 'aes');
  tool('--keygen', '--key-type', 'GENERIC:32', '--id', 'a9', '--label', 'mac');
}

const environmentOf = ({ environment }: TestToken) => ({ ...process.env, ...environment });

function byKeytool(): void {
  const { token } = pair.source;
  const env = environmentOf(token);
  const slots = execFileSync('pkcs11-tool', ['--module', SOFTHSM_MODULE, '--list-slots'], { env }).toString();
  const index = slots
    .split(/^Slot /m)
    .slice(1)
    .findIndex((slot) => /token label\s+: source$/m.test(slot));
  const config = join(pair.folder, 'java.cfg');
  writeFileSync(config, `name = Mix\nlibrary = ${SOFTHSM_MODULE}\nslotListIndex = ${index}\n`);
  const store = ['-keystore', 'NONE', '-storetype', 'PKCS11', '-storepass:file', token.config.pinFile];
  for (const args of [
    ['-genkeypair', '-keyalg', 'RSA', '-alias', 'java rsa', '-dname', 'CN=a'],
    ['-genkeypair', '-keyalg', 'EC', '-groupname', 'secp256r1', '-alias', 'java ec', '-dname', 'CN=b'],
    ['-genseckey', '-keyalg', 'AES', '-keysize', '256', '-alias', 'java aes'],
    ['-genseckey', '-keyalg', 'HmacSHA256', '-keysize', '256', '-alias', 'java mac'],
  ])
    execFileSync('keytool', [...args, ...store, '-addprovider', 'SunPKCS11', '-providerarg', config], {
      env,
      stdio: 'pipe',
    });
}

function byP11tool(): void {
  const { token } = pair.source;
  const uri = 'pkcs11:token=source';
  const common = ['--provider', SOFTHSM_MODULE, '--login', '--batch', '--outfile', join(pair.folder, 'p11tool.pub')];
  for (const [index, type] of [
    ['rsa', '--bits', '2048'],
    ['ecdsa', '--curve', 'secp256r1'],
    ['ecdsa', '--sec-param', 'high'],
  ].entries())
    execFileSync(
      'p11tool',
      [...common, '--generate-privkey', ...type, '--id', `b${index}`, '--label', `gnutls ${index}`, uri],
      {
        env: { ...environmentOf(token), GNUTLS_PIN: PINS.source },
        stdio: 'pipe',
      },
    );
}

function byOpenDnssec(): void {
  const { token } = pair.source;
  const file = join(pair.folder, 'ods.xml');
  const repository = `<Repository name="token"><Module>${SOFTHSM_MODULE}</Module><TokenLabel>source</TokenLabel><PIN>${PINS.source}</PIN></Repository>`;
  const common =
    '<Common><PolicyFile>/etc/opendnssec/kasp.xml</PolicyFile><ZoneListFile>/etc/opendnssec/zonelist.xml</ZoneListFile></Common>';
  writeFileSync(file, `<Configuration><RepositoryList>${repository}</RepositoryList>${common}</Configuration>`, {
    mode: 0o600,
  });
  for (const type of [
    ['rsa', '2048'],
    ['ecdsa', '256'],
  ])
    execFileSync('ods-hsmutil', ['-c', file, 'generate', 'token', ...type], {
      env: environmentOf(token),
      stdio: 'pipe',
    });
}

function bySofthsmUtil(): void {
  const { token } = pair.source;
  const folder = join(pair.folder, 'imported');
  mkdirSync(folder);
  const made = [
    ['rsa.pem', ['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048']],
    ['ec.pem', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']],
  ] as const;
  const where = ['--token', 'source', '--pin', PINS.source];
  for (const [index, [name, args]] of made.entries()) {
    execFileSync('openssl', [...args, '-out', join(folder, name)], { stdio: 'pipe' });
    execFileSync('softhsm2-util', ['--import', join(folder, name), '--label', name, '--id', `c${index}`, ...where], {
      env: environmentOf(token),
      stdio: 'pipe',
    });
  }
  // softhsm2-util cuts the key at a zero byte.
  writeFileSync(join(folder, 'aes.bin'), hex(randomBytes(16)));
  execFileSync(
    'softhsm2-util',
    ['--import', join(folder, 'aes.bin'), '--aes', '--label', 'aes.bin', '--id', 'c9', ...where],
    {
      env: environmentOf(token),
      stdio: 'pipe',
    },
  );
}

/** By the templates of programs that are not in Debian 12: pkcs11-provider and python-pkcs11. */
async function byTemplates(): Promise<void> {
  const token: Template = [[CKA.TOKEN, true]];
  const p256 = Buffer.from('06082a8648ce3d030107', 'hex');
  const own: Template = [...token, [CKA.PRIVATE, true], [CKA.SENSITIVE, true]];
  await pair.open(async ({ cryptoki, source: { session } }) => {
    const named = (id: number): Template => [[CKA.ID, Buffer.of(0xd0 + id)]];
    const ec = (id: number, privateHalf: Template): void => {
      const kind = mechanism(CKM.EC_KEY_PAIR_GEN);
      const [publicHalf, both] = [
        [
          [CKA.EC_PARAMS, p256],
          [CKA.VERIFY, true],
        ] as Template,
        [...token, ...named(id)],
      ];
      cryptoki.generateKeyPair(session, kind, [...both, ...publicHalf], [...named(id), ...privateHalf]);
    };
    const provider: Template = [...own, [CKA.SIGN, true], [CKA.DERIVE, true], [CKA.EXTRACTABLE, false]];
    ec(0, provider);
    cryptoki.generateKeyPair(
      session,
      mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
      [...token, ...named(1), [CKA.MODULUS_BITS, 2048], [CKA.PUBLIC_EXPONENT, Buffer.of(1, 0, 1)], [CKA.VERIFY, true]],
      [...own, ...named(1), [CKA.SIGN, true], [CKA.DECRYPT, true], [CKA.EXTRACTABLE, false]],
    );
    ec(2, [...own, [CKA.SIGN, true], [CKA.DERIVE, true], [CKA.LABEL, Buffer.from('python')]]);
    cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
      ...own,
      ...named(3),
      [CKA.VALUE_LEN, 32],
      [CKA.ENCRYPT, true],
      [CKA.DECRYPT, true],
      [CKA.LABEL, Buffer.from('python')],
    ]);
  });
}

function describe(cryptoki: Cryptoki, session: bigint, handle: bigint): MixedKey {
  const read = cryptoki.attributes(session, handle, [CKA.ID, CKA.LABEL, CKA.EXTRACTABLE])!;
  return {
    objectClass: numberOf(cryptoki, session, handle, CKA.CLASS) === CKO.SECRET_KEY ? 'secret-key' : 'private-key',
    keyType: numberOf(cryptoki, session, handle, CKA.KEY_TYPE),
    id: hex(read.get(CKA.ID)!),
    label: read.get(CKA.LABEL)!.toString(),
    isExtractable: read.get(CKA.EXTRACTABLE)![0] === 1,
  };
}

const KEYS = new Set<number>([CKO.PRIVATE_KEY, CKO.SECRET_KEY]);

const numberOf = (cryptoki: Cryptoki, session: bigint, handle: bigint, type: number): number =>
  Number(cryptoki.attributes(session, handle, [type])!.get(type)!.readBigUInt64LE());
