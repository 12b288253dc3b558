/** Templates of an attacker, and of the keys that a careless operator would make. */
import { CKA, CKK, CKO, type Template } from '@antipode/cryptoki';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';

type Flag =
  | 'private'
  | 'sensitive'
  | 'extractable'
  | 'encrypt'
  | 'decrypt'
  | 'wrap'
  | 'unwrap'
  | 'sign'
  | 'verify'
  | 'derive'
  | 'modifiable'
  | 'copyable';

/** Attributes by their names in the model, beside what every key needs. */
export const flags = (values: Partial<Record<Flag, boolean>>): Template =>
  (Object.entries(values) as [Flag, boolean][]).map(([name, value]) => [ATTRIBUTES[name].type, value]);

export const label = (text: string): Template => [[ATTRIBUTES.label.type, Buffer.from(text)]];
export const id = (bytes: Uint8Array): Template => [[ATTRIBUTES.id.type, bytes]];
export const value = (bytes: Uint8Array): Template => [[CKA.VALUE, bytes]];

const AES: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.AES],
];
export const AES_TOKEN_KEY: Template = [...AES, [CKA.TOKEN, true], ...flags({ private: true })];
export const AES_SESSION_KEY: Template = [...AES, [CKA.TOKEN, false], ...flags({ private: true })];
export const GENERIC_SESSION_KEY: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.TOKEN, false],
  ...flags({ private: true }),
];
/** For C_GenerateKey, which knows the class by itself. */
export const NEW_AES: Template = [[CKA.VALUE_LEN, 32], [CKA.TOKEN, true], ...flags({ private: true })];

/** A key that applications replicate: it cannot be read, and can be wrapped. */
export const APPLICATION_KEY: Template = [...AES_TOKEN_KEY, ...flags({ sensitive: true, extractable: true })];

export const certificateOf = (bytes: Uint8Array, ...template: Template): Template => [
  [CKA.CLASS, CKO.CERTIFICATE],
  [ATTRIBUTES.certificateType.type, 0],
  [CKA.TOKEN, true],
  [ATTRIBUTES.subject.type, Buffer.from('3000', 'hex')],
  ...value(bytes),
  ...template,
];
