/** How this token agrees on keys (ECDH): found by the self-test, or set in the configuration. */
import { createECDH, type ECDH } from 'node:crypto';
import { CKA, CKD, CKK, CKO, ecdh, type Mechanism, type Template } from '@antipode/cryptoki';
import { OCTET_STRING, tagged } from '../model/der.ts';
import { derivedBy, type Kdf } from '../model/kdf.ts';
import type { Handle } from '../model/object.ts';
import { generateP256 } from './own-keys/p256.ts';
import type { TokenSession } from './token-session.ts';

/** Bare (SEC 1, 2.3.3), or as a DER OCTET STRING. PKCS#11 lets a token ask for either. */
export const POINT_ENCODINGS = ['raw', 'der'] as const;
export type PointEncoding = (typeof POINT_ENCODINGS)[number];

export interface Agreement {
  /** The functions that the token offers, the preferred first. */
  readonly kdfs: readonly Kdf[];
  readonly pointEncoding: PointEncoding;
  /** More bytes of a secret are not derived in the token; absent where it derives any number. */
  readonly derivedBytesMax?: number;
}

/** The way of SoftHSM, and of every token that an older agent works with. */
export const PLAIN: Agreement = { kdfs: ['null'], pointEncoding: 'raw' };

const NUMBERS: Readonly<Record<Kdf, number>> = {
  null: CKD.NULL,
  sha1: CKD.SHA1_KDF,
  sha224: CKD.SHA224_KDF,
  sha256: CKD.SHA256_KDF,
  sha384: CKD.SHA384_KDF,
  sha512: CKD.SHA512_KDF,
};

/** Agreeing in the token with whoever has this point, by this function. */
export const agreeingWith = (
  point: Uint8Array,
  kdf: Kdf,
  { pointEncoding }: Pick<Agreement, 'pointEncoding'>,
): Mechanism => ecdh(pointEncoding === 'der' ? tagged(OCTET_STRING, point) : point, NUMBERS[kdf]);

/** For an agreement that stays inside one token, or has its other side in software: none where that is possible. */
export const localKdf = ({ kdfs }: Agreement): Kdf => (kdfs.includes('null') ? 'null' : kdfs[0]!);

/** SEC 1, 2.3.3: one byte, and two coordinates of P-256. It ends a SubjectPublicKeyInfo. */
export const POINT_BYTES = 65;

/**
 * Agreements on P-256 with a fresh pair in the token, whose other side is in software. So software knows the value of a
 * session key that nobody has handed to the token in the clear.
 */
export class SoftwareSide {
  readonly #context: TokenSession;
  readonly #privateKey: Handle;
  readonly #point: Uint8Array;

  constructor(context: TokenSession) {
    this.#context = context;
    const { privateKey, publicHalf } = generateP256(context, {
      privateKey: [
        [CKA.TOKEN, false],
        [CKA.PRIVATE, true],
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, false],
        [CKA.SIGN, false],
        [CKA.DERIVE, true],
      ],
    });
    this.#privateKey = privateKey;
    this.#point = publicHalf.slice(-POINT_BYTES);
  }

  /** An AES-256 session key with these attributes besides. @throws CryptokiFailure */
  derive(
    how: { readonly kdf: Kdf; readonly pointEncoding: PointEncoding },
    attributes: Template,
  ): { handle: Handle; value: Uint8Array } {
    const { cryptoki, session } = this.#context;
    const ours: ECDH = createECDH('prime256v1');
    const handle = cryptoki.deriveKey(session, agreeingWith(ours.generateKeys(), how.kdf, how), this.#privateKey, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.AES],
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [CKA.PRIVATE, true],
      ...attributes,
    ]);
    return { handle, value: derivedBy(how.kdf, ours.computeSecret(this.#point), 32) };
  }

  end(): void {
    this.#context.cryptoki.destroy(this.#context.session, this.#privateKey);
  }
}
