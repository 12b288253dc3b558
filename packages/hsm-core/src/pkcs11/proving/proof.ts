/** One proof of one object: the checks made so far, and the ways to use a key that kinds of key share. */
import { type KeyObject, randomBytes } from 'node:crypto';
import {
  CANNOT_EXERCISE,
  CKA,
  CryptokiFailure,
  IS_ANOTHERS,
  type Mechanism,
  mechanism,
  SIGNATURE_REFUSALS,
} from '@antipode/cryptoki';
import { bytesEqual, hasCode, sha256 } from '@antipode/runtime';
import { type AttributeName, USES } from '../../model/attributes.ts';
import { isWrapped } from '../../model/object.ts';
import { openedKey } from '../../model/public-half.ts';
import type { ProofCheck, ProofItem } from '../../provider/prover.ts';
import type { ObjectReader } from '../reading/object-reader.ts';
import { nestedTemplate } from '../reading/objects.ts';
import { isSoftwareRefusal } from '../reading/software-refusal.ts';
import type { WrappingSession } from '../token-session.ts';
import { Partner } from './partner.ts';
import { VectorMaker } from './vectors.ts';

export interface ProveContext extends WrappingSession {
  readonly objects: ObjectReader;
  /** Under which the secrets are wrapped again. */
  readonly domainKey: bigint;
  /**
   * For keys with CKA_ALWAYS_AUTHENTICATE. @throws PIN_REFUSED, PIN_LOCKED where it must not be tried, or was refused
   */
  readonly loginForUse: (session: bigint) => void;
  readonly tagData: (handle: bigint) => Uint8Array | undefined;
  readonly tagSecret: (handle: bigint) => Uint8Array | undefined;
}

/** The token refuses the use to every key like this one: then it says nothing of the one at hand. */
export class RefusedToAny extends Error {}

export class Proof {
  readonly checks: ProofCheck[] = [];
  /** Digest of the blob that the device gives of the key, where that tells a damaged part. */
  wrapsTo: Uint8Array | undefined;
  readonly context: ProveContext;
  readonly item: ProofItem;
  readonly nonce = Buffer.concat([Buffer.from('antipode proof v1\0'), randomBytes(32)]);
  /** Uses that another one has tried along with itself: what was encrypted is decrypted again. */
  readonly #covered = new Set<AttributeName>();
  readonly #partner: Partner;

  constructor(context: ProveContext, item: ProofItem) {
    this.context = context;
    this.item = item;
    this.#partner = new Partner(context, item);
  }

  end(): void {
    this.#partner.end();
  }

  /** Whether something was shown that only the true object can show. A MAC alone does not: only itself checks it. */
  get hasProof(): boolean {
    const shown = this.checks.filter(({ outcome }) => outcome === 'proved');
    return this.item.objectClass === 'secret-key' ? shown.some(({ use }) => SHOWS_SECRET.has(use)) : shown.length > 0;
  }

  fail(use: string, detail: string): void {
    this.checks.push({ use, outcome: 'failed', detail });
  }

  /** The use is tried along with another one. */
  cover(use: AttributeName): void {
    this.#covered.add(use);
  }

  /**
   * Shows the value of a secret: by its vectors, by its tag if it was sealed exactly, otherwise by wrapping it again. A
   * vector that this token does not do is not exercised.
   */
  rewrap(): void {
    this.#repeatVectors();
    const { cryptoki, session, keyWrap, domainKey, tagSecret } = this.context;
    const { blobSha256: expected, valueTag, objectClass, handle } = this.item;
    if (valueTag !== undefined && objectClass === 'secret-key') {
      this.check('value', 'keyed digest of the value', () => {
        const tag = tagSecret(handle);
        return tag !== undefined && bytesEqual(tag, valueTag);
      });
      return;
    }
    if (expected === undefined) return;
    this.check('rewrap', 'AES key wrap (RFC 5649)', () =>
      bytesEqual(sha256(cryptoki.wrapKey(session, keyWrap, domainKey, this.item.handle)), expected),
    );
  }

  #repeatVectors(): void {
    const { vectors = [] } = this.item;
    const maker = new VectorMaker(this.context);
    for (const vector of vectors) {
      const detail = `${vector.use} 0x${vector.mechanism.toString(16)}`;
      const isRepeated = maker.repeats(this.item, vector);
      const outcome = isRepeated === undefined ? 'not-exercised' : isRepeated ? 'proved' : 'failed';
      this.checks.push({ use: 'vector', outcome, detail });
    }
  }

  /**
   * Uses that software cannot check, for lack of a public half: that the token refuses one of them is a finding all the
   * same.
   */
  useUnverified(type: number, data: Uint8Array): void {
    const { cryptoki, session } = this.context;
    const { handle, attributes } = this.item;
    if (attributes.sign) {
      const before = this.checks.length;
      this.use('sign', [type], () => cryptoki.sign(session, mechanism(type), handle, data).length > 0);
      const made = this.checks[before];
      // A signature that nobody verifies proves nothing.
      if (made?.outcome === 'proved')
        this.checks[before] = { ...made, outcome: 'not-exercised', detail: 'not verified' };
    }
    for (const use of ['decrypt', 'unwrap', 'derive'] as const)
      if (attributes[use]) this.checks.push({ use, outcome: 'not-exercised', detail: 'no public half' });
  }

  /** Counts each use that nobody has tried as not tried (I13). */
  countUntried(): void {
    if (!isWrapped(this.item.objectClass)) return;
    const tried = new Set(this.checks.map(({ use }) => use));
    for (const use of USES)
      if (this.item.attributes[use] && !tried.has(use) && !this.#covered.has(use))
        this.checks.push({ use, outcome: 'not-exercised', detail: 'no mechanism of this type of key' });
  }

  publicKey(): KeyObject | undefined {
    const { publicHalf } = this.item;
    const opened = publicHalf && openedKey(publicHalf);
    if (publicHalf !== undefined && opened === undefined) this.fail('value', 'the public half is not a key');
    return opened;
  }

  /**
   * Work by the key itself, or by its other side where the key lacks the use. A refusal to the other side is not a
   * finding about the key: then nobody has checked. @throws a refusal to the key
   */
  by<T>(use: AttributeName, work: (key: bigint) => T): T | undefined {
    const { handle } = this.item;
    const key = this.#partner.for(use);
    if (key === undefined) return undefined;
    try {
      return work(key);
    } catch (thrown) {
      if (key !== handle && thrown instanceof CryptokiFailure && !SIGNATURE_REFUSALS.has(thrown.returnValue))
        return undefined;
      throw thrown;
    }
  }

  useMac(types: readonly number[], bytes: number): void {
    const { cryptoki, session } = this.context;
    const { sign, verify: verifies } = this.item.attributes;
    if (!sign && !verifies) return;
    if (sign) this.#covered.add('verify');
    this.use(sign ? 'sign' : 'verify', types, (type) => {
      const how = mechanism(type);
      const mac = this.by('sign', (key) => cryptoki.sign(session, how, key, this.nonce));
      if (mac !== undefined) {
        this.by('verify', (key) => cryptoki.verify(session, how, key, this.nonce, mac));
        return mac.length > 0;
      }
      // A key that only verifies has nothing to verify here: that it refuses a MAC that nobody made shows that it is at
      // work.
      try {
        cryptoki.verify(session, how, this.item.handle, this.nonce, randomBytes(bytes));
        return false;
      } catch (thrown) {
        if (thrown instanceof CryptokiFailure && thrown.returnValue === IS_ANOTHERS) return true;
        throw thrown;
      }
    });
  }

  wrapThrowAway(): void {
    const { cryptoki, session, keyWrap, values } = this.context;
    const { wrap, unwrap, wrapTemplate } = this.item.attributes;
    const secret = randomBytes(32);
    let blob: Buffer | undefined;
    const wrapped = (): Buffer | undefined => {
      const throwAway = values.make(secret, nestedTemplate(wrapTemplate ?? new Uint8Array()));
      try {
        return this.by('wrap', (key) => cryptoki.wrapKey(session, keyWrap, key, throwAway));
      } finally {
        cryptoki.destroy(session, throwAway);
      }
    };
    if (wrap)
      this.use('wrap', [keyWrap.type], () => {
        blob = wrapped();
        if (unwrap || blob === undefined) return blob !== undefined;
        const made = blob;
        return this.by('unwrap', (key) => this.unwrapsTo(keyWrap, made, secret, key)) !== false;
      });
    else blob = unlessRefused(wrapped);
    const made = blob;
    if (unwrap && made !== undefined)
      this.use('unwrap', [keyWrap.type], () => this.unwrapsTo(keyWrap, made, secret, this.item.handle));
  }

  unwrapsTo(how: Mechanism, blob: Uint8Array, secret: Uint8Array, key: bigint): boolean {
    const { cryptoki, session, values } = this.context;
    const unwrapped = cryptoki.unwrapKey(session, how, key, blob, values.readable);
    try {
      const value = values.read(unwrapped);
      return value !== undefined && bytesEqual(value, secret);
    } finally {
      cryptoki.destroy(session, unwrapped);
    }
  }

  /**
   * The value derived from a nonce, where the token lets it be read. The nonce is used once, so the value protects
   * nothing.
   */
  derived(how: Mechanism, bytes = 32): Uint8Array | undefined {
    const { cryptoki, session, values } = this.context;
    const derived = cryptoki.deriveKey(session, how, this.item.handle, [...values.readable, [CKA.VALUE_LEN, bytes]]);
    try {
      return values.read(derived);
    } finally {
      cryptoki.destroy(session, derived);
    }
  }

  /** Tries the mechanisms that the key allows until one can be exercised. */
  use(use: string, types: readonly number[], work: (type: number) => boolean): void {
    const { allowedMechanisms, alwaysAuthenticate } = this.item.attributes;
    const { cryptoki, loginForUse } = this.context;
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
        if (thrown instanceof RefusedToAny) {
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

  check(use: string, detail: string, work: () => boolean): void {
    try {
      this.checks.push({ use, outcome: work() ? 'proved' : 'failed', detail });
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      this.checks.push({ use, outcome: 'failed', detail: `${detail}: ${thrown.returnValue}` });
    }
  }
}

/** Undefined where the token refuses: a step that only prepares a trial is not a finding about the key. */
function unlessRefused<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof CryptokiFailure) return undefined;
    throw thrown;
  }
}

/** The checks that show the value of a secret. */
const SHOWS_SECRET: ReadonlySet<string> = new Set(['rewrap', 'value', 'vector']);
