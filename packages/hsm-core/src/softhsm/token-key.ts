/**
 * The key of a SoftHSM token: AES-256, made with the token and never changed. Under it SoftHSM encrypts all byte strings
 * of private objects. It lies in `token.object` twice: once under a key that follows from the officer's PIN, and once
 * under one that follows from the user's PIN. Each has 8 bytes of salt, 16 of initial vector, and by AES-256-CBC a mark
 * of three bytes and the key. The PIN and the file together give the key: SoftHSM is not a security boundary (ADR 0056).
 *
 * It is in the clear in the memory of the HSM worker only, as it is for the module there, and for one call.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hash, randomBytes } from 'node:crypto';
import { lockBytes, unlockBytes } from '@antipode/cryptoki';

export const TOKEN_KEY_BYTES = 32;
/** Of a byte string of a private object. */
const CIPHER = 'aes-256-cbc';
const [SALT_BYTES, IV_BYTES, BLOCK_BYTES] = [8, 16, 16];
const MARK = Buffer.from('524a52', 'hex');
/** SoftHSM hashes so often, and besides as often as the last byte of the salt says. */
const ROUNDS = 1_500;
const DOMAIN_PREFIX = 'antipode softhsm cloning domain v1\0';

export class TokenKey {
  readonly #key: Buffer;
  readonly #isLocked: boolean;

  /** Takes the buffer over. */
  constructor(key: Buffer) {
    if (key.length !== TOKEN_KEY_BYTES) throw new Error(`a token key has ${TOKEN_KEY_BYTES} bytes, not ${key.length}`);
    this.#key = key;
    this.#isLocked = lockBytes(key);
  }

  /** Opens it with a PIN. Undefined where the PIN is another one, or the bytes are damaged. */
  static open(wrapped: Uint8Array, pin: Uint8Array): TokenKey | undefined {
    const bytes = Buffer.from(wrapped);
    const salt = bytes.subarray(0, SALT_BYTES);
    const iv = bytes.subarray(SALT_BYTES, SALT_BYTES + IV_BYTES);
    const encrypted = bytes.subarray(SALT_BYTES + IV_BYTES);
    if (iv.length < IV_BYTES || encrypted.length === 0) return undefined;
    const opening = keyOf(pin, salt);
    const opened = decrypted(opening, iv, encrypted);
    opening.fill(0);
    if (opened === undefined) return undefined;
    try {
      if (opened.length !== MARK.length + TOKEN_KEY_BYTES || !opened.subarray(0, MARK.length).equals(MARK))
        return undefined;
      const key = Buffer.alloc(TOKEN_KEY_BYTES);
      key.set(opened.subarray(MARK.length));
      return new TokenKey(key);
    } finally {
      opened.fill(0);
    }
  }

  /** The key as `token.object` keeps it for this PIN. */
  wrapFor(pin: Uint8Array): Buffer {
    const [salt, iv] = [randomBytes(SALT_BYTES), randomBytes(IV_BYTES)];
    const wrapping = keyOf(pin, salt);
    const plain = Buffer.concat([MARK, this.#key]);
    try {
      return Buffer.concat([salt, iv, encrypted(wrapping, iv, plain)]);
    } finally {
      wrapping.fill(0);
      plain.fill(0);
    }
  }

  /** Names the cloning domain: equal for tokens of one key, and it tells nothing of that key. */
  domain(): Uint8Array {
    return new Uint8Array(createHmac('sha256', this.#key).update(DOMAIN_PREFIX).digest());
  }

  encrypt(plain: Uint8Array): Buffer {
    const iv = randomBytes(IV_BYTES);
    return Buffer.concat([iv, encrypted(this.#key, iv, plain)]);
  }

  /**
   * Undefined where the bytes are not what this key has encrypted. Of 256 strings that another key has encrypted one
   * passes: CBC has no integrity.
   */
  decrypt(bytes: Uint8Array): Buffer | undefined {
    if (!isEncrypted(bytes)) return undefined;
    return decrypted(this.#key, bytes.subarray(0, IV_BYTES), bytes.subarray(IV_BYTES));
  }

  /**
   * What {@link decrypt} says of each of these, by one cipher: to set one up takes longer than to decrypt some bytes. In
   * CBC a block depends on the one before it only. So the strings are decrypted as one, and the results
   * in the places of their initial vectors are left out.
   *
   * The results share memory, which `wipe` clears.
   */
  decryptAll(strings: readonly Uint8Array[]): {
    readonly plain: readonly (Buffer | undefined)[];
    readonly wipe: () => void;
  } {
    const joined = Buffer.concat(strings.filter(isEncrypted));
    const cipher = createDecipheriv(CIPHER, this.#key, Buffer.alloc(IV_BYTES)).setAutoPadding(false);
    const all = cipher.update(joined);
    cipher.final();
    let at = 0;
    const plain = strings.map((bytes) => {
      if (!isEncrypted(bytes)) return undefined;
      at += bytes.length;
      return unpadded(all.subarray(at - bytes.length + IV_BYTES, at));
    });
    return { plain, wipe: () => all.fill(0) };
  }

  /** Lends the bytes. They must not outlive the call. */
  expose<T>(use: (key: Buffer) => T): T {
    return use(this.#key);
  }

  wipe(): void {
    this.#key.fill(0);
    if (this.#isLocked) unlockBytes(this.#key);
  }
}

/** Whether a byte string has the length that SoftHSM's encryption gives it. Dates are in the clear in every object. */
export const isEncrypted = (bytes: Uint8Array): boolean =>
  bytes.length >= IV_BYTES + BLOCK_BYTES && bytes.length % BLOCK_BYTES === 0;

/**
 * The end of an encrypted string, by which {@link TokenKey.decryptAll} says whether this key has encrypted it: two blocks,
 * of which the second is decrypted. So a secret can be checked without more of it in the clear than fifteen bytes.
 */
export const endOf = (bytes: Uint8Array): Uint8Array => (isEncrypted(bytes) ? bytes.subarray(-2 * BLOCK_BYTES) : bytes);

/** Without the padding, all of whose bytes say how many they are. Undefined where there is no such padding. */
function unpadded(padded: Buffer): Buffer | undefined {
  const length = padded.at(-1)!;
  if (length === 0 || length > BLOCK_BYTES) return undefined;
  const end = padded.length - length;
  for (let at = end; at < padded.length; at += 1) if (padded[at] !== length) return undefined;
  return padded.subarray(0, end);
}

function keyOf(pin: Uint8Array, salt: Uint8Array): Buffer {
  let digest = createHash('sha256').update(salt).update(pin).digest();
  for (let left = ROUNDS + salt.at(-1)! - 1; left > 0; left -= 1) {
    const next = hash('sha256', digest, 'buffer');
    digest.fill(0);
    digest = next;
  }
  return digest;
}

function encrypted(key: Uint8Array, iv: Uint8Array, plain: Uint8Array): Buffer {
  const cipher = createCipheriv(CIPHER, key, iv);
  return Buffer.concat([cipher.update(plain), cipher.final()]);
}

function decrypted(key: Uint8Array, iv: Uint8Array, bytes: Uint8Array): Buffer | undefined {
  const decipher = createDecipheriv(CIPHER, key, iv);
  const start = decipher.update(bytes);
  try {
    const end = decipher.final();
    // In memory of its own. Small buffers share a pool, which would be locked and unlocked with whatever else is in it.
    const plain = Buffer.alloc(start.length + end.length);
    plain.set(start);
    plain.set(end, start.length);
    end.fill(0);
    return plain;
  } catch {
    return undefined;
  } finally {
    start.fill(0);
  }
}
