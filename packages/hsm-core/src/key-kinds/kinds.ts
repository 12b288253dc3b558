/** The kinds of key that move. A new one is a file beside this one, and a line here. */
import type { KeyType } from '../model/object.ts';
import { aes } from './aes.ts';
import { des2 } from './des2.ts';
import { des3 } from './des3.ts';
import { dh } from './dh.ts';
import { dsa } from './dsa.ts';
import { ec } from './ec.ts';
import { ed448 } from './ed448.ts';
import { ed25519 } from './ed25519.ts';
import { genericSecret } from './generic-secret.ts';
import type { KeyKind, Values } from './key-kind.ts';
import { md5Hmac } from './md5-hmac.ts';
import { rsa } from './rsa.ts';
import { sha1Hmac } from './sha-1-hmac.ts';
import { sha224Hmac } from './sha224-hmac.ts';
import { sha256Hmac } from './sha256-hmac.ts';
import { sha384Hmac } from './sha384-hmac.ts';
import { sha512Hmac } from './sha512-hmac.ts';
import { x448 } from './x448.ts';
import { x25519 } from './x25519.ts';

const KINDS = {
  aes,
  'generic-secret': genericSecret,
  rsa,
  ec,
  des2,
  des3,
  'md5-hmac': md5Hmac,
  'sha-1-hmac': sha1Hmac,
  'sha224-hmac': sha224Hmac,
  'sha256-hmac': sha256Hmac,
  'sha384-hmac': sha384Hmac,
  'sha512-hmac': sha512Hmac,
  dsa,
  dh,
  ed25519,
  ed448,
  x25519,
  x448,
} as const satisfies {
  [Type in KeyType]: KeyKind & { readonly type: Type };
};

export const KEY_KINDS: readonly KeyKind[] = Object.values(KINDS);

export const kindOfType = (type: KeyType): KeyKind => KINDS[type];

const BY_NUMBER: ReadonlyMap<number, readonly KeyKind[]> = Map.groupBy(
  KEY_KINDS.flatMap((kind) => [kind.number, kind.alsoNumber ?? []].flat().map((number) => ({ number, kind }))),
  ({ number }) => number,
)
  .entries()
  .reduce(
    (all, [number, some]) =>
      all.set(
        number,
        some.map(({ kind }) => kind),
      ),
    new Map<number, KeyKind[]>(),
  );

/**
 * The kind that CKA_KEY_TYPE names, where several have one number with the values of the key; undefined where it does not
 * move. Asked once for each object of every look.
 */
export const kindOfNumber = (number: number, value: Values): KeyKind | undefined =>
  BY_NUMBER.get(number)?.find(({ isIt }) => isIt === undefined || isIt(value));

/** The kind of an object that was read; undefined for a key that does not move, and for anything else. */
export const kindOfObject = ({ keyType }: { keyType?: KeyType | 'unsupported' | undefined }): KeyKind | undefined =>
  keyType === undefined || keyType === 'unsupported' ? undefined : KINDS[keyType];
