/** Classes and key types by the names that people know, also of objects that Antipode does not move. */
import { className, keyTypeName } from '@antipode/cryptoki/type-names';
import { curveOf, paramsIn } from './curve.ts';
import { type KeyType, kindOf, type ObjectClass, type Outside } from './object.ts';

interface Named {
  readonly objectClass: ObjectClass | 'other';
  readonly keyType?: KeyType | 'unsupported' | undefined;
  readonly outside?: Outside | undefined;
  readonly curveParams?: Uint8Array | undefined;
  readonly publicHalf?: Uint8Array | undefined;
}

/** The model's word for a class, and otherwise the name that the standard has for it. */
export function classNameOf({ objectClass, outside }: Pick<Named, 'objectClass' | 'outside'>): string {
  if (objectClass !== 'other') return objectClass;
  return outside?.objectClass === undefined ? 'unknown class' : className(outside.objectClass);
}

/** `RSA`, `EC prime256v1`, `DES3`, ... Undefined for an object that is not a key. */
export function keyTypeNameOf({ keyType, outside, curveParams, publicHalf }: Named): string | undefined {
  if (keyType === undefined || keyType === 'unsupported') {
    if (outside?.keyType === undefined) return keyType === undefined ? undefined : 'unknown';
    const { parameterSet } = outside;
    return `${keyTypeName(outside.keyType)}${parameterSet === undefined ? '' : `, parameter set ${parameterSet}`}`;
  }
  const params = curveParams ?? (keyType === 'ec' && publicHalf !== undefined ? paramsIn(publicHalf) : undefined);
  const name = NAMES[keyType] ?? keyType.toUpperCase();
  const curve = params === undefined ? undefined : (curveOf(params)?.openssl ?? 'of an unknown curve');
  return curve === undefined ? name : `${name} ${curve}`;
}

/** The kind of an object in one word for each part, as `kindOf` has it, also of objects that Antipode does not move. */
export function kindNameOf(object: Pick<Named, 'objectClass' | 'keyType' | 'outside'>): string {
  if (object.outside === undefined) return kindOf(object);
  const words = [classNameOf(object), keyTypeNameOf(object)].flatMap((name) => name ?? []);
  return words.map((name) => name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')).join('/');
}

const NAMES: Partial<Record<KeyType, string>> = {
  'generic-secret': 'generic secret',
  des2: 'DES2',
  des3: 'DES3',
  'md5-hmac': 'HMAC MD5',
  'sha-1-hmac': 'HMAC SHA-1',
  'sha224-hmac': 'HMAC SHA-224',
  'sha256-hmac': 'HMAC SHA-256',
  'sha384-hmac': 'HMAC SHA-384',
  'sha512-hmac': 'HMAC SHA-512',
  dsa: 'DSA',
  dh: 'DH',
  ed25519: 'Ed25519',
  ed448: 'Ed448',
  x25519: 'X25519',
  x448: 'X448',
};
