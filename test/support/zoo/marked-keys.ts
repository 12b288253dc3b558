/** AES keys of the zoo that differ from the others by their names or by one attribute. */
import { createCipheriv, randomBytes } from 'node:crypto';
import { CKA, CKM, CKO, mechanism, type Template } from '@antipode/cryptoki';
import { refusalOf } from '../../attacks/support/raw-token.ts';
import { flags, label } from '../../attacks/support/templates.ts';
import { aesOf, type Maker, type Specimen, type Use } from './specimen.ts';

const ENCRYPTS = 'ECB, compared with `node:crypto`';
const BLOCK = Buffer.alloc(16, 1);

const encrypted = (value: Uint8Array): Buffer =>
  createCipheriv('aes-256-ecb', value, null).setAutoPadding(false).update(BLOCK);

/** Checks that the keys with these names encrypt as those values do, and that there is no other. */
const encryptAs =
  (values: readonly Uint8Array[], names: Template): Use =>
  async ({ standby }) => {
    const found = await standby.find([[CKA.CLASS, CKO.SECRET_KEY], ...names]);
    const answers = await Promise.all(found.map((key) => standby.encrypt(mechanism(CKM.AES_ECB), key, BLOCK)));
    const hexes = (all: readonly Uint8Array[]): string[] => all.map((one) => Buffer.from(one).toString('hex')).sort();
    return hexes(answers).join() === hexes(values.map(encrypted)).join();
  };

/** `names` are those that a client finds it by; the specimen's own where none are given. */
function marked(
  kind: string,
  more: Template,
  { names, use, usedBy = ENCRYPTS }: { names?: (maker: Maker) => Template; use?: Use; usedBy?: string } = {},
): Specimen {
  return {
    kind,
    usedBy,
    async make(maker) {
      const value = randomBytes(32);
      const called = names?.(maker) ?? maker.names;
      await maker.source.create(aesOf(value, ...called, ...flags({ encrypt: true, decrypt: true }), ...more));
      const encrypts = encryptAs([value], called);
      return async (visitor) => (await encrypts(visitor)) && ((await use?.(visitor)) ?? true);
    },
  };
}

const labelled = (what: string, text: string | Uint8Array): Specimen =>
  marked(`AES key, label: ${what}`, [], {
    names: ({ id }) => [...id, [CKA.LABEL, typeof text === 'string' ? Buffer.from(text) : text]],
  });

const several = (kind: string, values: () => readonly Uint8Array[]): Specimen => ({
  kind,
  usedBy: ENCRYPTS,
  async make({ source, names }) {
    const all = values();
    for (const value of all) await source.create(aesOf(value, ...names, ...flags({ encrypt: true, decrypt: true })));
    return encryptAs(all, names);
  },
});

export const NAMED: readonly Specimen[] = [
  several('two AES keys, one label and CKA_ID', () => [randomBytes(32), randomBytes(32)]),
  several('one AES key twice', () => {
    const value = randomBytes(32);
    return [value, value];
  }),
  marked('AES key, CKA_ID of 300 bytes', [], {
    names: (maker) => [...maker.label, [CKA.ID, randomBytes(300)]],
  }),
  marked('AES key, CKA_ID of 70,000 bytes', [], {
    names: (maker) => [...maker.label, [CKA.ID, randomBytes(70_000)]],
  }),
  labelled('with a line break', 'a\nb'),
  labelled('with a NUL', 'a\0b'),
  labelled('in other scripts', 'clé 🔐 鍵'),
  labelled('not UTF-8', Uint8Array.of(0xff, 0xfe)),
  labelled('of 70,000 bytes', 'x'.repeat(70_000)),
  labelled('with terminal escapes', '\u001b[2J\u001b]0;pwn\u0007'),
  labelled('empty', ''),
];

const DATES: Template = [
  [CKA.START_DATE, Buffer.from('20260101')],
  [CKA.END_DATE, Buffer.from('20301231')],
];

export const DATED: readonly Specimen[] = [
  marked('AES key, dates', DATES),
  marked('AES key, dates, PRIVATE=false', [...DATES, ...flags({ private: false })]),
];

const changeIsRefused: Use = async ({ standby, find }) =>
  (await refusalOf(standby.setAttributeValue(await find(CKO.SECRET_KEY), label('mine')))) === 'CKR_ACTION_PROHIBITED';

const copyIsRefused: Use = async ({ standby, find }) =>
  (await refusalOf(standby.copyObject(await find(CKO.SECRET_KEY), [[CKA.TOKEN, false]]))) === 'CKR_ACTION_PROHIBITED';

/** A key that the standby's application makes, and unwraps by the one of the zoo with this template. */
const unwraps =
  (wanted: Template, unwanted: Template): Use =>
  async ({ standby, find }) => {
    const kwp = mechanism(CKM.AES_KEY_WRAP_PAD);
    const key = await find(CKO.SECRET_KEY);
    const session: Template = [[CKA.TOKEN, false]];
    const other = await standby.create(aesOf(randomBytes(32)).map((e) => (e[0] === CKA.TOKEN ? session[0]! : e)));
    const blob = await standby.wrapKey(kwp, key, other);
    const made = (template: Template): Promise<string> =>
      refusalOf(standby.unwrapKey(kwp, key, blob, [...aesOf(blob).filter(keep(template)), ...session, ...template]));
    return (await made(wanted)) === 'CKR_OK' && (await made(unwanted)) === 'CKR_TEMPLATE_INCONSISTENT';
  };

/** Without the value, and what `template` says itself. */
const keep =
  (template: Template) =>
  ([type]: Template[number]): boolean =>
    type !== CKA.VALUE && type !== CKA.TOKEN && !template.some(([given]) => given === type);

const wraps: Use = async ({ standby, find }) => {
  const kwp = mechanism(CKM.AES_KEY_WRAP_PAD);
  const key = await find(CKO.SECRET_KEY);
  const made = (sign: boolean): Promise<bigint> =>
    standby.generateKey(mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      ...flags({ sensitive: true, extractable: true, sign }),
    ]);
  const [fitting, other] = [await made(true), await made(false)];
  const answers = [
    await refusalOf(standby.wrapKey(kwp, key, fitting)),
    await refusalOf(standby.wrapKey(kwp, key, other)),
  ];
  return answers.join() === 'CKR_OK,CKR_KEY_NOT_WRAPPABLE';
};

export const RESTRICTED: readonly Specimen[] = [
  marked('AES key, SENSITIVE=false', flags({ sensitive: false })),
  marked('AES key, EXTRACTABLE=false', flags({ extractable: false })),
  marked('AES key, EXTRACTABLE=false, SENSITIVE=false', flags({ extractable: false, sensitive: false })),
  marked('AES key, MODIFIABLE=false', flags({ modifiable: false }), {
    use: changeIsRefused,
    usedBy: 'the token refuses a change',
  }),
  marked('AES key, COPYABLE=false', flags({ copyable: false }), {
    use: copyIsRefused,
    usedBy: 'the token refuses a copy',
  }),
  marked(
    'AES key, UNWRAP_TEMPLATE',
    [...flags({ wrap: true, unwrap: true }), [CKA.UNWRAP_TEMPLATE, [[CKA.SENSITIVE, true]]]],
    {
      use: unwraps(flags({ sensitive: true }), flags({ sensitive: false })),
      usedBy: 'it unwraps what the template allows, and nothing else',
    },
  ),
  marked('AES key, WRAP_TEMPLATE', [...flags({ wrap: true }), [CKA.WRAP_TEMPLATE, [[CKA.SIGN, true]]]], {
    use: wraps,
    usedBy: 'it wraps what the template allows, and nothing else',
  }),
  marked('AES key, DERIVE_TEMPLATE', [...flags({ derive: true }), [CKA.DERIVE_TEMPLATE, [[CKA.SIGN, true]]]]),
];

const VENDOR_ATTRIBUTE = 0x80000001;

export const withVendorAttribute: Specimen = marked('AES key, vendor attribute', [
  [VENDOR_ATTRIBUTE, Buffer.from('vendor')],
]);

export const guarded: Specimen = marked('AES key, WRAP_WITH_TRUSTED', [[CKA.WRAP_WITH_TRUSTED, true]]);

export const nameless: Specimen = {
  ...marked('AES key without label, CKA_ID and uses', flags({ encrypt: false, decrypt: false }), { names: () => [] }),
  usedBy: 'found by its class',
  async make({ source }) {
    const none = flags({ encrypt: false, decrypt: false, wrap: false, unwrap: false, sign: false, verify: false });
    await source.create(aesOf(randomBytes(32), ...none));
    return async ({ standby }) => {
      const found = await standby.find([
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.TOKEN, true],
        [CKA.LABEL, Buffer.alloc(0)],
        [CKA.ID, Buffer.alloc(0)],
      ]);
      return found.length === 1;
    };
  },
  isIt: ({ objectClass, attributes }) =>
    objectClass === 'secret-key' && !attributes.id?.length && !attributes.label?.length,
};

export const indestructible: Specimen = marked('AES key, DESTROYABLE=false', [[CKA.DESTROYABLE, false]]);
