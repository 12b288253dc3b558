/**
 * Finds out by trying which protections of a key a token keeps, with throw-away session keys that protect nothing. What it
 * merely accepts counts as not kept: NSS softokn stores an unwrap template as an opaque value and never looks at it, and
 * wraps keys that are not extractable.
 */
import { randomBytes } from 'node:crypto';
import { ATTRIBUTES } from '../model/attributes.ts';
import { generator } from '../model/ecdsa-recovery.ts';
import { CURVES } from '../model/public-half.ts';
import { PROTECTIONS, type Protection } from '../provider.ts';
import { CKA, CKD_NULL, CKK, CKM, CKO, P256_PARAMS } from './constants.ts';
import { type Cryptoki, type Mechanism, mechanism, structure, type Template, ulong } from './cryptoki.ts';
import { CryptokiFailure } from './return-values.ts';

const type = (name: keyof typeof ATTRIBUTES): number => ATTRIBUTES[name].type;

/** The protections that this token does not keep, in the order of {@link PROTECTIONS}. */
export function findUnenforced(cryptoki: Cryptoki, session: bigint, keyWrap: Mechanism): Protection[] {
  const trial = new Trial(cryptoki, session, keyWrap);
  try {
    return PROTECTIONS.filter((protection) => trial.gets(BREACHES[protection]));
  } finally {
    trial.end();
  }
}

/** What each protection forbids, tried on a key that has it. Ends without an error where the token lets it happen. */
const BREACHES: Record<Protection, (trial: Trial) => void> = {
  sensitive: (trial) => {
    const key = trial.key([[type('sensitive'), true]]);
    if (trial.isReadable(key)) return;
    if (!trial.isReadable(trial.copy(key, [[type('sensitive'), false]]))) throw new Kept();
  },
  extractable: (trial) => {
    const key = trial.key([[type('extractable'), false]]);
    if (trial.gets(() => trial.wrap(key))) return;
    trial.wrap(trial.copy(key, [[type('extractable'), true]]));
  },
  decrypt: (trial) => trial.decrypt(trial.key([[type('decrypt'), false]])),
  derive: (trial) => {
    // With nothing to derive by, there is nothing to forbid.
    if (trial.gets(() => trial.derive(trial.key([[type('derive'), true]]))))
      if (trial.gets(() => trial.derive(trial.key([[type('derive'), false]])))) return;
    trial.agree(trial.agreementKey([[type('derive'), false]]));
  },
  modifiable: (trial) => {
    const key = trial.key([
      [type('decrypt'), false],
      [type('modifiable'), false],
    ]);
    trial.set(key, [[type('decrypt'), true]]);
    trial.decrypt(key);
  },
  copyable: (trial) => {
    const key = trial.key([
      [type('decrypt'), false],
      [type('copyable'), false],
      [type('modifiable'), false],
    ]);
    trial.decrypt(trial.copy(key, [[type('decrypt'), true]]));
  },
  'allowed-mechanisms': (trial) =>
    trial.decrypt(
      trial.key([
        [type('decrypt'), true],
        [type('allowedMechanisms'), ulong(trial.keyWrap.type)],
      ]),
    ),
  'unwrap-template': (trial) => {
    const key = trial.key([[CKA.UNWRAP_TEMPLATE, [[type('sensitive'), true]]]]);
    if (!trial.isReadable(trial.unwrapReadable(key))) throw new Kept();
  },
};

/** The breach went through in form, and gained nothing. */
class Kept extends Error {}

/** The token makes no key with that protection, or has nothing to use it with: then it does not protect. */
class Untried extends Error {}

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

class Trial {
  readonly keyWrap: Mechanism;
  readonly #cryptoki: Cryptoki;
  readonly #session: bigint;
  readonly #made: bigint[] = [];
  readonly #wrapping: bigint;
  readonly #cipher: Mechanism | undefined;

  constructor(cryptoki: Cryptoki, session: bigint, keyWrap: Mechanism) {
    this.keyWrap = keyWrap;
    this.#cryptoki = cryptoki;
    this.#session = session;
    this.#wrapping = this.key([]);
    this.#cipher = this.#findCipher();
  }

  /** Whether the token lets it happen. */
  gets(breach: (trial: Trial) => void): boolean {
    try {
      breach(this);
      return true;
    } catch (thrown) {
      if (thrown instanceof Untried) return true;
      if (thrown instanceof Kept || thrown instanceof CryptokiFailure) return false;
      throw thrown;
    }
  }

  /** A key that may do everything, but for what `protection` says. CKA_MODIFIABLE comes last (facts: pkcs11, 9.3). */
  key(protection: Template): bigint {
    const everything: Template = (['sensitive', 'extractable', 'wrap', 'unwrap'] as const).map(
      (name) => [type(name), true] as const,
    );
    const given = new Set(protection.map(([attribute]) => attribute));
    try {
      return this.#keep(
        this.#cryptoki.create(this.#session, [
          ...AES_SESSION_KEY,
          ...everything.filter(([attribute]) => !given.has(attribute)),
          [CKA.VALUE, randomBytes(32)],
          ...protection,
        ]),
      );
    } catch (thrown) {
      throw thrown instanceof CryptokiFailure ? new Untried() : thrown;
    }
  }

  copy(key: bigint, changes: Template): bigint {
    return this.#keep(this.#cryptoki.copy(this.#session, key, [[CKA.TOKEN, false], ...changes]));
  }

  set(key: bigint, changes: Template): void {
    this.#cryptoki.setAttributes(this.#session, key, changes);
  }

  wrap(key: bigint): Uint8Array {
    return this.#cryptoki.wrapKey(this.#session, this.keyWrap, this.#wrapping, key);
  }

  /** Decrypts a block by a mechanism that works with a key that may. Without one nothing can be shown to be kept. */
  decrypt(key: bigint): void {
    if (this.#cipher === undefined) throw new Untried();
    this.#cryptoki.decrypt(this.#session, this.#cipher, key, BLOCK);
  }

  derive(key: bigint): void {
    const how = structure(CKM.AES_ECB_ENCRYPT_DATA, [{ pointer: BLOCK }, BLOCK.length]);
    this.#keep(this.#cryptoki.deriveKey(this.#session, how, key, [...SECRET, [CKA.VALUE_LEN, BLOCK.length]]));
  }

  agreementKey(protection: Template): bigint {
    const { publicKey, privateKey } = this.#cryptoki.generateKeyPair(
      this.#session,
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.EC_PARAMS, P256_PARAMS],
      ],
      [[CKA.TOKEN, false], [type('private'), true], [type('sign'), true], ...protection],
    );
    this.#keep(publicKey);
    return this.#keep(privateKey);
  }

  agree(key: bigint): void {
    const point = generator(CURVES[0]!);
    const how = structure(CKM.ECDH1_DERIVE, [CKD_NULL, 0, 0, point.length, { pointer: point }]);
    this.#keep(this.#cryptoki.deriveKey(this.#session, how, key, [...SECRET, [CKA.VALUE_LEN, 32]]));
  }

  #findCipher(): Mechanism | undefined {
    const key = this.key([[type('decrypt'), true]]);
    return [mechanism(CKM.AES_ECB), mechanism(CKM.AES_CBC, BLOCK)].find((how) => {
      try {
        return this.#cryptoki.decrypt(this.#session, how, key, BLOCK).length > 0;
      } catch (thrown) {
        if (thrown instanceof CryptokiFailure) return false;
        throw thrown;
      }
    });
  }

  unwrapReadable(under: bigint): bigint {
    const blob = this.#cryptoki.wrapKey(this.#session, this.keyWrap, under, this.#wrapping);
    const template: Template = [...AES_SESSION_KEY, [type('sensitive'), false], [type('extractable'), true]];
    return this.#keep(this.#cryptoki.unwrapKey(this.#session, this.keyWrap, under, blob, template));
  }

  isReadable(key: bigint): boolean {
    return (this.#cryptoki.attributes(this.#session, key, [CKA.VALUE])?.get(CKA.VALUE)?.length ?? 0) > 0;
  }

  end(): void {
    for (const handle of this.#made) this.#cryptoki.tryCall('C_DestroyObject', this.#session, handle);
  }

  #keep(handle: bigint): bigint {
    this.#made.push(handle);
    return handle;
  }
}
