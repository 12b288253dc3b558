/** The means of an attacker in software: the wire format of an exchange, RFC 5649, and keys that are in no token. */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  sign,
} from 'node:crypto';
import type { BeginExchange, CompleteExchange, ExchangeOffer } from '@antipode/hsm-core';

const KWP_IV = Buffer.from('a65959a6', 'hex');

export const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export function wrapInSoftware(key: Uint8Array, value: Uint8Array): Buffer {
  const cipher = createCipheriv('id-aes256-wrap-pad', key, KWP_IV);
  return Buffer.concat([cipher.update(value), cipher.final()]);
}

/** @throws where `key` is not the one, as OpenSSL does */
export function unwrapInSoftware(key: Uint8Array, blob: Uint8Array): Buffer {
  const decipher = createDecipheriv('id-aes256-wrap-pad', key, KWP_IV);
  return Buffer.concat([decipher.update(blob), decipher.final()]);
}

/** Undoes RFC 5649 with nothing but the block decryption of the wrapping key (RFC 3394, section 2.2.2). */
export async function unwrapByBlocks(
  blob: Uint8Array,
  decryptBlock: (block: Uint8Array) => Promise<Uint8Array>,
): Promise<Buffer> {
  const count = blob.length / 8 - 1;
  const parts = Array.from({ length: count + 1 }, (_, index) => Buffer.from(blob.subarray(index * 8, index * 8 + 8)));
  for (let step = 6 * count; step >= 1; step -= 1) {
    const at = ((step - 1) % count) + 1;
    const head = Buffer.from(parts[0]!);
    head.writeBigUInt64BE(head.readBigUInt64BE() ^ BigInt(step));
    const block = Buffer.from(await decryptBlock(Buffer.concat([head, parts[at]!])));
    [parts[0], parts[at]] = [block.subarray(0, 8), block.subarray(8)];
  }
  return Buffer.concat(parts.slice(1)).subarray(0, parts[0]!.readUInt32BE(4));
}

/** A P-256 pair outside of any token, and the key that ECDH without a derivation function gives. */
export class SoftwarePoint {
  readonly #pair = createECDH('prime256v1');
  readonly point = new Uint8Array(this.#pair.generateKeys());

  agree(peerPoint: Uint8Array): Buffer {
    return this.#pair.computeSecret(peerPoint);
  }
}

/** An identity that no operator has ever seen. */
export class SoftwareIdentity {
  readonly #pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  readonly publicHalf = new Uint8Array(this.#pair.publicKey.export({ type: 'spki', format: 'der' }));

  sign(message: Uint8Array): Uint8Array {
    return new Uint8Array(sign('sha256', message, { key: this.#pair.privateKey, dsaEncoding: 'ieee-p1363' }));
  }
}

/**
 * The signed transcript of an exchange (packages/hsm-core/src/domain-key/exchange.ts), written independently from its
 * description.
 */
export function transcript(
  step: 'answer' | 'delivery' | 'receipt',
  { exchangeId, group, version, offer }: BeginExchange,
  answer: ExchangeOffer,
  ...extra: Uint8Array[]
): Buffer {
  const side = ({ serial, identity, nonce, point }: ExchangeOffer) => [
    Buffer.from(serial),
    sha256(identity),
    nonce,
    point,
  ];
  const named = [offer, answer].map(({ kdfs = [] }) => kdfs.join(' '));
  const isNamed = named.every((text) => text !== '');
  const texts = [step, exchangeId, group, String(version)].map((text) => Buffer.from(text));
  const framed = [
    ...texts,
    ...side(offer),
    ...side(answer),
    ...(isNamed ? named.map((text) => Buffer.from(text)) : []),
    ...extra,
  ].flatMap((part) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    return [length, part];
  });
  return Buffer.concat([Buffer.from(`antipode exchange v${isNamed ? 2 : 1}\0`), ...framed]);
}

/**
 * The receiving side of an exchange in software, for an attacker with only the PIN of a pinned partition. Its identity
 * signs any transcript, over a point that no token has made.
 */
export class SoftwareReceiver {
  readonly #own = new SoftwarePoint();
  readonly #identity: { readonly serial: string; readonly publicHalf: Uint8Array };
  readonly #sign: (message: Uint8Array) => Promise<Uint8Array>;
  readonly #receiver: Uint8Array | undefined;
  #exchange: { readonly begun: BeginExchange; readonly answer: ExchangeOffer } | undefined;
  /** The domain key, once it has been delivered; or what it is wrapped in. */
  stolen: Uint8Array | undefined;

  constructor(
    identity: { readonly serial: string; readonly publicHalf: Uint8Array },
    sign: (message: Uint8Array) => Promise<Uint8Array>,
    /** The public half of its receiving key, which everybody may know. */
    receiver?: Uint8Array,
  ) {
    this.#identity = identity;
    this.#sign = sign;
    this.#receiver = receiver;
  }

  async begin(begun: BeginExchange): Promise<{ offer: ExchangeOffer; signature: Uint8Array }> {
    const { serial, publicHalf: identity } = this.#identity;
    const receiver = this.#receiver === undefined ? {} : { receiver: this.#receiver };
    const answer = { serial, identity, nonce: new Uint8Array(randomBytes(32)), point: this.#own.point, ...receiver };
    this.#exchange = { begun, answer };
    return { offer: answer, signature: await this.#sign(transcript('answer', begun, answer)) };
  }

  async complete({ wrappedKey }: CompleteExchange): Promise<{ checkTag: Uint8Array; signature: Uint8Array }> {
    const { begun, answer } = this.#exchange!;
    this.stolen = unwrapInSoftware(this.#own.agree(begun.offer.point), wrappedKey);
    if (this.stolen.length !== 32) throw new Error('it is no key, but one wrapped under another');
    const checkTag = new Uint8Array(checkTagOf(this.stolen));
    const receipt = transcript('receipt', begun, answer, sha256(wrappedKey), checkTag);
    return { checkTag, signature: await this.#sign(receipt) };
  }
}

/** RSA-OAEP with SHA-1, as a distributor wraps for a receiving key. */
export const wrapForReceiver = (receiver: Uint8Array, value: Uint8Array): Buffer =>
  publicEncrypt(
    {
      key: createPublicKey({ key: Buffer.from(receiver), format: 'der', type: 'spki' }),
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: 'sha1',
    },
    value,
  );

/** Opens a secret that is sealed exactly with the values of both of its keys (ADR 0034). @throws where they do not fit */
export function openExactInSoftware(
  { dataKey, privateHalf }: { dataKey: Uint8Array; privateHalf: Uint8Array },
  { ciphertext, aad }: { ciphertext: Uint8Array; aad: Uint8Array },
): Buffer {
  const [iv, tag] = [ciphertext.subarray(0, 12), ciphertext.subarray(-16)];
  const decipher = createDecipheriv('aes-256-gcm', dataKey, iv).setAAD(aad).setAuthTag(tag);
  const carried = Buffer.concat([decipher.update(ciphertext.subarray(12, -16)), decipher.final()]);
  const key = createPrivateKey({ key: Buffer.from(privateHalf), format: 'der', type: 'pkcs8' });
  return privateDecrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, carried);
}

/** The check tag of a domain key: SHA-256 of the digest of a constant, wrapped. */
export const checkTagOf = (domainKey: Uint8Array): Buffer =>
  sha256(wrapInSoftware(domainKey, sha256(Buffer.from('antipode domain key check v1'))));
