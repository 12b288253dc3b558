/** Keys of applications in a token, by their values. */
import type { StoredObject } from '@antipode/hsm-core/testing';

const texts = new WeakMap<StoredObject, string>();

export const isOfApplication = ({ attributes }: StoredObject): boolean =>
  !Buffer.from(attributes.label ?? [])
    .toString()
    .startsWith('antipode');

/** Names a key of an application by its value. Undefined for every other object, and for a half-made key. */
export function keyValueOf(object: StoredObject): string | undefined {
  const known = texts.get(object);
  if (known !== undefined) return known;
  const { objectClass, value } = object;
  if (objectClass !== 'secret-key' && objectClass !== 'private-key') return undefined;
  if (value === undefined || !isOfApplication(object)) return undefined;
  const text = hexOf(value);
  texts.set(object, text);
  return text;
}

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
