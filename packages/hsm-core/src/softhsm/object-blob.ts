/**
 * An object of SoftHSM on its way: the name of its cloning domain, and what its file has behind the generation number.
 * Labels and public attributes in it are in the clear, and whoever has the token key opens the rest. So it never leaves
 * the worker but encrypted under a data key.
 */
import { CKA } from '@antipode/cryptoki';
import { kindOfType } from '../key-kinds/kinds.ts';
import { ATTRIBUTES, type AttributeName, type AttributeValue, encodeAttribute } from '../model/attributes.ts';
import type { KeyType } from '../model/object.ts';
import { classNumber } from '../pkcs11/reading/objects.ts';
import { CLONING_DOMAIN_BYTES, type NativeObject } from '../provider/native-cloner.ts';
import { type ParsedAttributes, parseAttributes, type StoredAttributes, type StoredValue } from './object-file.ts';
import { revealed } from './object-match.ts';
import { TOKEN_ATTRIBUTE } from './token-folder.ts';
import type { TokenKey } from './token-key.ts';

const MARK = Buffer.from('antipode softhsm object v1\0');

export function makeBlob(domain: Uint8Array, body: Uint8Array): Uint8Array {
  const blob = new Uint8Array(MARK.length + domain.length + body.length);
  blob.set(MARK);
  blob.set(domain, MARK.length);
  blob.set(body, MARK.length + domain.length);
  return blob;
}

export type OpenedBlob =
  /** The attributes are revealed. */
  | { readonly body: Buffer; readonly attributes: StoredAttributes }
  | { readonly failure: 'BLOB_INVALID' | 'CLONING_DOMAIN_OTHER' };

/** Reads blobs, and refuses those that this token could not open, or that SoftHSM would not take for an object. */
export function openBlobs(
  blobs: readonly Uint8Array[],
  { domain, key }: { domain: Uint8Array; key: TokenKey },
): OpenedBlob[] {
  const read = blobs.map((blob) => readBlob(blob, domain));
  const clear = revealed(
    read.map((one) => ('failure' in one ? undefined : one.attributes)),
    key,
  );
  return read.map((one, index): OpenedBlob => {
    if ('failure' in one) return one;
    const attributes = clear[index];
    return attributes === undefined ? { failure: 'BLOB_INVALID' } : { body: one.body, attributes };
  });
}

/** The attributes are as they are stored. */
function readBlob(
  blob: Uint8Array,
  domain: Uint8Array,
): { readonly body: Buffer; readonly attributes: ParsedAttributes } | Extract<OpenedBlob, { failure: string }> {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.length);
  const body = bytes.subarray(MARK.length + CLONING_DOMAIN_BYTES);
  if (!bytes.subarray(0, MARK.length).equals(MARK) || body.length === 0) return { failure: 'BLOB_INVALID' };
  if (!bytes.subarray(MARK.length, MARK.length + CLONING_DOMAIN_BYTES).equals(domain))
    return { failure: 'CLONING_DOMAIN_OTHER' };
  const attributes = parseAttributes(body);
  return attributes !== undefined && isObject(attributes) ? { body, attributes } : { failure: 'BLOB_INVALID' };
}

/** Whether a blob with these attributes makes something else than a manifest says. */
export function differs(item: NativeObject, attributes: StoredAttributes): boolean {
  const { objectClass, keyType } = item;
  if (!equalsNumber(attributes.get(CKA.CLASS), classNumber(objectClass))) return true;
  if (keyType !== undefined && !isOfType(attributes.get(CKA.KEY_TYPE), keyType)) return true;
  for (const name of Object.keys(item.attributes) as AttributeName[]) {
    const { type, fate } = ATTRIBUTES[name];
    // A manifest has the content of public objects in a form of its own.
    if (fate === 'content') continue;
    const stored = attributes.get(type);
    if (stored !== undefined && stored.kind !== 'template' && !isStored(stored, name, item.attributes[name]!))
      return true;
  }
  return false;
}

function isStored(
  stored: Exclude<StoredValue, { kind: 'template' }>,
  name: AttributeName,
  value: AttributeValue,
): boolean {
  // Most attributes are flags. Those need no bytes.
  if (stored.kind === 'boolean' && typeof value === 'boolean') return stored.value === value;
  if (stored.kind === 'number' && typeof value === 'number') return stored.value === BigInt(value);
  return canonicalBytes(stored).equals(encodeAttribute(name, value));
}

/** As encodeAttribute has it. */
function canonicalBytes(stored: Exclude<StoredValue, { kind: 'template' }>): Buffer {
  switch (stored.kind) {
    case 'boolean':
      return Buffer.of(stored.value ? 1 : 0);
    case 'number':
      return bigEndian(stored.value);
    case 'mechanisms':
      return Buffer.concat([...stored.value].sort((a, b) => (a < b ? -1 : 1)).map(bigEndian));
    case 'bytes':
      return stored.value;
  }
}

function bigEndian(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

const equalsNumber = (stored: StoredValue | undefined, expected: number): boolean =>
  stored?.kind === 'number' && stored.value === BigInt(expected);

/** Some kinds of key have two numbers. */
function isOfType(stored: StoredValue | undefined, keyType: KeyType): boolean {
  const { number, alsoNumber } = kindOfType(keyType);
  return equalsNumber(stored, number) || (alsoNumber !== undefined && equalsNumber(stored, alsoNumber));
}

/** Not the token's own object, and not one that SoftHSM would hide. */
function isObject(attributes: StoredAttributes): boolean {
  if (Object.values(TOKEN_ATTRIBUTE).some((type) => attributes.has(type))) return false;
  const onToken = attributes.get(CKA.TOKEN);
  return attributes.get(CKA.CLASS)?.kind === 'number' && onToken?.kind === 'boolean' && onToken.value;
}
