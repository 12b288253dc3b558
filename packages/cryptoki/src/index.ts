/** The PKCS#11 binding: the standard's names, structures and calls, and the meaning of its return values. */
export { AttributeReader, type WantedAttribute } from './attribute-reader.ts';
export { CKA } from './attributes.ts';
export * from './constants.ts';
export { type Cryptoki, loadCryptoki } from './cryptoki.ts';
export { exchangePaths, tryLockFile } from './file-calls.ts';
export { aesCtr, aesGcm, derivationFrom, ecdh, rsaOaep, rsaPss } from './mechanisms.ts';
export type { AnsweredCall } from './module.ts';
export { readNestedTemplate } from './nested-template.ts';
export { hardenProcess, lockBytes, unlockBytes } from './process-memory.ts';
export {
  answerOf,
  BLOB_REFUSALS,
  CANNOT_EXERCISE,
  CryptokiFailure,
  codeOf,
  FORBIDS_USE,
  IS_ANOTHERS,
  IS_GONE,
  LACKS_MECHANISM,
  NOT_WRAPPED,
  returnValueName,
  returnValueNumber,
  returnValueOf,
  SessionFailure,
  SHOWS_QUIRK,
  SIGNATURE_REFUSALS,
  translate,
} from './return-values.ts';
export type { TokenInfo } from './structures.ts';
export {
  ATTRIBUTE_SIZE,
  addressOf,
  type Mechanism,
  mechanism,
  structure,
  type Template,
  type TemplateValue,
  ulong,
} from './template.ts';
