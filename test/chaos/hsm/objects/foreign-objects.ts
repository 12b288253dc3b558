/**
 * Objects of other applications in the standby's token. Some have exactly the names of ours, some are copies of our
 * keys under other names. Some show no names, and some can hardly be tried. None of them must be touched.
 */
import { CKA, CKM, type Cryptoki, mechanism, type Template, ulong } from '@antipode/cryptoki';
import type { TestToken } from '../../../support/tokens.ts';
import {
  certificate,
  DECRYPT,
  DERIVE,
  dataObject,
  ENCRYPT,
  EXTRACTABLE,
  ID,
  LABEL,
  SENSITIVE,
  SIGN,
  SIGN_RECOVER,
  UNWRAP,
  VERIFY,
  WRAP,
} from './known-objects.ts';
import type { SourceObjects } from './source-objects.ts';

const [MODULUS_BITS, WRAP_WITH_TRUSTED, ALLOWED_MECHANISMS] = [0x121, 0x210, 0x40000600];
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');

type Change = (work: (cryptoki: Cryptoki, session: bigint) => void) => void;

export function makeForeignObjects(token: TestToken, change: Change, source: SourceObjects): void {
  const aes = ['--keygen', '--key-type', 'aes:32', '--sensitive'];
  const pair = (type: string): string[] => ['--keypairgen', '--key-type', type, '--usage-sign'];
  // By an application's own means, under names that ours have, or will have.
  token.tool(...aes, '--extractable', '--id', '01', '--label', 'card key');
  token.tool(...aes, '--extractable', '--id', '01', '--label', 'card key, second');
  token.tool(...aes, '--id', '07', '--label', 'new card key');
  token.tool(...pair('EC:prime256v1'), '--extractable', '--id', '04', '--label', 'signer');
  token.tool(...pair('EC:secp384r1'), '--id', '08', '--label', 'new signer');
  token.tool(...pair('rsa:2048'), '--id', '09', '--label', 'new issuer');
  token.tool('--keygen', '--key-type', 'GENERIC:32', '--sensitive', '--id', '06', '--label', 'mac');
  change((cryptoki, session) => {
    const create = (template: Template): void => void cryptoki.create(session, template);
    for (const name of ['card key', 'new card key', 'issuer', 'new signer', 'mac', 'certificate'])
      create(source.template(name, { label: 'of an application', id: '77' }));
    create(source.template('settings', { label: 'of an application' }));
    const names = named('of an application', '78');
    create([...certificate().template, ...names]);
    create([...dataObject().template, ...named('new settings')]);
    const generate = (bytes: number, type: number, uses: readonly number[], more: Template): void =>
      void cryptoki.generateKey(session, mechanism(type), [
        [CKA.TOKEN, true],
        [CKA.VALUE_LEN, bytes],
        [SENSITIVE, true],
        ...told(SECRET_USES, uses),
        ...more,
      ]);
    const [unextractable, extractable] = [[EXTRACTABLE, false] as const, [EXTRACTABLE, true] as const];
    const hardened = [CKA.UNWRAP_TEMPLATE, [[SENSITIVE, true]]] as const;
    generate(32, CKM.AES_KEY_GEN, [WRAP, UNWRAP], [unextractable, hardened, ...names]);
    generate(32, CKM.AES_KEY_GEN, [WRAP, UNWRAP], [unextractable, hardened]);
    generate(32, CKM.AES_KEY_GEN, [DERIVE], [unextractable]);
    generate(32, CKM.AES_KEY_GEN, [DECRYPT], [unextractable]);
    generate(32, CKM.AES_KEY_GEN, [], [unextractable]);
    generate(32, CKM.AES_KEY_GEN, [ENCRYPT, DECRYPT], [unextractable, [ALLOWED_MECHANISMS, ulong(CKM.AES_GCM)]]);
    generate(32, CKM.AES_KEY_GEN, [ENCRYPT], [extractable, [WRAP_WITH_TRUSTED, true]]);
    generate(16, CKM.GENERIC_SECRET_KEY_GEN, [SIGN], [unextractable]);
    generate(20, CKM.GENERIC_SECRET_KEY_GEN, [VERIFY], [unextractable]);
    const generatePair = (type: number, publicKey: Template, uses: readonly number[], more: Template): void =>
      void cryptoki.generateKeyPair(
        session,
        mechanism(type),
        [[CKA.TOKEN, true], ...publicKey, ...more],
        [[CKA.TOKEN, true], [SENSITIVE, true], unextractable, ...told(PRIVATE_USES, uses), ...more],
      );
    generatePair(CKM.EC_KEY_PAIR_GEN, [[CKA.EC_PARAMS, P256]], [DERIVE], []);
    generatePair(CKM.EC_KEY_PAIR_GEN, [[CKA.EC_PARAMS, P256]], [], []);
    generatePair(CKM.RSA_PKCS_KEY_PAIR_GEN, [[MODULUS_BITS, 1024]], [DECRYPT], []);
    generatePair(CKM.EC_KEY_PAIR_GEN, [[CKA.EC_PARAMS, P256]], [SIGN], names);
  });
}

/** Every use is named, because a token has its own defaults. */
const SECRET_USES = [ENCRYPT, DECRYPT, WRAP, UNWRAP, SIGN, VERIFY, DERIVE];
const PRIVATE_USES = [DECRYPT, UNWRAP, SIGN, SIGN_RECOVER, DERIVE];
const told = (all: readonly number[], uses: readonly number[]): Template =>
  all.map((use) => [use, uses.includes(use)] as const);

const named = (label: string, id?: string): Template => [
  [LABEL, Buffer.from(label)],
  ...(id === undefined ? [] : [[ID, Buffer.from(id, 'hex')] as const]),
];
