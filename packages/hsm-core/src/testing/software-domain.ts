/**
 * A domain key with a value that the test knows. The exchange brings it into a partition, with the other side in
 * software. Unwrapping then puts objects into the token as an application would, on every device through the same port.
 */
import { createCipheriv, createECDH, createHash, type KeyObject, randomBytes } from 'node:crypto';
import type { Attributes } from '../model/attributes.ts';
import { derivedBy, type Kdf } from '../model/kdf.ts';
import type { Handle, KeyType } from '../model/object.ts';
import type { BatchOutcome, HsmProvider, UnwrapItem } from '../provider/provider.ts';

/** RFC 5649, section 3. */
const KWP_IV = Buffer.from('a65959a6', 'hex');

export function wrapInSoftware(key: Uint8Array, value: Uint8Array): Uint8Array {
  const cipher = createCipheriv(`id-aes${key.length * 8}-wrap-pad`, key, KWP_IV);
  return new Uint8Array(Buffer.concat([cipher.update(value), cipher.final()]));
}

/** Encrypts in the format of sealed data: `iv || ciphertext || tag`. */
export function encryptInSoftware(key: Uint8Array, value: Uint8Array, aad: Uint8Array): Uint8Array {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(aad);
  return new Uint8Array(Buffer.concat([iv, cipher.update(value), cipher.final(), cipher.getAuthTag()]));
}

const sha256 = (value: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(value).digest());

/** An object to be put into a token: a secret, or a private key. */
export interface Planted {
  readonly keyType: UnwrapItem['keyType'];
  readonly secret: Uint8Array;
  readonly objectClass: 'secret-key' | 'private-key';
  readonly publicHalf?: Uint8Array;
  readonly attributes: Attributes;
}

/** SHA-256 of the wrapped digest: the same as in own-keys/tags.ts, written independently. */
export const tagInSoftware = (domainKey: Uint8Array, value: Uint8Array): Uint8Array =>
  sha256(wrapInSoftware(domainKey, sha256(value)));

export class SoftwareDomain {
  readonly ckaId: Uint8Array;
  readonly checkTag: Uint8Array;
  readonly handle: Handle;
  readonly #value: Uint8Array;

  private constructor(options: { ckaId: Uint8Array; checkTag: Uint8Array; handle: Handle; value: Uint8Array }) {
    this.ckaId = options.ckaId;
    this.checkTag = options.checkTag;
    this.handle = options.handle;
    this.#value = options.value;
  }

  static async installIn(provider: HsmProvider, value: Uint8Array = randomBytes(32)): Promise<SoftwareDomain> {
    const ckaId = new Uint8Array(randomBytes(16));
    const { exchangeKey, wrapped, ephemeral } = await deliver(provider, value);
    const { checkTag } = await provider.installDomainKey({
      exchangeKey,
      blob: wrapped,
      ckaId,
      label: 'domain key of a test',
    });
    await provider.forget([exchangeKey, ephemeral]);
    const own = await provider.findDomainKey({ ckaId, checkTag });
    if (own === undefined) throw new Error('a domain key that was just installed is not found');
    return new SoftwareDomain({ ckaId, checkTag, handle: own.handle, value });
  }

  /** The same key in another partition. */
  copyInto(provider: HsmProvider): Promise<SoftwareDomain> {
    return SoftwareDomain.installIn(provider, this.#value);
  }

  wrap(value: Uint8Array): Uint8Array {
    return wrapInSoftware(this.#value, value);
  }

  tagOf(value: Uint8Array): Uint8Array {
    return tagInSoftware(this.#value, value);
  }

  /** The tag of a secret that is sealed exactly: the same as in value-digests.ts, written independently. */
  exactTagOf(value: Uint8Array): Uint8Array {
    const salt = this.tagOf(Buffer.from('antipode exact secret salt v1'));
    const digest = sha256(Buffer.concat([salt, value]));
    return this.tagOf(Buffer.concat([Buffer.from('antipode exact secret v1\0'), digest]));
  }

  item({ secret, ...rest }: Planted): UnwrapItem {
    return { ...rest, blob: this.wrap(secret) };
  }

  /** Makes all of them, or throws. */
  async plant(provider: HsmProvider, planted: readonly Planted[]): Promise<readonly Handle[]> {
    return all(
      await provider.unwrap(
        this.handle,
        planted.map((one) => this.item(one)),
      ),
    );
  }
}

/**
 * Runs one exchange up to the delivery. Returns the token's exchange key, and a value that software has wrapped for it.
 */
export async function deliver(provider: HsmProvider, value: Uint8Array, options: { kdf?: Kdf } = {}) {
  const { handle: ephemeral, point, kdfs } = await provider.generateEphemeral();
  const { kdf = kdfs[0]! } = options;
  const own = createECDH('prime256v1');
  const peerPoint = new Uint8Array(own.generateKeys());
  const exchangeKey = await provider.deriveExchangeKey({ ephemeral, peerPoint, use: 'unwrap', kdf });
  return { exchangeKey, ephemeral, wrapped: wrapInSoftware(derivedBy(kdf, own.computeSecret(point), 32), value) };
}

/** The handles of a batch that must not fail. */
export function all({ handles, failure }: BatchOutcome): readonly Handle[] {
  if (failure === undefined) return handles;
  throw new Error(`item ${failure.index}: ${failure.code} ${failure.returnValue ?? ''}`);
}

export const secretKey = (keyType: KeyType, secret: Uint8Array, attributes: Attributes): Planted => ({
  objectClass: 'secret-key',
  keyType,
  secret,
  attributes,
});

export const plantedKey = (
  { privateKey: key, publicKey }: { privateKey: KeyObject; publicKey: KeyObject },
  attributes: Attributes,
): Planted => ({
  objectClass: 'private-key',
  keyType: key.asymmetricKeyType === 'rsa' ? 'rsa' : 'ec',
  secret: new Uint8Array(key.export({ format: 'der', type: 'pkcs8' })),
  publicHalf: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })),
  attributes,
});

/** Label and CKA_ID from one word, as common tools set them. */
export const named = (word: string): Attributes => ({
  label: new Uint8Array(Buffer.from(word)),
  id: new Uint8Array(Buffer.from(word)),
});
