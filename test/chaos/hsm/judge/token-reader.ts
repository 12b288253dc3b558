/**
 * Looks into a token as an application would, by a library instance of its own that is started afresh for every look: what
 * is there, and what using it gives. The part of the test that must not share code or memory with what is tested; only the
 * binding of Cryptoki is the same.
 */
import { createHash, type KeyObject, verify } from 'node:crypto';
import {
  CKA,
  CKD,
  CKF_OS_LOCKING_OK,
  CKK,
  CKM,
  CKO,
  type Cryptoki,
  CryptokiFailure,
  loadCryptoki,
  mechanism,
  structure,
  type Template,
} from '@antipode/cryptoki';
import { SOFTHSM_MODULE, USER_PIN } from '../../../support/tokens.ts';
import { ecPublicKey } from '../objects/ec-point.ts';
import {
  BLOCK,
  DERIVE,
  digest,
  ENCRYPT,
  EXTRACTABLE,
  ID,
  LABEL,
  SENSITIVE,
  SIGN,
  spki,
  WRAP,
  WRAPPED,
} from '../objects/known-objects.ts';

/** One object as it is now. */
export interface Seen {
  readonly objectClass: number;
  readonly keyType: number | undefined;
  /** Label and ID, for people and for nothing else. */
  readonly name: string;
  /** The result of using it; absent if it cannot be used. Two objects of one class with one fingerprint have one value. */
  readonly fingerprint: string | undefined;
  /** Of everything that moves with an object: names, flags, policy. */
  readonly form: string;
  /** Of everything that the token tells. */
  readonly raw: string;
}

/** The description of a token by lane and fixture. */
export interface TokenPlace {
  readonly label: string;
  readonly configFile: string;
}

const FORM = [
  0x002,
  LABEL,
  0x010,
  0x080,
  0x101,
  ID,
  0x103,
  0x104,
  0x105,
  0x106,
  0x107,
  0x108,
  0x109,
  0x10a,
  0x10b,
  0x10c,
  0x162,
  0x170,
  0x171,
  0x172,
];
/** And what stays behind: value, check value, dates, length, history, curve, point, always-authenticate, trust, mechanisms. */
const REST = [
  0x011, 0x090, 0x110, 0x111, 0x120, 0x122, 0x161, 0x163, 0x164, 0x165, 0x166, 0x180, 0x181, 0x202, 0x210, 0x40000600,
];
const KEY_WRAP_PAD = mechanism(CKM.AES_KEY_WRAP_PAD);
const THROW_AWAY: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.TOKEN, false],
  [SENSITIVE, false],
  [EXTRACTABLE, true],
];
/** A point of P-256 with a private half that all know: the generator. */
const GENERATOR = Buffer.from(
  '046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5',
  'hex',
);

export class TokenReader {
  /** Loaded with the first token, since the module reads a configuration then. */
  #cryptoki: Cryptoki | undefined;

  /** Everything in the token. `publicKeys` are those that signatures may turn out to be of, beside those in the token. */
  read(place: TokenPlace, publicKeys: readonly KeyObject[]): Seen[] {
    return this.#within(place, (cryptoki, session) => {
      const handles = cryptoki.find(session, [[CKA.TOKEN, true]]);
      const all = handles.map((handle) => ({ handle, attributes: attributesOf(cryptoki, session, handle) }));
      const points = all.flatMap(({ attributes }) => attributes.get(CKA.EC_POINT) ?? []);
      const known = [...publicKeys, ...points.flatMap((point) => ecPublicKey(point) ?? [])];
      return all.map(({ handle, attributes }) => {
        const objectClass = number(attributes.get(CKA.CLASS)) ?? -1;
        const keyType = number(attributes.get(CKA.KEY_TYPE));
        const name = `"${attributes.get(LABEL)?.toString() ?? ''}" ${attributes.get(ID)?.toString('hex') ?? ''}`.trim();
        const fingerprint = new Use({ cryptoki, session, handle, attributes, known }).fingerprint();
        const form = digest(listed(attributes, FORM));
        const raw = digest(listed(attributes, [CKA.CLASS, CKA.KEY_TYPE, ...FORM, ...REST]));
        return { objectClass, keyType, name, fingerprint, form, raw };
      });
    });
  }

  /** Works on the token as an application that has the PIN. */
  change<T>(place: TokenPlace, work: (cryptoki: Cryptoki, session: bigint) => T): T {
    return this.#within(place, work);
  }

  #within<T>({ label, configFile }: TokenPlace, work: (cryptoki: Cryptoki, session: bigint) => T): T {
    // The module reads its environment with getenv, which process.env reaches.
    process.env['SOFTHSM2_CONF'] = configFile;
    const cryptoki = this.#initialised();
    try {
      const slot = cryptoki.slots().find((one) => cryptoki.tokenInfo(one).label === label);
      if (slot === undefined) throw new Error(`the token ${label} is gone`);
      const session = cryptoki.openSession(slot);
      cryptoki.login(session, Buffer.from(USER_PIN));
      return work(cryptoki, session);
    } finally {
      cryptoki.finalize();
      delete process.env['SOFTHSM2_CONF'];
    }
  }

  /** The module forgets what it has seen when it is finalised. */
  #initialised(): Cryptoki {
    if (this.#cryptoki === undefined) {
      this.#cryptoki = loadCryptoki(SOFTHSM_MODULE);
      return this.#cryptoki;
    }
    const initialise = Buffer.alloc(48);
    initialise.writeBigUInt64LE(BigInt(CKF_OS_LOCKING_OK), 32);
    this.#cryptoki.call('C_Initialize', initialise);
    return this.#cryptoki;
  }
}

/** A half key may lack any of them. */
function attributesOf(cryptoki: Cryptoki, session: bigint, handle: bigint): Map<number, Buffer> {
  try {
    const types = [CKA.CLASS, CKA.KEY_TYPE, ...FORM, ...REST];
    return cryptoki.attributes(session, handle, types) ?? new Map();
  } catch (thrown) {
    if (!(thrown instanceof CryptokiFailure)) throw thrown;
    return new Map();
  }
}

/** One object, tried by the first use that its flags allow. */
class Use {
  readonly #cryptoki: Cryptoki;
  readonly #session: bigint;
  readonly #handle: bigint;
  readonly #attributes: ReadonlyMap<number, Buffer>;
  readonly #known: readonly KeyObject[];

  constructor(options: {
    cryptoki: Cryptoki;
    session: bigint;
    handle: bigint;
    attributes: ReadonlyMap<number, Buffer>;
    known: readonly KeyObject[];
  }) {
    this.#cryptoki = options.cryptoki;
    this.#session = options.session;
    this.#handle = options.handle;
    this.#attributes = options.attributes;
    this.#known = options.known;
  }

  fingerprint(): string | undefined {
    try {
      switch (number(this.#attributes.get(CKA.CLASS))) {
        case CKO.DATA:
          return this.#value('data', this.#attributes.get(CKA.VALUE));
        case CKO.CERTIFICATE:
          return this.#value('certificate', this.#attributes.get(CKA.VALUE));
        case CKO.PUBLIC_KEY:
          return this.#value('public', this.#attributes.get(CKA.EC_POINT) ?? this.#attributes.get(CKA.MODULUS));
        case CKO.PRIVATE_KEY:
          return number(this.#attributes.get(CKA.KEY_TYPE)) === CKK.RSA ? this.#rsa() : this.#ec();
        case CKO.SECRET_KEY:
          return number(this.#attributes.get(CKA.KEY_TYPE)) === CKK.AES ? this.#aes() : this.#mac();
        default:
          return undefined;
      }
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      return undefined;
    }
  }

  #value(kind: string, value: Buffer | undefined): string | undefined {
    return value === undefined || value.length === 0 ? undefined : `${kind} ${digest(value)}`;
  }

  #aes(): string | undefined {
    const [cryptoki, session, handle] = [this.#cryptoki, this.#session, this.#handle];
    if (this.#may(ENCRYPT))
      return `encrypt ${digest(cryptoki.encrypt(session, mechanism(CKM.AES_ECB), handle, BLOCK))}`;
    if (!this.#may(WRAP)) return undefined;
    const throwAway = cryptoki.create(session, [...THROW_AWAY, [CKA.VALUE, WRAPPED]]);
    try {
      return `wrap ${digest(cryptoki.wrapKey(session, KEY_WRAP_PAD, handle, throwAway))}`;
    } finally {
      cryptoki.destroy(session, throwAway);
    }
  }

  #mac(): string | undefined {
    if (!this.#may(SIGN)) return undefined;
    return `mac ${digest(this.#cryptoki.sign(this.#session, mechanism(CKM.SHA256_HMAC), this.#handle, BLOCK))}`;
  }

  #rsa(): string | undefined {
    if (!this.#may(SIGN)) return undefined;
    return `rsa ${digest(this.#cryptoki.sign(this.#session, mechanism(CKM.SHA256_RSA_PKCS), this.#handle, BLOCK))}`;
  }

  #ec(): string | undefined {
    const [cryptoki, session, handle] = [this.#cryptoki, this.#session, this.#handle];
    // SoftHSM 2.6.1 crashes where it is to agree with a half key, which has no curve.
    if (!this.#attributes.get(CKA.EC_PARAMS)?.length) return undefined;
    if (this.#may(SIGN)) {
      const hashed = createHash('sha256').update(BLOCK).digest();
      const signature = cryptoki.sign(session, mechanism(CKM.ECDSA), handle, hashed);
      const signer = this.#known.find((key) => verify('sha256', BLOCK, { key, dsaEncoding: 'ieee-p1363' }, signature));
      return signer === undefined ? undefined : `ecdsa ${digest(spki(signer))}`;
    }
    if (!this.#may(DERIVE)) return undefined;
    const how = structure(CKM.ECDH1_DERIVE, [CKD.NULL, 0, 0, GENERATOR.length, { pointer: GENERATOR }]);
    const agreed = cryptoki.deriveKey(session, how, handle, [...THROW_AWAY, [CKA.VALUE_LEN, 32]]);
    try {
      return this.#value('ecdh', cryptoki.attributes(session, agreed, [CKA.VALUE])?.get(CKA.VALUE));
    } finally {
      cryptoki.destroy(session, agreed);
    }
  }

  #may(flag: number): boolean {
    return this.#attributes.get(flag)?.[0] === 1;
  }
}

const number = (value: Buffer | undefined): number | undefined =>
  value?.length === 8 ? Number(value.readBigUInt64LE()) : undefined;

const listed = (attributes: ReadonlyMap<number, Buffer>, types: readonly number[]): string =>
  types.map((type) => `${type.toString(16)}=${attributes.get(type)?.toString('hex') ?? ''}`).join('\n');
