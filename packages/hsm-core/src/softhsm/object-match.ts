/**
 * Which file holds the object of a handle. SoftHSM does not say. So an object gets a print, over every attribute that it
 * shows, and a file gets one over the same attributes as they are stored. A short print, over class, type, label and id,
 * comes first: where one file and one object alone have it, they belong together. Programs repeat labels and ids, so it
 * does not always decide.
 *
 * The value distinguishes objects of equal prints: SoftHSM finds objects by it, even those that it shows to nobody. Two
 * objects of one value too are the same object twice, and either file stands for either handle.
 */
import { hash } from 'node:crypto';
import { AttributeReader, CKA, CKK, CKO, type Cryptoki, ulong, type WantedAttribute } from '@antipode/cryptoki';
import type { Handle } from '../model/object.ts';
import type { ParsedAttributes, StoredAttributes, StoredValue } from './object-file.ts';
import { endOf, isEncrypted, type TokenKey } from './token-key.ts';

/**
 * The attributes that SoftHSM shows of objects. Dates are left out, since it fails to show those of private objects.
 * Templates are left out too, since it shows them in another form.
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

/** In these most objects of a token differ, and to ask for them costs a fraction of what asking for all costs. */
const NAMES = [CKA.LABEL, CKA.ID];
const BRIEF: readonly WantedAttribute[] = [
  ...[CKA.CLASS, CKA.KEY_TYPE].map((type) => ({ type, size: 'fixed' }) as const),
  ...NAMES.map((type) => ({ type, size: 'variable' }) as const),
];

const VARIABLE = SHOWN.filter(({ size }) => size === 'variable').map(({ type }) => type);

/**
 * The attributes of varying length that keys of a type always have. The token does not say whether a value is absent or
 * too long for its room, and asking costs a call.
 */
const NEEDED: ReadonlyMap<number, readonly number[]> = new Map([
  [CKK.AES, [CKA.LABEL, CKA.ID, CKA.CHECK_VALUE]],
  [CKK.GENERIC_SECRET, [CKA.LABEL, CKA.ID, CKA.CHECK_VALUE]],
  [CKK.RSA, [CKA.LABEL, CKA.ID, CKA.SUBJECT, CKA.MODULUS, CKA.PUBLIC_EXPONENT]],
  [CKK.EC, [CKA.LABEL, CKA.ID, CKA.SUBJECT, CKA.EC_PARAMS]],
]);

/** Parts of a key that its holder must not see. They stay encrypted, and nothing is compared with them. */
const SECRETS: ReadonlySet<number> = new Set([
  CKA.VALUE,
  CKA.PRIVATE_EXPONENT,
  CKA.PRIME_1,
  CKA.PRIME_2,
  CKA.EXPONENT_1,
  CKA.EXPONENT_2,
  CKA.COEFFICIENT,
]);

/** The value of any other class is not the secret of a key. */
const KEYS: ReadonlySet<number> = new Set([CKO.SECRET_KEY, CKO.PRIVATE_KEY]);

export class ObjectMatch {
  readonly #cryptoki: Cryptoki;
  readonly #session: bigint;
  readonly #brief: AttributeReader;
  readonly #shown: AttributeReader;
  readonly #value: AttributeReader;

  constructor({ cryptoki, session }: { cryptoki: Cryptoki; session: bigint }) {
    [this.#cryptoki, this.#session] = [cryptoki, session];
    this.#brief = new AttributeReader({ cryptoki, session, wanted: BRIEF });
    this.#shown = new AttributeReader({ cryptoki, session, wanted: SHOWN });
    this.#value = new AttributeReader({ cryptoki, session, wanted: [{ type: CKA.VALUE, size: 'variable' }] });
  }

  /** Over a few attributes: most objects of a token differ in these. Undefined where the object is gone. */
  shortPrintOf(handle: Handle): string | undefined {
    const brief = this.#brief;
    if (!brief.read(handle)) return undefined;
    // The token does not say whether a name is absent or too long for its room.
    const missing = NAMES.filter((type) => brief.value(type) === undefined);
    if (missing.length > 0 && !brief.complete(handle, missing)) return undefined;
    return shortPrint((type) => brief.value(type));
  }

  /** Undefined where the object is gone. */
  printOf(handle: Handle): string | undefined {
    const shown = this.#shown;
    if (!shown.read(handle)) return undefined;
    const isKey = KEYS.has(numberIn(shown.value(CKA.CLASS)));
    const needed = (isKey ? NEEDED.get(numberIn(shown.value(CKA.KEY_TYPE))) : undefined) ?? VARIABLE;
    const missing = needed.filter((type) => shown.value(type) === undefined);
    if (missing.length > 0 && !shown.complete(handle, missing)) return undefined;
    const values = SHOWN.map(({ type }) => [type, shown.value(type)] as const);
    if (isKey) return printed(values);
    if (!this.#value.read(handle) || !this.#value.complete(handle, [CKA.VALUE])) return undefined;
    return printed([...values, [CKA.VALUE, this.#value.value(CKA.VALUE)]]);
  }

  /** Of attributes that are {@link revealed}. */
  shortPrintOfFile(attributes: StoredAttributes): string {
    return shortPrint((type) => {
      const stored = attributes.get(type);
      return stored && nativeBytes(stored);
    });
  }

  /** Of attributes that are {@link revealed}. */
  printOfFile(attributes: StoredAttributes): string {
    const types = [...SHOWN.map(({ type }) => type), ...(isKeyFile(attributes) ? [] : [CKA.VALUE])];
    return printed(
      types.map((type) => {
        const stored = attributes.get(type);
        return [type, stored && nativeBytes(stored)];
      }),
    );
  }

  /** Of these handles, whose prints are equal, those that have the value of the file. */
  withValueOf(attributes: StoredAttributes, key: TokenKey, handles: readonly Handle[]): Handle[] {
    const stored = attributes.get(CKA.VALUE);
    // The print of any other object has its value in it. RSA keys do not have the attribute: their prints have the modulus.
    if (!isKeyFile(attributes) || stored?.kind !== 'bytes' || stored.value.length === 0) return [...handles];
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
}

/**
 * The attributes of files with all byte strings in the clear but the secrets of keys. Undefined where a byte string, or a
 * secret, is not what this token key has encrypted. Takes the attributes over, and puts the bytes into them.
 */
export function revealed(
  files: readonly (ParsedAttributes | undefined)[],
  key: TokenKey,
): (StoredAttributes | undefined)[] {
  const hidden: { readonly types: number[]; readonly strings: Uint8Array[] } = { types: [], strings: [] };
  const secrets: Uint8Array[] = [];
  const ends = files.map((attributes) => {
    if (attributes !== undefined && isPrivateObject(attributes)) {
      const isKey = isKeyFile(attributes);
      for (const [type, stored] of attributes) {
        if (stored.kind !== 'bytes' || !isEncrypted(stored.value)) continue;
        if (isKey && SECRETS.has(type)) secrets.push(endOf(stored.value));
        else {
          hidden.types.push(type);
          hidden.strings.push(stored.value);
        }
      }
    }
    return { hidden: hidden.types.length, secrets: secrets.length };
  });
  const shown = key.decryptAll(hidden.strings).plain;
  const checked = key.decryptAll(secrets);
  try {
    let [nextHidden, nextSecret] = [0, 0];
    return files.map((attributes, index) => {
      const end = ends[index]!;
      let isOurs = true;
      for (; nextSecret < end.secrets; nextSecret += 1) if (checked.plain[nextSecret] === undefined) isOurs = false;
      for (; nextHidden < end.hidden; nextHidden += 1) {
        const value = shown[nextHidden];
        if (value === undefined) isOurs = false;
        else attributes!.set(hidden.types[nextHidden]!, { kind: 'bytes', value });
      }
      return isOurs ? attributes : undefined;
    });
  } finally {
    checked.wipe();
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

/** A value as PKCS#11 shows it. */
function nativeBytes(stored: StoredValue): Buffer | undefined {
  switch (stored.kind) {
    case 'boolean':
      return Buffer.of(stored.value ? 1 : 0);
    case 'number':
      return ulong(stored.value);
    case 'mechanisms':
      return Buffer.concat([...stored.value].sort((a, b) => (a < b ? -1 : 1)).map((one) => ulong(one)));
    case 'bytes':
      return stored.value;
    case 'template':
      return undefined;
  }
}

const numberIn = (value: Buffer | undefined): number => (value?.length === 8 ? Number(value.readBigUInt64LE()) : -1);

/** `value` gives what the token shows of an object. */
export function shortPrint(value: (type: number) => Buffer | undefined): string {
  let print = '';
  for (const { type } of BRIEF) {
    const bytes = value(type);
    print += bytes === undefined ? '0:' : `${bytes.length}:${bytes.toString('latin1')}`;
  }
  return print;
}

function printed(values: readonly (readonly [type: number, value: Buffer | undefined])[]): string {
  const parts: Buffer[] = [];
  for (const [type, value] of values) {
    if (value === undefined) continue;
    const head = Buffer.allocUnsafe(8);
    head.writeUInt32LE(type, 0);
    head.writeUInt32LE(value.length, 4);
    parts.push(head, value);
  }
  return hash('sha256', Buffer.concat(parts), 'hex');
}
