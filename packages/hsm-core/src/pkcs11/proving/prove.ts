/**
 * Proves that a restored object is the one that was captured (design section 4, Proof): secrets by wrapping them again,
 * private keys by a signature, a decryption or an agreement that software checks with the manifest's public half; then
 * use by every flag. Attributes alone prove nothing. A flag that no mechanism of the token can exercise is reported.
 */
import { constants, createHash, type KeyObject, publicDecrypt, publicEncrypt, randomBytes, verify } from 'node:crypto';
import {
  aesCtr,
  CANNOT_EXERCISE,
  CKA,
  CKK,
  CKM,
  CKO,
  CryptokiFailure,
  derivationFrom,
  type Mechanism,
  mechanism,
  rsaOaep,
  rsaPss,
} from '@antipode/cryptoki';
import { bytesEqual, hasCode, hex, sha256 } from '@antipode/runtime';
import { ATTRIBUTES, type AttributeName, USES } from '../../model/attributes.ts';
import type { Curve } from '../../model/curve.ts';
import { isWrapped } from '../../model/object.ts';
import { curveIn, openedKey, pointOf } from '../../model/public-half.ts';
import type { ProofCheck, ProofItem, ProofOutcome } from '../../provider/provider.ts';
import { agree, softwareAgreement } from '../reading/find-public-half.ts';
import type { ObjectReader } from '../reading/object-reader.ts';
import { isSoftwareRefusal } from '../reading/software-refusal.ts';
import type { WrappingSession } from '../token-session.ts';
import { Partner } from './partner.ts';

export interface ProveContext extends WrappingSession {
  readonly objects: ObjectReader;
  /** Under which the secrets are wrapped again. */
  readonly domainKey: bigint;
  /** For keys with CKA_ALWAYS_AUTHENTICATE. @throws PIN_REFUSED, PIN_LOCKED where it must not be tried, or was refused */
  readonly loginForUse: (session: bigint) => void;
  readonly tagData: (handle: bigint) => Uint8Array | undefined;
}

export function prove(context: ProveContext, item: ProofItem): ProofOutcome {
  const proof = new Proof(context, item);
  try {
    return proved(proof, item);
  } finally {
    proof.end();
  }
}

function proved(proof: Proof, item: ProofItem): ProofOutcome {
  switch (item.objectClass) {
    case 'secret-key':
      proof.rewrap();
      if (item.keyType === 'aes') proof.useAes();
      else proof.useSecret();
      break;
    case 'private-key':
      if (item.keyType === 'rsa') proof.useRsa();
      else proof.useEc();
      if (!proof.hasProof) proof.rewrap();
      if (item.keyType === 'rsa') proof.compareParts();
      break;
    case 'data':
      proof.data();
      break;
    case 'public-key':
    case 'certificate':
      proof.publicObject();
  }
  proof.countUntried();
  return {
    handle: item.handle,
    proved: proof.hasProof && proof.checks.every(({ outcome }) => outcome !== 'failed'),
    checks: proof.checks,
    ...(proof.wrapsTo === undefined ? {} : { wrapsTo: proof.wrapsTo }),
  };
}

const IV = Buffer.alloc(16, 0x24);

class Proof {
  readonly checks: ProofCheck[] = [];
  wrapsTo: Uint8Array | undefined;
  readonly #context: ProveContext;
  readonly #item: ProofItem;
  /** Uses that another one has tried along with itself: what was encrypted is decrypted again. */
  readonly #covered = new Set<AttributeName>();
  readonly #partner: Partner;
  readonly #nonce = Buffer.concat([Buffer.from('antipode proof v1\0'), randomBytes(32)]);

  constructor(context: ProveContext, item: ProofItem) {
    this.#context = context;
    this.#item = item;
    this.#partner = new Partner(context, item);
  }

  end(): void {
    this.#partner.end();
  }

  /** Whether something was shown that only the true object can show. A MAC alone is none: nothing checks it but itself. */
  get hasProof(): boolean {
    const shown = this.checks.filter(({ outcome }) => outcome === 'proved');
    return this.#item.objectClass === 'secret-key' ? shown.some(({ use }) => use === 'rewrap') : shown.length > 0;
  }

  rewrap(): void {
    const { cryptoki, session, keyWrap, domainKey } = this.#context;
    const expected = this.#item.blobSha256;
    if (expected === undefined) return;
    this.#check('rewrap', 'AES key wrap (RFC 5649)', () =>
      bytesEqual(sha256(cryptoki.wrapKey(session, keyWrap, domainKey, this.#item.handle)), expected),
    );
  }

  /**
   * A token may answer rightly with a key of which p, q, dP, dQ or qInv is damaged: OpenSSL notices, and signs without them.
   * What the device wraps has all of it. Where it wraps one key in two ways, nothing follows.
   */
  compareParts(): void {
    const { cryptoki, session, keyWrap, domainKey } = this.#context;
    const { handle, wrapsTo } = this.#item;
    const wrapDigest = (): Uint8Array => sha256(cryptoki.wrapKey(session, keyWrap, domainKey, handle));
    try {
      const wrapped = wrapDigest();
      const isSame = wrapsTo !== undefined && bytesEqual(wrapped, wrapsTo);
      if (!isSame && !bytesEqual(wrapDigest(), wrapped)) return;
      if (wrapsTo !== undefined && !isSame)
        this.checks.push({
          use: 'rewrap',
          outcome: 'failed',
          detail: 'the blob differs from an earlier one on this device',
        });
      this.wrapsTo = wrapped;
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      if (wrapsTo !== undefined)
        this.checks.push({ use: 'rewrap', outcome: 'failed', detail: `wrapped before, and now ${thrown.returnValue}` });
    }
  }

  useAes(): void {
    const { cryptoki, session } = this.#context;
    const { attributes } = this.#item;
    const block = this.#nonce.subarray(0, 32);
    if (attributes.encrypt || attributes.decrypt) {
      if (attributes.encrypt) this.#covered.add('decrypt');
      this.#use(
        attributes.encrypt ? 'encrypt' : 'decrypt',
        [CKM.AES_CBC, CKM.AES_CBC_PAD, CKM.AES_ECB, CKM.AES_CTR],
        (type) => {
          const how = type === CKM.AES_CTR ? aesCtr(IV) : mechanism(type, type === CKM.AES_ECB ? undefined : IV);
          const encrypted = this.#by('encrypt', (key) => cryptoki.encrypt(session, how, key, block));
          const decrypted = this.#by('decrypt', (key) => cryptoki.decrypt(session, how, key, encrypted ?? block));
          if (encrypted !== undefined && decrypted !== undefined) return bytesEqual(decrypted, block);
          return encrypted === undefined || !bytesEqual(encrypted.subarray(0, block.length), block);
        },
      );
    }
    this.#useMac([CKM.AES_CMAC], 16);
    if (attributes.wrap || attributes.unwrap) this.#wrapThrowAway();
    if (attributes.derive) {
      this.#use('derive', [CKM.AES_ECB_ENCRYPT_DATA], (type) => {
        const derived = this.#derived(derivationFrom(type, block));
        const expected = this.#by('encrypt', (key) => cryptoki.encrypt(session, mechanism(CKM.AES_ECB), key, block));
        return expected === undefined || derived === undefined || bytesEqual(derived, expected);
      });
    }
  }

  useSecret(): void {
    this.#useMac([CKM.SHA256_HMAC, CKM.SHA_1_HMAC], 32);
    if (!this.#item.attributes.derive) return;
    const { cryptoki, session } = this.#context;
    const block = this.#nonce.subarray(0, 32);
    this.#use('derive', [CKM.SHA256_KEY_DERIVATION, CKM.CONCATENATE_BASE_AND_DATA], (type) => {
      const how = type === CKM.SHA256_KEY_DERIVATION ? mechanism(type) : derivationFrom(type, block);
      // It tells of the secret, so that nobody reads it: rewrapping has shown the value.
      const hidden = THROW_AWAY.map(
        ([attribute, value]) =>
          [attribute, attribute === CKA.SENSITIVE ? true : attribute === CKA.EXTRACTABLE ? false : value] as const,
      );
      cryptoki.destroy(session, cryptoki.deriveKey(session, how, this.#item.handle, hidden));
      return true;
    });
  }

  useRsa(): void {
    const { cryptoki, session } = this.#context;
    const { handle, attributes } = this.#item;
    const publicKey = this.#publicKey();
    if (publicKey === undefined) {
      this.#useUnverified();
      return;
    }
    // SoftHSM 2.6.1 ends the whole process when a half-made key without modulus or exponent decrypts.
    if ((attributes.decrypt || attributes.unwrap) && this.#context.objects.read(handle)?.publicHalf === undefined) {
      this.checks.push({ use: 'value', outcome: 'failed', detail: 'no public half' });
      return;
    }
    if (attributes.sign) {
      this.#use('sign', [CKM.SHA256_RSA_PKCS, CKM.SHA256_RSA_PKCS_PSS], (type) => {
        const isPss = type === CKM.SHA256_RSA_PKCS_PSS;
        const how = isPss ? rsaPss() : mechanism(type);
        const signature = cryptoki.sign(session, how, handle, this.#nonce);
        return verify(
          'sha256',
          this.#nonce,
          { key: publicKey, padding: isPss ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING },
          signature,
        );
      });
    }
    if (attributes.decrypt) {
      this.#use('decrypt', [CKM.RSA_PKCS_OAEP, CKM.RSA_PKCS], (type) => {
        const isOaep = type === CKM.RSA_PKCS_OAEP;
        const padding = isOaep ? constants.RSA_PKCS1_OAEP_PADDING : constants.RSA_PKCS1_PADDING;
        const ciphertext = publicEncrypt({ key: publicKey, padding, oaepHash: 'sha1' }, this.#nonce);
        return bytesEqual(
          cryptoki.decrypt(session, isOaep ? rsaOaep() : mechanism(type), handle, ciphertext),
          this.#nonce,
        );
      });
    }
    if (attributes.signRecover) {
      this.#use('signRecover', [CKM.RSA_PKCS], (type) => {
        const signature = cryptoki.signRecover(session, mechanism(type), handle, this.#nonce.subarray(0, 32));
        const recovered = publicDecrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, signature);
        return bytesEqual(recovered, this.#nonce.subarray(0, 32));
      });
    }
    if (attributes.unwrap) {
      this.#use('unwrap', [CKM.RSA_PKCS_OAEP, CKM.RSA_PKCS], (type) => {
        const isOaep = type === CKM.RSA_PKCS_OAEP;
        const padding = isOaep ? constants.RSA_PKCS1_OAEP_PADDING : constants.RSA_PKCS1_PADDING;
        const secret = randomBytes(32);
        const wrapped = publicEncrypt({ key: publicKey, padding, oaepHash: 'sha1' }, secret);
        return this.#unwrapsTo(isOaep ? rsaOaep() : mechanism(type), wrapped, secret, handle);
      });
    }
  }

  useEc(): void {
    const { cryptoki, session } = this.#context;
    const { handle, attributes, publicHalf } = this.#item;
    const curve = publicHalf && curveIn(publicHalf);
    const publicKey = this.#publicKey();
    if (curve === undefined || publicKey === undefined || publicHalf === undefined) {
      this.#useUnverified();
      return;
    }
    // SoftHSM 2.6.1 ends the whole process when a half-made key without CKA_EC_PARAMS agrees.
    const shown = this.#context.objects.read(handle)?.curveParams;
    if (attributes.derive && (shown === undefined || hex(shown) !== curve.params)) {
      this.checks.push({ use: 'value', outcome: 'failed', detail: 'no curve, or another' });
      return;
    }
    if (attributes.sign) {
      this.#useOn(curve, 'sign', CKM.ECDSA, (key, isOurs) => {
        const digest = createHash(curve.hash).update(this.#nonce).digest();
        const signature = cryptoki.sign(session, mechanism(CKM.ECDSA), key, digest);
        return !isOurs || verify(curve.hash, this.#nonce, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
      });
    }
    if (attributes.derive) {
      this.#useOn(curve, 'derive', CKM.ECDH1_DERIVE, (key, isOurs) => {
        const { point, secret } = softwareAgreement(curve, pointOf(curve, publicHalf));
        const agreed = agree(cryptoki, session, { privateKey: key, point, bytes: curve.fieldBytes });
        return !isOurs || bytesEqual(agreed, secret);
      });
    }
  }

  /** `work` is tried with this key, and where the token refuses it, with one that was just made on the same curve. */
  #useOn(curve: Curve, use: 'sign' | 'derive', type: number, work: (key: bigint, isOurs: boolean) => boolean): void {
    this.#use(use, [type], () => {
      try {
        return work(this.#item.handle, true);
      } catch (thrown) {
        if (thrown instanceof CryptokiFailure && this.#refusesAny(curve, use, thrown, (key) => work(key, false)))
          throw new NoKeyOfCurve(thrown.returnValue);
        throw thrown;
      }
    });
  }

  /**
   * Whether the token refuses this to any key of the curve: then it says nothing of the one at hand. SoftHSM signs on curves
   * over binary fields, and agrees on none.
   */
  #refusesAny(
    curve: Curve,
    use: 'sign' | 'derive',
    { returnValue }: CryptokiFailure,
    work: (key: bigint) => unknown,
  ): boolean {
    const { cryptoki, session } = this.#context;
    const made: bigint[] = [];
    try {
      const { publicKey, privateKey } = cryptoki.generateKeyPair(
        session,
        mechanism(CKM.EC_KEY_PAIR_GEN),
        [
          [CKA.TOKEN, false],
          [CKA.EC_PARAMS, Buffer.from(curve.params, 'hex')],
        ],
        [
          [CKA.TOKEN, false],
          [ATTRIBUTES[use].type, true],
        ],
      );
      made.push(publicKey, privateKey);
      work(privateKey);
      return false;
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      return made.length > 0 && thrown.returnValue === returnValue;
    } finally {
      for (const half of made) cryptoki.destroy(session, half);
    }
  }

  /** Uses that software cannot check, for lack of a public half: that the token refuses one of them is a finding all the same. */
  #useUnverified(): void {
    const { cryptoki, session } = this.#context;
    const { handle, keyType, attributes } = this.#item;
    const type = keyType === 'rsa' ? CKM.SHA256_RSA_PKCS : CKM.ECDSA;
    const data = keyType === 'rsa' ? this.#nonce : this.#nonce.subarray(0, 32);
    if (attributes.sign) {
      const before = this.checks.length;
      this.#use('sign', [type], () => cryptoki.sign(session, mechanism(type), handle, data).length > 0);
      const made = this.checks[before];
      // A signature that nobody verifies proves nothing.
      if (made?.outcome === 'proved')
        this.checks[before] = { ...made, outcome: 'not-exercised', detail: 'not verified' };
    }
    for (const use of ['decrypt', 'unwrap', 'derive'] as const)
      if (attributes[use]) this.checks.push({ use, outcome: 'not-exercised', detail: 'no public half' });
  }

  /** What nobody has tried is counted as not tried, use by use (I13). */
  countUntried(): void {
    if (!isWrapped(this.#item.objectClass)) return;
    const tried = new Set(this.checks.map(({ use }) => use));
    for (const use of USES)
      if (this.#item.attributes[use] && !tried.has(use) && !this.#covered.has(use))
        this.checks.push({ use, outcome: 'not-exercised', detail: 'no mechanism of this type of key' });
  }

  data(): void {
    const { valueTag, handle } = this.#item;
    if (valueTag === undefined) return;
    this.#check('value', 'keyed tag of the value', () => {
      const tag = this.#context.tagData(handle);
      return tag !== undefined && bytesEqual(tag, valueTag);
    });
  }

  publicObject(): void {
    this.#check('value', 'read back', () => {
      const read = this.#context.objects.read(this.#item.handle);
      if (read === undefined) return false;
      const same = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
        a !== undefined && b !== undefined && bytesEqual(a, b);
      return this.#item.objectClass === 'certificate'
        ? same(read.attributes.value, this.#item.attributes.value)
        : same(read.publicHalf, this.#item.publicHalf);
    });
  }

  #publicKey(): KeyObject | undefined {
    const { publicHalf } = this.#item;
    const opened = publicHalf && openedKey(publicHalf);
    if (publicHalf !== undefined && opened === undefined)
      this.checks.push({ use: 'value', outcome: 'failed', detail: 'the public half is not a key' });
    return opened;
  }

  /**
   * What the key itself does, or its other side where the key may not. What the token refuses to the other side is no finding
   * about the key: then nobody has checked. @throws what it refuses to the key
   */
  #by<T>(use: AttributeName, work: (key: bigint) => T): T | undefined {
    const { handle } = this.#item;
    const key = this.#partner.for(use);
    if (key === undefined) return undefined;
    try {
      return work(key);
    } catch (thrown) {
      if (key !== handle && thrown instanceof CryptokiFailure && !SAYS_NO.has(thrown.returnValue)) return undefined;
      throw thrown;
    }
  }

  #useMac(types: readonly number[], bytes: number): void {
    const { cryptoki, session } = this.#context;
    const { sign, verify: verifies } = this.#item.attributes;
    if (!sign && !verifies) return;
    if (sign) this.#covered.add('verify');
    this.#use(sign ? 'sign' : 'verify', types, (type) => {
      const how = mechanism(type);
      const mac = this.#by('sign', (key) => cryptoki.sign(session, how, key, this.#nonce));
      if (mac !== undefined) {
        this.#by('verify', (key) => cryptoki.verify(session, how, key, this.#nonce, mac));
        return mac.length > 0;
      }
      // A key that only verifies has nothing to verify here: that it refuses a MAC that nobody made shows that it is at work.
      try {
        cryptoki.verify(session, how, this.#item.handle, this.#nonce, randomBytes(bytes));
        return false;
      } catch (thrown) {
        if (thrown instanceof CryptokiFailure && thrown.returnValue === 'CKR_SIGNATURE_INVALID') return true;
        throw thrown;
      }
    });
  }

  #wrapThrowAway(): void {
    const { cryptoki, session, keyWrap } = this.#context;
    const { wrap, unwrap } = this.#item.attributes;
    const secret = randomBytes(32);
    let blob: Buffer | undefined;
    const wrapped = (): Buffer | undefined => {
      const throwAway = cryptoki.create(session, [...THROW_AWAY, [CKA.VALUE, secret]]);
      try {
        return this.#by('wrap', (key) => cryptoki.wrapKey(session, keyWrap, key, throwAway));
      } finally {
        cryptoki.destroy(session, throwAway);
      }
    };
    if (wrap)
      this.#use('wrap', [keyWrap.type], () => {
        blob = wrapped();
        if (unwrap || blob === undefined) return blob !== undefined;
        const made = blob;
        return this.#by('unwrap', (key) => this.#unwrapsTo(keyWrap, made, secret, key)) !== false;
      });
    else blob = unlessRefused(wrapped);
    const made = blob;
    if (unwrap && made !== undefined)
      this.#use('unwrap', [keyWrap.type], () => this.#unwrapsTo(keyWrap, made, secret, this.#item.handle));
  }

  #unwrapsTo(how: Mechanism, blob: Uint8Array, secret: Uint8Array, key: bigint): boolean {
    const { cryptoki, session } = this.#context;
    const unwrapped = cryptoki.unwrapKey(session, how, key, blob, THROW_AWAY);
    try {
      const value = cryptoki.attributes(session, unwrapped, [CKA.VALUE])?.get(CKA.VALUE);
      return value !== undefined && bytesEqual(value, secret);
    } finally {
      cryptoki.destroy(session, unwrapped);
    }
  }

  /** What is derived from a nonce that is used once, where the token lets it be read: it protects nothing. */
  #derived(how: Mechanism): Uint8Array | undefined {
    const { cryptoki, session } = this.#context;
    const derived = cryptoki.deriveKey(session, how, this.#item.handle, [...THROW_AWAY, [CKA.VALUE_LEN, 32]]);
    try {
      return cryptoki.attributes(session, derived, [CKA.VALUE])?.get(CKA.VALUE);
    } finally {
      cryptoki.destroy(session, derived);
    }
  }

  /** Tries the mechanisms that the key allows until one can be exercised. */
  #use(use: string, types: readonly number[], work: (type: number) => boolean): void {
    const { allowedMechanisms, alwaysAuthenticate } = this.#item.attributes;
    const { cryptoki, loginForUse } = this.#context;
    const attempt = alwaysAuthenticate ? (type: number) => cryptoki.loggingIn(loginForUse, () => work(type)) : work;
    const refusals: string[] = [];
    for (const type of types) {
      const name = `0x${type.toString(16)}`;
      if (allowedMechanisms?.length && !allowedMechanisms.includes(type)) {
        refusals.push(`${name} not allowed`);
        continue;
      }
      try {
        this.checks.push({ use, outcome: attempt(type) ? 'proved' : 'failed', detail: name });
        return;
      } catch (thrown) {
        if (isSoftwareRefusal(thrown)) {
          refusals.push(`${name} ${thrown.code} in software`);
          continue;
        }
        // The PIN that opens the partition is not the one for this key: it is never tried twice.
        if (alwaysAuthenticate && hasCode(thrown, 'PIN_REFUSED', 'PIN_LOCKED')) {
          refusals.push(`${name} CKA_ALWAYS_AUTHENTICATE: ${thrown.code}`);
          break;
        }
        if (thrown instanceof NoKeyOfCurve) {
          refusals.push(`${name} ${thrown.message} for any key of the curve`);
          continue;
        }
        if (!(thrown instanceof CryptokiFailure)) throw thrown;
        if (!CANNOT_EXERCISE.has(thrown.returnValue)) {
          this.checks.push({ use, outcome: 'failed', detail: `${name} ${thrown.returnValue}` });
          return;
        }
        refusals.push(`${name} ${thrown.returnValue}`);
      }
    }
    this.checks.push({ use, outcome: 'not-exercised', detail: refusals.join(', ') });
  }

  #check(use: string, detail: string, work: () => boolean): void {
    try {
      this.checks.push({ use, outcome: work() ? 'proved' : 'failed', detail });
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      this.checks.push({ use, outcome: 'failed', detail: `${detail}: ${thrown.returnValue}` });
    }
  }
}

/** Undefined where the token refuses: what only prepares a trial is no finding about the key. */
function unlessRefused<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof CryptokiFailure) return undefined;
    throw thrown;
  }
}

/** By which a token says that what one side has made is not what the other takes. */
const SAYS_NO: ReadonlySet<string> = new Set(['CKR_SIGNATURE_INVALID', 'CKR_SIGNATURE_LEN_RANGE']);

/** The token refuses the use to every key of the curve. */
class NoKeyOfCurve extends Error {}

/** A readable session key with nothing to protect. */
export const THROW_AWAY = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.TOKEN, false],
  [CKA.SENSITIVE, false],
  [CKA.EXTRACTABLE, true],
] as const;
