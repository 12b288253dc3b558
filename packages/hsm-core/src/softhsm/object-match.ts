/**
 * Which file holds the object of a handle. SoftHSM does not say. So an object gets a print, over every attribute that it
 * shows, and a file gets one over the same attributes as they are stored. Labels and ids alone would not do: programs
 * repeat them.
 *
 * The value distinguishes objects of equal prints: SoftHSM finds objects by it, even those that it shows to nobody. Two
 * objects of one value too are the same object twice, and either file stands for either handle.
 */
import { createHash } from 'node:crypto';
import { AttributeReader, CKA, CKO, type Cryptoki, ulong, type WantedAttribute } from '@antipode/cryptoki';
import type { Handle } from '../model/object.ts';
import type { StoredAttributes, StoredValue } from './object-file.ts';
import type { TokenKey } from './token-key.ts';

/**
 * What SoftHSM shows of objects. Dates are left out: it fails to show those of private objects. So are templates, which
 * it shows in another form.
 */
const SHOWN: readonly WantedAttribute[] = [
  ...[
    CKA.CLASS,
    CKA.TOKEN,
    CKA.PRIVATE,
    CKA.CERTIFICATE_TYPE,
    CKA.TRUSTED,
    CKA.CERTIFICATE_CATEGORY,
    CKA.KEY_TYPE,
    CKA.SENSITIVE,
    CKA.ENCRYPT,
    CKA.DECRYPT,
    CKA.WRAP,
    CKA.UNWRAP,
    CKA.SIGN,
    CKA.SIGN_RECOVER,
    CKA.VERIFY,
    CKA.VERIFY_RECOVER,
    CKA.DERIVE,
    CKA.MODULUS_BITS,
    CKA.VALUE_LEN,
    CKA.EXTRACTABLE,
    CKA.LOCAL,
    CKA.NEVER_EXTRACTABLE,
    CKA.ALWAYS_SENSITIVE,
    CKA.KEY_GEN_MECHANISM,
    CKA.MODIFIABLE,
    CKA.COPYABLE,
    CKA.DESTROYABLE,
    CKA.ALWAYS_AUTHENTICATE,
    CKA.WRAP_WITH_TRUSTED,
  ].map((type) => ({ type, size: 'fixed' }) as const),
  ...[
    CKA.LABEL,
    CKA.APPLICATION,
    CKA.OBJECT_ID,
    CKA.ISSUER,
    CKA.SERIAL_NUMBER,
    CKA.CHECK_VALUE,
    CKA.SUBJECT,
    CKA.ID,
    CKA.MODULUS,
    CKA.PUBLIC_EXPONENT,
    CKA.PRIME,
    CKA.SUBPRIME,
    CKA.BASE,
    CKA.EC_PARAMS,
    CKA.EC_POINT,
    CKA.ALLOWED_MECHANISMS,
  ].map((type) => ({ type, size: 'variable' }) as const),
];

const VARIABLE = SHOWN.filter(({ size }) => size === 'variable').map(({ type }) => type);

/** The value of any other class is not the secret of a key. */
const KEYS: ReadonlySet<number> = new Set([CKO.SECRET_KEY, CKO.PRIVATE_KEY]);

export class ObjectMatch {
  readonly #cryptoki: Cryptoki;
  readonly #session: bigint;
  readonly #shown: AttributeReader;
  readonly #value: AttributeReader;

  constructor({ cryptoki, session }: { cryptoki: Cryptoki; session: bigint }) {
    [this.#cryptoki, this.#session] = [cryptoki, session];
    this.#shown = new AttributeReader({ cryptoki, session, wanted: SHOWN });
    this.#value = new AttributeReader({ cryptoki, session, wanted: [{ type: CKA.VALUE, size: 'variable' }] });
  }

  /** Undefined where the object is gone. */
  printOf(handle: Handle): string | undefined {
    if (!this.#shown.read(handle)) return undefined;
    // Asking for more room costs a call: only where a value was left out that this class of object has.
    if (!this.#shown.complete(handle, this.#longOnes())) return undefined;
    const shown = SHOWN.map(({ type }) => [type, this.#shown.value(type)] as const);
    const objectClass = Number(shown[0]![1]?.readBigUInt64LE() ?? -1n);
    if (KEYS.has(objectClass)) return printed(shown);
    if (!this.#value.read(handle) || !this.#value.complete(handle, [CKA.VALUE])) return undefined;
    return printed([...shown, [CKA.VALUE, this.#value.value(CKA.VALUE)]]);
  }

  /** Undefined where a byte string is not what the token key has encrypted. */
  printOfFile(attributes: StoredAttributes, key: TokenKey): string | undefined {
    const isPrivate = isPrivateObject(attributes);
    const wanted = [...SHOWN.map(({ type }) => type), ...(KEYS.has(classOf(attributes)) ? [] : [CKA.VALUE])];
    const values: (readonly [number, Buffer | undefined])[] = [];
    for (const type of wanted) {
      const stored = attributes.get(type);
      const shown = stored && nativeBytes(stored, isPrivate ? key : undefined);
      if (stored !== undefined && shown === undefined) return undefined;
      values.push([type, shown]);
    }
    return printed(values);
  }

  /** Of these handles, whose prints are equal, those that have the value of the file. */
  withValueOf(attributes: StoredAttributes, key: TokenKey, handles: readonly Handle[]): Handle[] {
    const stored = attributes.get(CKA.VALUE);
    if (stored?.kind !== 'bytes' || stored.value.length === 0) return [...handles];
    const value = isPrivateObject(attributes) ? key.decrypt(stored.value) : Buffer.from(stored.value);
    if (value === undefined) return [];
    try {
      const found = new Set(
        this.#cryptoki.find(this.#session, [
          [CKA.CLASS, classOf(attributes)],
          [CKA.TOKEN, true],
          [CKA.VALUE, value],
        ]),
      );
      return handles.filter((handle) => found.has(handle));
    } finally {
      value.fill(0);
    }
  }

  #longOnes(): number[] {
    return VARIABLE.filter((type) => this.#shown.value(type) === undefined);
  }
}

export function classOf(attributes: StoredAttributes): number {
  const stored = attributes.get(CKA.CLASS);
  return stored?.kind === 'number' ? Number(stored.value) : -1;
}

export const isKeyFile = (attributes: StoredAttributes): boolean => KEYS.has(classOf(attributes));

export function isPrivateObject(attributes: StoredAttributes): boolean {
  const stored = attributes.get(CKA.PRIVATE);
  // SoftHSM assumes so where the file does not say.
  return stored?.kind !== 'boolean' || stored.value;
}

/** A value as PKCS#11 shows it; `key` where byte strings of the object are encrypted. */
export function nativeBytes(stored: StoredValue, key: TokenKey | undefined): Buffer | undefined {
  switch (stored.kind) {
    case 'boolean':
      return Buffer.of(stored.value ? 1 : 0);
    case 'number':
      return ulong(stored.value);
    case 'mechanisms':
      return Buffer.concat([...stored.value].sort((a, b) => (a < b ? -1 : 1)).map((one) => ulong(one)));
    case 'bytes':
      return key === undefined || stored.value.length === 0 ? stored.value : key.decrypt(stored.value);
    case 'template':
      return undefined;
  }
}

function printed(values: readonly (readonly [type: number, value: Buffer | undefined])[]): string {
  const hash = createHash('sha256');
  const head = Buffer.alloc(8);
  for (const [type, value] of values) {
    if (value === undefined) continue;
    head.writeUInt32LE(type, 0);
    head.writeUInt32LE(value.length, 4);
    hash.update(head).update(value);
  }
  return hash.digest('hex');
}
