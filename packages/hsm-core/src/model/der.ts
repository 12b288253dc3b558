/** The part of DER (X.690) that public keys and curve parameters need. */
export const INTEGER = 0x02;
export const OCTET_STRING = 0x04;
export const OBJECT_IDENTIFIER = 0x06;
export const SEQUENCE = 0x30;

export interface Tlv {
  readonly tag: number;
  readonly content: Uint8Array;
  /** The whole element, including its tag and length. */
  readonly whole: Uint8Array;
}

/** Tag, length, and these parts in order. */
export function tagged(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const lengthBytes: number[] = [];
  if (length < 0x80) lengthBytes.push(length);
  else {
    for (let rest = length; rest > 0; rest >>= 8) lengthBytes.unshift(rest & 0xff);
    lengthBytes.unshift(0x80 | lengthBytes.length);
  }
  const encoded = new Uint8Array(1 + lengthBytes.length + length);
  encoded[0] = tag;
  encoded.set(lengthBytes, 1);
  let at = 1 + lengthBytes.length;
  for (const part of parts) {
    encoded.set(part, at);
    at += part.length;
  }
  return encoded;
}

/** The elements in these bytes, up to the first bytes that are not an element. */
export function elements(bytes: Uint8Array): Tlv[] {
  const found: Tlv[] = [];
  for (let at = 0; at < bytes.length; ) {
    const one = elementAt(bytes, at);
    if (one === undefined) break;
    found.push(one);
    at += one.whole.length;
  }
  return found;
}

/** The single element of these bytes. Undefined if it has another tag, or if there is more than one. */
export function tlvOf(bytes: Uint8Array, tag: number): Tlv | undefined {
  const one = elementAt(bytes, 0);
  return one?.tag === tag && one.whole.length === bytes.length ? one : undefined;
}

/** Supports lengths of up to two bytes. No element here is longer. */
function elementAt(bytes: Uint8Array, at: number): Tlv | undefined {
  const [tag, first] = [bytes[at], bytes[at + 1]];
  if (tag === undefined || first === undefined || first > 0x82 || first === 0x80) return undefined;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  let length = lengthBytes === 0 ? first : 0;
  for (let index = 0; index < lengthBytes; index += 1) length = length * 256 + (bytes[at + 2 + index] ?? Number.NaN);
  const start = at + 2 + lengthBytes;
  if (!(start + length <= bytes.length)) return undefined;
  return { tag, content: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) };
}
