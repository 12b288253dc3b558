/** Field numbers, names and limits of antipode.seal.v1.Manifest, for its reader and its writer. */
import * as seal from '../../gen/antipode/seal/v1/manifest_pb.ts';
import type { ObjectClass, UncapturedReason } from '../object.ts';
import type { VectorUse } from '../vector.ts';

/**
 * The formats, all of which can be read for ever. Tombstones of format 1 do not say which key opens their sealed objects.
 * In format 3 some secret key is sealed exactly (ADR 0034). In format 4 some key moves natively (ADR 0055), and
 * in format 5 some key by its device alone (ADR 0058). In format 6 some key has both forms
 * (ADR 0055). A generation without any of these is written in format 2, which older members read.
 */
export const FORMAT_1 = 1;
export const FORMAT_2 = 2;
export const FORMAT_3 = 3;
export const FORMAT_4 = 4;
export const FORMAT_5 = 5;
export const FORMAT_6 = 6;
/** A coordinator orders nothing that writes a format which some agent of the group does not read. */
export const FORMAT_HIGHEST = FORMAT_6;
export const OBJECT_ID_BYTES = 16;
export const SHA256_BYTES = 32;

/** Numbers of the fields of antipode.seal.v1.Manifest and of its parts. */
export const MANIFEST = {
  format: 1,
  group: 2,
  domainKeyVersion: 3,
  domainKeyCheckTag: 4,
  epoch: 5,
  generation: 6,
  previousDigest: 7,
  captureStartedMs: 8,
  source: 9,
  dataKeys: 10,
  entries: 11,
  uncaptured: 12,
  tombstones: 13,
} as const;
export const SOURCE = { serial: 1, manufacturer: 2, model: 3, firmware: 4, identitySha256: 5 } as const;
export const DATA_KEY = { id: 1, blobSha256: 2, blobSize: 3 } as const;
export const UNCAPTURED = { objectId: 1, objectClass: 2, keyType: 3, reason: 4 } as const;
export const TOMBSTONE = {
  entry: 1,
  epoch: 2,
  generation: 3,
  deletedMs: 4,
  domainKeyVersion: 5,
  dataKey: 6,
  retentionMs: 7,
  cloneDataKey: 8,
} as const;

export const CLASS_NUMBERS: Record<ObjectClass | 'other', seal.ObjectClass> = {
  'secret-key': seal.ObjectClass.SECRET_KEY,
  'private-key': seal.ObjectClass.PRIVATE_KEY,
  'public-key': seal.ObjectClass.PUBLIC_KEY,
  certificate: seal.ObjectClass.CERTIFICATE,
  data: seal.ObjectClass.DATA,
  'domain-parameters': seal.ObjectClass.DOMAIN_PARAMETERS,
  other: seal.ObjectClass.OTHER,
};

export const KEY_TYPE_NUMBERS = {
  aes: seal.KeyType.AES,
  'generic-secret': seal.KeyType.GENERIC_SECRET,
  rsa: seal.KeyType.RSA,
  ec: seal.KeyType.EC,
  des2: seal.KeyType.DES2,
  des3: seal.KeyType.DES3,
  'md5-hmac': seal.KeyType.MD5_HMAC,
  'sha-1-hmac': seal.KeyType.SHA_1_HMAC,
  'sha224-hmac': seal.KeyType.SHA224_HMAC,
  'sha256-hmac': seal.KeyType.SHA256_HMAC,
  'sha384-hmac': seal.KeyType.SHA384_HMAC,
  'sha512-hmac': seal.KeyType.SHA512_HMAC,
  dsa: seal.KeyType.DSA,
  dh: seal.KeyType.DH,
  ed25519: seal.KeyType.ED25519,
  ed448: seal.KeyType.ED448,
  x25519: seal.KeyType.X25519,
  x448: seal.KeyType.X448,
} as const satisfies Record<string, seal.KeyType>;

export const REASON_NUMBERS: Record<UncapturedReason, seal.UncapturedReason> = {
  unextractable: seal.UncapturedReason.UNEXTRACTABLE,
  'wrap-with-trusted': seal.UncapturedReason.WRAP_WITH_TRUSTED,
  'not-wrappable': seal.UncapturedReason.NOT_WRAPPABLE,
  'unsupported-type': seal.UncapturedReason.UNSUPPORTED_TYPE,
  'length-not-multiple-of-8': seal.UncapturedReason.LENGTH_NOT_MULTIPLE_OF_8,
  'length-unknown': seal.UncapturedReason.LENGTH_UNKNOWN,
  settling: seal.UncapturedReason.SETTLING,
  excluded: seal.UncapturedReason.EXCLUDED,
  unreadable: seal.UncapturedReason.UNREADABLE,
  'too-large': seal.UncapturedReason.TOO_LARGE,
  'unsupported-attribute': seal.UncapturedReason.UNSUPPORTED_ATTRIBUTE,
  deleted: seal.UncapturedReason.DELETED,
  'value-changed': seal.UncapturedReason.VALUE_CHANGED,
  'does-not-work': seal.UncapturedReason.DOES_NOT_WORK,
};

export const VECTOR_USE_NUMBERS: Record<VectorUse, seal.VectorUse> = {
  sign: seal.VectorUse.SIGN,
  encrypt: seal.VectorUse.ENCRYPT,
  decrypt: seal.VectorUse.DECRYPT,
  wrap: seal.VectorUse.WRAP,
  derive: seal.VectorUse.DERIVE,
};

const byNumber = <Name extends string>(numbers: Record<Name, number>): ReadonlyMap<number, Name> =>
  new Map((Object.keys(numbers) as Name[]).map((name) => [numbers[name], name]));

export const CLASSES = byNumber(CLASS_NUMBERS);
export const KEY_TYPES = byNumber(KEY_TYPE_NUMBERS);
export const REASONS = byNumber(REASON_NUMBERS);
export const VECTOR_USES_BY_NUMBER = byNumber(VECTOR_USE_NUMBERS);
