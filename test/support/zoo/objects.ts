/** Objects of the zoo that are not keys: certificates, data, domain parameters, and classes that hold something else. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CKA, CKK, CKO, type Template } from '@antipode/cryptoki';
import { flags, label } from '../../attacks/support/templates.ts';
import { certificateOf, dataOf } from '../token-pair.ts';
import { OFFICER_PIN } from '../tokens.ts';
import { READ, shows } from './clients.ts';
import type { Maker, Specimen, Use } from './specimen.ts';

const run = promisify(execFile);

function certificate(kind: string, bytes: number, more: Template = []): Specimen {
  return {
    kind,
    usedBy: READ,
    async make({ source, names }) {
      const value = randomBytes(bytes);
      await source.create(certificateOf(value, ...names, ...more));
      return shows(CKO.CERTIFICATE, [[CKA.VALUE, value]]);
    },
  };
}

function otherCertificate(kind: string, certificateType: number, more: Template = []): Specimen {
  return {
    kind,
    usedBy: READ,
    async make({ source, names }) {
      const value: Template = [[CKA.VALUE, randomBytes(900)]];
      await source.create([
        [CKA.CLASS, CKO.CERTIFICATE],
        [CKA.CERTIFICATE_TYPE, certificateType],
        [CKA.TOKEN, true],
        ...value,
        ...names,
        ...more,
      ]);
      return shows(CKO.CERTIFICATE, value);
    },
  };
}

const EMPTY_NAME = Buffer.from('3000', 'hex');
const ATTRIBUTE_CERTIFICATE = 1;
/** A vendor's own type. */
const OPENPGP = 0x504750;

async function chain({ source, label: [name], id }: Maker): Promise<Use> {
  for (const nth of [0, 1, 2, 3])
    await source.create(
      certificateOf(
        randomBytes(1_200),
        [CKA.LABEL, Buffer.concat([name![1] as Uint8Array, Buffer.from(` ${nth}`)])],
        ...id,
        [CKA.ISSUER, EMPTY_NAME],
        [CKA.SERIAL_NUMBER, Uint8Array.of(2, 1, nth)],
      ),
    );
  return async ({ standby }) => (await standby.find([[CKA.CLASS, CKO.CERTIFICATE], ...id])).length === 4;
}

async function trusted({ token, label: name }: Maker): Promise<Use> {
  const script = fileURLToPath(new URL('../trusted-key.ts', import.meta.url));
  const text = Buffer.from(name[0]![1] as Uint8Array).toString();
  const args = [script, token.config.module, token.label, OFFICER_PIN, text, 'certificate'];
  await run(process.execPath, args, { env: { ...process.env, ...token.environment } });
  return async ({ find }) => (await find(CKO.CERTIFICATE)) !== undefined;
}

export const CERTIFICATES: readonly Specimen[] = [
  certificate('X.509 certificate of 20 kB', 20_000),
  certificate('X.509 certificate of 1 MB', 1_000_000),
  certificate('X.509 certificate of 8 MB', 8_000_000),
  { kind: 'X.509 chain of four under one CKA_ID', usedBy: READ, make: chain },
  certificate('X.509 certificate, PRIVATE=true', 1_200, flags({ private: true })),
  certificate('X.509 certificate, TRUSTED by its owner', 1_200, [[CKA.TRUSTED, true]]),
  {
    kind: 'X.509 certificate, TRUSTED by the officer',
    usedBy: 'found by its label',
    make: trusted,
  },
  certificate('X.509 certificate with URL and hashes', 1_200, [
    [CKA.URL, Buffer.from('http://a.example/b')],
    [CKA.HASH_OF_SUBJECT_PUBLIC_KEY, randomBytes(20)],
    [CKA.HASH_OF_ISSUER_PUBLIC_KEY, randomBytes(20)],
    [CKA.JAVA_MIDP_SECURITY_DOMAIN, 2],
  ]),
  otherCertificate('X.509 attribute certificate', ATTRIBUTE_CERTIFICATE, [[CKA.OWNER, EMPTY_NAME]]),
  otherCertificate('OpenPGP certificate', OPENPGP),
  {
    kind: 'CRL of 300 kB as data',
    usedBy: READ,
    async make({ source, label: name }) {
      const value = randomBytes(300_000);
      await source.create(dataOf(value, ...name, [CKA.APPLICATION, Buffer.from('crl')]));
      return shows(CKO.DATA, [[CKA.VALUE, value]]);
    },
  },
];

/** None of them has a name that we read. */
const other = (kind: string, objectClass: number, more: Template): Specimen => ({
  kind,
  async make({ source }) {
    await source.create([[CKA.CLASS, objectClass], [CKA.TOKEN, true], ...more]);
    return undefined;
  },
  isIt: (object) => object.objectClass === 'other',
});

const [VENDOR_CLASS, HW_FEATURE_TYPE, CLOCK, TOTP] = [0x80000001, 0x300, 2, 2];

const parameters = (kind: string, keyType: number, parts: Template): Specimen => ({
  kind,
  usedBy: READ,
  async make({ source, label: name }) {
    await source.create([
      [CKA.CLASS, CKO.DOMAIN_PARAMETERS],
      [CKA.KEY_TYPE, keyType],
      [CKA.TOKEN, true],
      ...parts,
      ...name,
    ]);
    return shows(CKO.DOMAIN_PARAMETERS, parts);
  },
});

export const OTHER_CLASSES: readonly Specimen[] = [
  parameters('DSA domain parameters', CKK.DSA, [
    [CKA.PRIME, randomBytes(128)],
    [CKA.SUBPRIME, randomBytes(20)],
    [CKA.BASE, randomBytes(128)],
  ]),
  parameters('DH domain parameters', CKK.DH, [
    [CKA.PRIME, randomBytes(128)],
    [CKA.BASE, Uint8Array.of(2)],
  ]),
  other('hardware feature (clock)', CKO.HW_FEATURE, [[HW_FEATURE_TYPE, CLOCK]]),
  other('one-time password key', CKO.OTP_KEY, [
    [CKA.KEY_TYPE, TOTP],
    [CKA.VALUE, randomBytes(20)],
  ]),
  other("object of a vendor's class", VENDOR_CLASS, label('vendor')),
];

export const lockedData: Specimen = {
  kind: 'data object, PRIVATE=true, MODIFIABLE=false',
  usedBy: READ,
  async make({ source, label: name }) {
    const value = randomBytes(64);
    await source.create(dataOf(value, ...name, ...flags({ private: true, modifiable: false })));
    return shows(CKO.DATA, [[CKA.VALUE, value]]);
  },
};
