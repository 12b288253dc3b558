/**
 * Makes a key or a certificate with CKA_TRUSTED, which only the security officer can. Arguments: module, token label, PIN
 * of the officer, label, `key` or `certificate`.
 */
import { randomBytes } from 'node:crypto';
import { CKA, CKK, CKO, loadCryptoki, type Template } from '@antipode/cryptoki';
import { certificateOf, flags, label, value } from '../attacks/support/templates.ts';

const CKU_SO = 0;
const CKA_TRUSTED = 0x86;
const [module = '', token = '', pin = '', name = '', what = 'key'] = process.argv.slice(2);

const cryptoki = loadCryptoki(module);
const slot = cryptoki.slots().find((one) => cryptoki.tokenInfo(one).label === token)!;
const session = cryptoki.openSession(slot);
cryptoki.call('C_Login', session, CKU_SO, Buffer.from(pin), pin.length);
// He sees nothing private.
const template: Template =
  what === 'key'
    ? [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.TOKEN, true],
        ...flags({ private: false, sensitive: true, extractable: true, wrap: true, unwrap: true }),
        ...value(randomBytes(32)),
      ]
    : [...certificateOf(randomBytes(1_200)), ...flags({ private: false })];
cryptoki.create(session, [...template, ...label(name), [CKA_TRUSTED, true]]);
cryptoki.finalize();
