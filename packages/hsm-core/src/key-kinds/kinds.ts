/** The kinds of key that move. A new one is a file beside this one, and a line here. */
import type { KeyType } from '../model/object.ts';
import { aes } from './aes.ts';
import { ec } from './ec.ts';
import { genericSecret } from './generic-secret.ts';
import type { KeyKind } from './key-kind.ts';
import { rsa } from './rsa.ts';

const KINDS = { aes, 'generic-secret': genericSecret, rsa, ec } as const satisfies {
  [Type in KeyType]: KeyKind & { readonly type: Type };
};

export const KEY_KINDS: readonly KeyKind[] = Object.values(KINDS);

export const kindOfType = (type: KeyType): KeyKind => KINDS[type];

const BY_NUMBER = new Map<number, KeyKind>(KEY_KINDS.map((kind) => [kind.number, kind]));

/** The kind that CKA_KEY_TYPE names; undefined where it does not move. Asked once for each object of every look. */
export const kindOfNumber = (number: number): KeyKind | undefined => BY_NUMBER.get(number);

/** The kind of an object that was read; undefined for a key that does not move, and for anything else. */
export const kindOfObject = ({ keyType }: { keyType?: KeyType | 'unsupported' | undefined }): KeyKind | undefined =>
  keyType === undefined || keyType === 'unsupported' ? undefined : KINDS[keyType];
