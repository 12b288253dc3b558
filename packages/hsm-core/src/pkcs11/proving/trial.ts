/**
 * Throw-away session keys that protect nothing, and what an attacker with the PIN would try on them. Keys are made in
 * every way in which our own keys are made: a token may keep a protection of a generated key and drop it from an
 * unwrapped one (opencryptoki 3.27 does).
 */
import {
  CKA,
  CKK,
  CKM,
  CKO,
  type Cryptoki,
  CryptokiFailure,
  derivationFrom,
  type Mechanism,
  mechanism,
  P256_PARAMS,
  type Template,
} from '@antipode/cryptoki';
import { CURVES } from '../../model/curve.ts';
import { type Agreement, agreeingWith, localKdf } from '../agreement.ts';
import { unwrapNarrowed } from '../own-keys/narrowing.ts';
import type { TokenSession, WrappingSession } from '../token-session.ts';

/** The ways in which keys of our own come to be. */
export const WAYS = ['generate', 'derive', 'unwrap'] as const;
export type Way = (typeof WAYS)[number];

/** The breach went through in form, and gained nothing. */
export class Kept extends Error {}

/** The token makes no key with that protection, or has nothing to use it with: then it does not protect. */
export class Untried extends Error {}

const BLOCK = new Uint8Array(16);

const SECRET: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.TOKEN, false],
];

const AES_SESSION_KEY: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.AES],
  [CKA.TOKEN, false],
];

const EVERYTHING: Template = [CKA.PRIVATE, CKA.SENSITIVE, CKA.EXTRACTABLE, CKA.WRAP, CKA.UNWRAP].map(
  (type) => [type, true] as const,
);

const POINT = CURVES[0]!.generator;

export class Trial {
  readonly keyWrap: Mechanism;
  readonly #agreement: Agreement;
  readonly #cryptoki: Cryptoki;
  readonly #session: bigint;
  readonly #made: bigint[] = [];
  readonly #wrapping: bigint;
  readonly #cipher: Mechanism | undefined;

  constructor({ cryptoki, session, keyWrap, agreement }: WrappingSession) {
    this.keyWrap = keyWrap;
    this.#agreement = agreement;
    this.#cryptoki = cryptoki;
    this.#session = session;
    this.#wrapping = this.key([]);
    this.#cipher = this.#findCipher();
  }

  /** Whether the token lets it happen. */
  gets(breach: () => void): boolean {
    try {
      breach();
      return true;
    } catch (thrown) {
      if (thrown instanceof Untried) return true;
      if (thrown instanceof Kept || thrown instanceof CryptokiFailure) return false;
      throw thrown;
    }
  }

  /** Whether the token makes keys in this way at all. */
  makes(way: Way | 'pair'): boolean {
    try {
      if (way === 'pair') this.agreementKey([]);
      else this.key([], way);
      return true;
    } catch (thrown) {
      if (thrown instanceof Untried) return false;
      throw thrown;
    }
  }

  /** A key that may do everything, but for what `protection` says. @throws Untried where the token makes none */
  key(protection: Template, way: Way = 'generate'): bigint {
    return tried(() => this.#make(way, protection));
  }

  /** CKA_MODIFIABLE comes last in `protection` (facts: pkcs11, 9.3). */
  #make(way: Way, protection: Template): bigint {
    const [cryptoki, session] = [this.#cryptoki, this.#session];
    const given = new Set(protection.map(([attribute]) => attribute));
    const rest = [...EVERYTHING.filter(([attribute]) => !given.has(attribute)), ...protection];
    switch (way) {
      case 'generate':
        return this.#keep(
          cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [[CKA.VALUE_LEN, 32], [CKA.TOKEN, false], ...rest]),
        );
      case 'derive': {
        const base = this.agreementKey([[CKA.DERIVE, true]]);
        const template: Template = [...AES_SESSION_KEY, [CKA.VALUE_LEN, 32], ...rest];
        return this.#keep(cryptoki.deriveKey(session, this.#agreeing(), base, template));
      }
      case 'unwrap': {
        const blob = cryptoki.wrapKey(session, this.keyWrap, this.#wrapping, this.#wrapping);
        const template: Template = [...AES_SESSION_KEY, ...rest];
        const how = { mechanism: this.keyWrap, under: this.#wrapping, blob };
        return this.#keep(unwrapNarrowed({ cryptoki, session }, how, template));
      }
    }
  }

  /** A private EC key. @throws Untried where the token makes none */
  agreementKey(protection: Template): bigint {
    return tried(() => {
      const { publicKey, privateKey } = this.#cryptoki.generateKeyPair(
        this.#session,
        mechanism(CKM.EC_KEY_PAIR_GEN),
        [
          [CKA.TOKEN, false],
          [CKA.EC_PARAMS, P256_PARAMS],
        ],
        [[CKA.TOKEN, false], [CKA.PRIVATE, true], [CKA.SIGN, true], ...protection],
      );
      this.#keep(publicKey);
      return this.#keep(privateKey);
    });
  }

  copy(key: bigint, changes: Template): bigint {
    return this.#keep(this.#cryptoki.copy(this.#session, key, [[CKA.TOKEN, false], ...changes]));
  }

  set(key: bigint, changes: Template): void {
    this.#cryptoki.setAttributes(this.#session, key, changes);
  }

  wrap(key: bigint): void {
    this.#cryptoki.wrapKey(this.#session, this.keyWrap, this.#wrapping, key);
  }

  /** Decrypts a block by a mechanism that works with a key that may. Without one nothing can be shown to be kept. */
  decrypt(key: bigint): void {
    if (this.#cipher === undefined) throw new Untried();
    this.#cryptoki.decrypt(this.#session, this.#cipher, key, BLOCK);
  }

  derive(key: bigint): void {
    const how = derivationFrom(CKM.AES_ECB_ENCRYPT_DATA, BLOCK);
    this.#keep(this.#cryptoki.deriveKey(this.#session, how, key, [...SECRET, [CKA.VALUE_LEN, BLOCK.length]]));
  }

  agree(key: bigint): void {
    this.#keep(this.#cryptoki.deriveKey(this.#session, this.#agreeing(), key, [...SECRET, [CKA.VALUE_LEN, 32]]));
  }

  /** A key that can be read, unwrapped by `under`. */
  unwrapReadable(under: bigint): bigint {
    const blob = this.#cryptoki.wrapKey(this.#session, this.keyWrap, under, this.#wrapping);
    const template: Template = [...AES_SESSION_KEY, [CKA.SENSITIVE, false], [CKA.EXTRACTABLE, true]];
    return this.#keep(this.#cryptoki.unwrapKey(this.#session, this.keyWrap, under, blob, template));
  }

  isReadable(key: bigint): boolean {
    return (this.#cryptoki.attributes(this.#session, key, [CKA.VALUE])?.get(CKA.VALUE)?.length ?? 0) > 0;
  }

  end(): void {
    for (const handle of this.#made) this.#cryptoki.tryCall('C_DestroyObject', this.#session, handle);
  }

  #findCipher(): Mechanism | undefined {
    const key = this.key([[CKA.DECRYPT, true]]);
    return [mechanism(CKM.AES_ECB), mechanism(CKM.AES_CBC, BLOCK)].find((how) => {
      try {
        return this.#cryptoki.decrypt(this.#session, how, key, BLOCK).length > 0;
      } catch (thrown) {
        if (thrown instanceof CryptokiFailure) return false;
        throw thrown;
      }
    });
  }

  #agreeing(): Mechanism {
    return agreeingWith(POINT, localKdf(this.#agreement), this.#agreement);
  }

  #keep(handle: bigint): bigint {
    this.#made.push(handle);
    return handle;
  }
}

/** Whether the token says of the key that it has one of these booleans. */
export function showsAny({ cryptoki, session }: TokenSession, key: bigint, template: Template): boolean {
  if (template.length === 0) return false;
  const types = template.map(([attribute]) => attribute);
  const seen = cryptoki.attributes(session, key, types);
  return template.some(([attribute, value]) => seen?.get(attribute)?.[0] === Number(value));
}

function tried<T>(make: () => T): T {
  try {
    return make();
  } catch (thrown) {
    throw thrown instanceof CryptokiFailure ? new Untried() : thrown;
  }
}
