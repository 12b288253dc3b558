/**
 * Finds out by trying what a token can do, with throw-away session keys of known value. Mechanism numbers and flags are
 * not enough: SoftHSM calls RFC 5649 what NSS gives to another format, and its flags lie (facts: pkcs11, 3 and 9.3).
 */
import { randomBytes } from 'node:crypto';
import { CKA, CKM, CryptokiFailure, type Mechanism, mechanism, P256_PARAMS } from '@antipode/cryptoki';
import { AntipodeError, bytesEqual, hasCode } from '@antipode/runtime';
import { KDFS, type Kdf } from '../../model/kdf.ts';
import { type Agreement, POINT_ENCODINGS, type PointEncoding, SoftwareSide } from '../agreement.ts';
import { wrapped } from '../known-values.ts';
import type { TokenSession } from '../token-session.ts';

/** Settings of a partition in the configuration. The self-test finds out the rest. */
export interface MechanismSettings {
  readonly kdf?: Kdf;
  readonly pointEncoding?: PointEncoding;
  /** By which the token wraps as RFC 5649 has it: a vendor's own number, for instance. */
  readonly keyWrapMechanism?: number;
}

export interface Mechanisms {
  readonly keyWrap: Mechanism;
  readonly agreement: Agreement;
}

/**
 * How this token agrees on keys, and the number under which it wraps by RFC 5649. Two session keys are agreed with a
 * side in software, and one is wrapped under the other: only the right functions give the blob that software gives.
 * @throws MECHANISM_MISSING
 */
export function findMechanisms(context: TokenSession, settings: MechanismSettings = {}): Mechanisms {
  const { kdf, pointEncoding } = settings;
  const encodings = pointEncoding === undefined ? POINT_ENCODINGS : [pointEncoding];
  const kdfs = kdf === undefined ? KDFS : [kdf];
  let wraps = wrapNumbers(settings);
  const trial = new MechanismTrial(context);
  try {
    for (const encoding of encodings) {
      const found = kdfs.filter((one) => {
        const wrap = trial.wrapBy({ kdf: one, pointEncoding: encoding }, wraps);
        if (wrap !== undefined) wraps = [wrap];
        return wrap !== undefined;
      });
      if (found.length > 0)
        return { keyWrap: mechanism(wraps[0]!), agreement: { kdfs: found, pointEncoding: encoding } };
    }
  } finally {
    trial.end();
  }
  throw trial.failure();
}

const wrapNumbers = ({ keyWrapMechanism }: MechanismSettings): readonly number[] =>
  keyWrapMechanism === undefined
    ? [CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PAD, CKM.CLOUDHSM_AES_KEY_WRAP_ZERO_PAD]
    : [keyWrapMechanism];

type HowToAgree = Parameters<SoftwareSide['derive']>[0];

class MechanismTrial {
  readonly #context: TokenSession;
  readonly #side: SoftwareSide;
  readonly #made: bigint[] = [];
  /** The last answer of each way to agree, and of each number for wrapping. */
  readonly #refusals = { agreement: new Map<string, string>(), wrap: new Map<string, string>() };

  constructor(context: TokenSession) {
    this.#context = context;
    this.#side = new SoftwareSide(context);
  }

  /** The first of the numbers that wraps by RFC 5649, under a key that is agreed in this way. */
  wrapBy(how: HowToAgree, numbers: readonly number[]): number | undefined {
    const { cryptoki, session } = this.#context;
    const agreed = this.#attempt('agreement', `${how.kdf} ${how.pointEncoding}`, () =>
      // The first wraps, and the second is wrapped.
      [[CKA.EXTRACTABLE, false] as const, [CKA.EXTRACTABLE, true] as const].map((extractable) => {
        const key = this.#side.derive(how, [[CKA.SENSITIVE, true], extractable, [CKA.WRAP, true]]);
        this.#made.push(key.handle);
        return key;
      }),
    );
    if (agreed === undefined) return undefined;
    const [wrapping, secret] = agreed as [(typeof agreed)[0], (typeof agreed)[0]];
    const expected = wrapped(wrapping.value, secret.value);
    return numbers.find((type) => {
      const name = `0x${type.toString(16)}`;
      const blob = this.#attempt('wrap', name, () =>
        cryptoki.wrapKey(session, mechanism(type), wrapping.handle, secret.handle),
      );
      if (blob === undefined) return false;
      const isSame = bytesEqual(blob, expected);
      if (!isSame) this.#refusals.wrap.set(name, 'another format');
      return isSame;
    });
  }

  /** A token that agrees, and wraps nothing rightly, lacks RFC 5649; any other lacks the agreement. */
  failure(): AntipodeError {
    const { agreement, wrap } = this.#refusals;
    const [what, answers] =
      wrap.size > 0 ? ['wrap according to RFC 5649', wrap] : ['agree on keys by ECDH on P-256', agreement];
    const said = [...answers].map(([name, answer]) => `${name}: ${answer}`).join(', ');
    return new AntipodeError('MECHANISM_MISSING', `the token does not ${what} (${said})`, {
      details: { mechanism: wrap.size > 0 ? 'RFC 5649' : 'ECDH' },
    });
  }

  end(): void {
    this.#side.end();
    for (const handle of this.#made) this.#context.cryptoki.destroy(this.#context.session, handle);
  }

  #attempt<T>(what: 'agreement' | 'wrap', name: string, work: () => T): T | undefined {
    try {
      return work();
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      this.#refusals[what].set(name, thrown.returnValue);
      return undefined;
    }
  }
}

/**
 * Everything that sealing needs and the token does not do, so that one letter to the vendor is enough. Tried one by
 * one, for a token that has failed: one that works is not asked.
 */
export function lacksOf({ cryptoki, session }: TokenSession, settings: MechanismSettings = {}): string[] {
  const lacks: string[] = [];
  const made: bigint[] = [];
  const attempt = <T>(what: string, work: () => T): T | undefined => {
    try {
      return work();
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure) && !hasCode(thrown, 'MECHANISM_MISSING')) throw thrown;
      const reason = thrown instanceof CryptokiFailure ? thrown.returnValue : 'another format';
      lacks.push(`${what} (${reason})`);
      return undefined;
    }
  };
  const sessionOnly = [CKA.TOKEN, false] as const;
  try {
    const aes = attempt('AES-256 key generation', () =>
      cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
        [CKA.VALUE_LEN, 32],
        sessionOnly,
        [CKA.EXTRACTABLE, true],
        [CKA.WRAP, true],
      ]),
    );
    if (aes !== undefined) made.push(aes);
    const missing = missingOf({ cryptoki, session }, settings);
    // Without an agreement no blob can be compared: then it counts that the token wraps at all.
    if (missing === 'RFC 5649') lacks.push(`${RFC_5649} (another format)`);
    else if (missing === 'ECDH' && aes !== undefined)
      attempt(RFC_5649, () => wrapByAny({ cryptoki, session }, aes, settings));
    else if (missing === 'ECDH') lacks.push(`${RFC_5649} (no key)`);
    const pair = attempt('EC key generation on P-256', () =>
      cryptoki.generateKeyPair(
        session,
        mechanism(CKM.EC_KEY_PAIR_GEN),
        [sessionOnly, [CKA.EC_PARAMS, P256_PARAMS]],
        [sessionOnly, [CKA.SIGN, true], [CKA.DERIVE, true]],
      ),
    );
    if (pair === undefined) return [...lacks, 'ECDSA on P-256 (no key)', 'ECDH on P-256 (no key)'];
    made.push(pair.publicKey, pair.privateKey);
    attempt('ECDSA on P-256', () => cryptoki.sign(session, mechanism(CKM.ECDSA), pair.privateKey, randomBytes(32)));
    if (missing === 'ECDH') lacks.push('ECDH on P-256 (by no key derivation function)');
    return lacks;
  } finally {
    for (const handle of made) cryptoki.destroy(session, handle);
  }
}

const RFC_5649 = 'AES key wrap with padding (RFC 5649)';

function missingOf(context: TokenSession, settings: MechanismSettings): 'RFC 5649' | 'ECDH' | undefined {
  try {
    findMechanisms(context, settings);
    return undefined;
  } catch (thrown) {
    if (hasCode(thrown, 'MECHANISM_MISSING')) return thrown.details['mechanism'] === 'RFC 5649' ? 'RFC 5649' : 'ECDH';
    // No pair, or one without a point: then there is no agreement either.
    if (thrown instanceof CryptokiFailure || hasCode(thrown, 'HSM_REFUSED')) return 'ECDH';
    throw thrown;
  }
}

/** @throws CryptokiFailure where the token wraps the key by none of the numbers */
function wrapByAny({ cryptoki, session }: TokenSession, key: bigint, settings: MechanismSettings): void {
  let refusal: unknown;
  for (const type of wrapNumbers(settings))
    try {
      cryptoki.wrapKey(session, mechanism(type), key, key);
      return;
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      refusal ??= thrown;
    }
  throw refusal;
}

/** For a token that could not be opened: the error that names all that it lacks, or the one that there was. */
export function namingLacks(
  error: AntipodeError,
  context: TokenSession,
  settings: MechanismSettings = {},
): AntipodeError {
  if (!['MECHANISM_MISSING', 'HSM_REFUSED', 'PROTECTION_UNENFORCED'].includes(error.code)) return error;
  const lacks = lacksOf(context, settings);
  if (lacks.length === 0) return error;
  return new AntipodeError('MECHANISM_MISSING', `the token lacks what sealing needs: ${lacks.join('; ')}`, {
    details: { lacks: lacks.length, mechanism: lacks.join('; ') },
    cause: error,
  });
}
