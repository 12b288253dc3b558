/**
 * Reads token objects into the model. One call tells everything of an object but the values of certificates and data,
 * which are asked for when the class is known: CKA_VALUE of a key is never read (I5). Follows the table in
 * model/attributes.ts.
 */
import { hash } from 'node:crypto';
import { AttributeReader, CKA, type Cryptoki, readNestedTemplate, type WantedAttribute } from '@antipode/cryptoki';
import type { KeyKind, Values } from '../../key-kinds/key-kind.ts';
import { KEY_KINDS, kindOfObject } from '../../key-kinds/kinds.ts';
import {
  ATTRIBUTE_NAMES,
  ATTRIBUTES,
  type AttributeName,
  type Attributes,
  attributesOf,
  setAttribute,
} from '../../model/attributes.ts';
import { DATE_NAMES, NOT_CARRIED, vendorName } from '../../model/not-carried.ts';
import {
  type Handle,
  hasKeyType,
  isKey,
  type KeyType,
  OBJECT_CLASSES,
  type ObjectClass,
  type ObservedObject,
  VALUE_BYTES_MAX,
} from '../../model/object.ts';
import { classOf, decodeNative, keyTypeOf, nestedOf } from './objects.ts';
import { OutsideReader } from './outside-reader.ts';

const fixed = (type: number): WantedAttribute => ({ type, size: 'fixed' });
const isFixed = (name: AttributeName): boolean => ['boolean', 'number', 'date'].includes(ATTRIBUTES[name].kind);
const isTemplate = (name: AttributeName): boolean => ATTRIBUTES[name].kind === 'template';
const isDate = (name: AttributeName): boolean => ATTRIBUTES[name].kind === 'date';

/** The first call asks only for their lengths: their values are templates themselves, with addresses of ours. */
const TEMPLATES = [CKA.WRAP_TEMPLATE, CKA.UNWRAP_TEMPLATE, CKA.DERIVE_TEMPLATE];

/** The attributes that make up public halves, of all kinds of key. */
const PUBLIC_PARTS: ReadonlySet<number> = new Set(KEY_KINDS.flatMap(({ pair }) => pair?.publicParts ?? []));

/** The attributes that are read of objects of some classes, without dates and values. */
const wantedOf = (classes: readonly ObjectClass[]): readonly WantedAttribute[] => [
  ...[CKA.CLASS, CKA.KEY_TYPE, CKA.VALUE_LEN].map(fixed),
  ...ATTRIBUTE_NAMES.filter((name) => name !== 'value' && !isDate(name) && !isTemplate(name))
    .filter((name) => classes.some((one) => attributesOf(one).includes(name)) || isPublicPart(classes, name))
    .map((name): WantedAttribute => ({ type: ATTRIBUTES[name].type, size: isFixed(name) ? 'fixed' : 'variable' })),
  ...(classes.some(isKey) ? TEMPLATES : []).map((type): WantedAttribute => ({ type, size: 'none' })),
];

/** A token may show with a private key what its public half is made of. */
const isPublicPart = (classes: readonly ObjectClass[], name: AttributeName): boolean =>
  classes.includes('private-key') && PUBLIC_PARTS.has(ATTRIBUTES[name].type);

/**
 * CKA_UNIQUE_ID of PKCS#11 3.0, where the token has it. It goes into the digest, so that an equal object under a reused
 * handle is another one.
 */
const UNIQUE_ID: WantedAttribute = { type: CKA.UNIQUE_ID, size: 'variable' };

/** SoftHSM answers with a general error for a date that is set on a private object, and with it the whole call. */
const FRAGILE = ATTRIBUTE_NAMES.filter(isDate).map((name) => fixed(ATTRIBUTES[name].type));

/**
 * Attributes that no replica gets. They come last in the call, and each is asked for by itself where it spoils the
 * call: it must not hide any other. Of what a vendor has defined only the length is asked.
 */
const notCarriedOf = (classes: readonly ObjectClass[], vendor: readonly number[]): readonly WantedAttribute[] => {
  return [
    ...Object.values(NOT_CARRIED)
      .filter((rule) => rule.classes.some((one) => classes.includes(one)))
      .map(({ type, kind }): WantedAttribute => ({ type, size: kind === 'length' ? 'none' : 'fixed' })),
    ...vendor.map((type): WantedAttribute => ({ type, size: 'none' })),
  ];
};

export class ObjectReader {
  readonly #digestKey: Uint8Array | undefined;
  readonly #readers: ReadonlyMap<ObjectClass, AttributeReader>;
  /** Of every class at once: what an object does not have costs less than a second call. */
  readonly #reader: AttributeReader;
  readonly #likely: { readonly classes: readonly ObjectClass[]; readonly reader: AttributeReader };
  readonly #value: AttributeReader;
  readonly #outside: OutsideReader;
  /** The attributes that go into a digest, by class. */
  readonly #printed: ReadonlyMap<ObjectClass | 'other', readonly number[]>;
  readonly #vendor: readonly number[];
  /** Classes of objects that were read before. Only a guess, which each read confirms. */
  readonly #classes = new Map<Handle, ObjectClass>();
  readonly #cryptoki: Pick<Cryptoki, 'tryCall'>;
  readonly #session: bigint;
  #templates: ReadonlyMap<number, Uint8Array | undefined> = new Map();
  #attributes: AttributeReader;
  #last:
    | { readonly handle: Handle; readonly objectClass: ObjectClass | 'other'; readonly readDigest: string }
    | undefined;

  /** The key is drawn once per worker: the digest of a small value must not tell the value. */
  constructor(options: {
    cryptoki: Pick<Cryptoki, 'tryCall' | 'failure'>;
    session: bigint;
    /** Without one, each digest is empty. */
    digestKey: Uint8Array | undefined;
    /** Classes that most objects have. One of another class costs a second call. */
    likely?: readonly ObjectClass[];
    /** Numbers of vendor-defined attributes. The reader reports which objects have them. */
    vendorAttributes?: readonly number[];
  }) {
    const { cryptoki, session, digestKey, likely = OBJECT_CLASSES, vendorAttributes = [] } = options;
    this.#cryptoki = cryptoki;
    this.#session = session;
    this.#digestKey = digestKey;
    this.#vendor = vendorAttributes;
    const fragileOf = (classes: readonly ObjectClass[]) => [
      UNIQUE_ID,
      ...FRAGILE,
      ...notCarriedOf(classes, vendorAttributes),
    ];
    const readerOf = (classes: readonly ObjectClass[]): AttributeReader =>
      new AttributeReader({ cryptoki, session, wanted: wantedOf(classes), fragile: fragileOf(classes) });
    this.#printed = new Map<ObjectClass | 'other', readonly number[]>([
      ...OBJECT_CLASSES.map((one) => [one, [...wantedOf([one]), ...fragileOf([one])].map(({ type }) => type)] as const),
      ['other', [CKA.CLASS, CKA.KEY_TYPE]],
    ]);
    this.#readers = new Map(OBJECT_CLASSES.map((one) => [one, readerOf([one])]));
    this.#reader = readerOf(OBJECT_CLASSES);
    this.#likely = { classes: likely, reader: likely === OBJECT_CLASSES ? this.#reader : readerOf(likely) };
    this.#attributes = this.#reader;
    this.#outside = new OutsideReader({ cryptoki, session });
    this.#value = new AttributeReader({ cryptoki, session, wanted: [{ type: CKA.VALUE, size: 'variable' }] });
  }

  /** One object as the token gives it now; undefined when it is gone. Private EC keys may lack their public half. */
  read(handle: Handle): ObservedObject | undefined {
    return this.readDigest(handle) === undefined ? undefined : this.describe();
  }

  /** Reads an object and tells only what changes with it; undefined when it is gone. */
  readDigest(handle: Handle): string | undefined {
    this.#last = undefined;
    const objectClass = this.#readClass(handle);
    if (objectClass === undefined) return undefined;
    const keyType = keyTypeOf((type) => this.#attributes.value(type));
    const needed = neededOf(objectClass, keyType);
    if (!this.#attributes.complete(handle, needed)) return undefined;
    const hasValue = isValueRead(objectClass, keyType);
    if (hasValue && !(this.#value.read(handle) && this.#value.complete(handle, [CKA.VALUE]))) return undefined;
    this.#templates = this.#readTemplates(handle, objectClass);
    const readDigest = this.#digestKey === undefined ? '' : this.#digest(this.#digestKey, { objectClass, hasValue });
    this.#last = { handle, objectClass, readDigest };
    return readDigest;
  }

  /** Of the object that was read last. */
  #digest(
    digestKey: Uint8Array,
    { objectClass, hasValue }: { objectClass: ObjectClass | 'other'; hasValue: boolean },
  ): string {
    let fingerprint = this.#attributes.fingerprintOf(digestKey, this.#printed.get(objectClass)!);
    if (hasValue) fingerprint = this.#value.fingerprintOf(fingerprint, [CKA.VALUE]);
    for (const template of this.#templates.values())
      fingerprint = Buffer.concat([fingerprint, template ?? new Uint8Array()]);
    // Keyed by its prefix: what lengthens a message is of no use here, since nobody checks digests that others bring.
    return hash('sha256', fingerprint, 'hex');
  }

  /** The templates of a key, by number; undefined for one that the model cannot hold. Few keys have any. */
  #readTemplates(object: Handle, objectClass: ObjectClass | 'other'): ReadonlyMap<number, Uint8Array | undefined> {
    const types = isKey(objectClass) ? TEMPLATES.filter((type) => this.#attributes.length(type) > 0) : [];
    return new Map(
      types.map((type) => {
        const wanted = { object, type, bytes: this.#attributes.length(type) };
        const entries = readNestedTemplate(this.#cryptoki, this.#session, wanted);
        return [type, entries && nestedOf(entries)];
      }),
    );
  }

  /** Bytes of an attribute of the object that was read last, valid until the next read. */
  shown(type: number): Buffer | undefined {
    return this.#attributes.value(type);
  }

  /** The handle may come to mean another object. */
  forget(handle: Handle): void {
    this.#classes.delete(handle);
  }

  /** Reads attributes and returns the class that they belong to; undefined when the object is gone. */
  #readClass(handle: Handle): ObjectClass | 'other' | undefined {
    const guess = this.#classes.get(handle);
    if (guess !== undefined) {
      const found = this.#classBy(this.#readers.get(guess)!, handle);
      if (found === undefined || found === guess) return found;
    }
    let found = this.#classBy(this.#likely.reader, handle);
    const isLikely = this.#likely.reader === this.#reader || this.#likely.classes.some((one) => one === found);
    if (found !== undefined && !isLikely) found = this.#classBy(this.#reader, handle);
    if (found === 'other') this.#classes.delete(handle);
    else if (found !== undefined) this.#classes.set(handle, found);
    return found;
  }

  #classBy(reader: AttributeReader, handle: Handle): ObjectClass | 'other' | undefined {
    this.#attributes = reader;
    return reader.read(handle) ? classOf(reader.value(CKA.CLASS)) : undefined;
  }

  /** The object whose digest was read last. */
  describe(): ObservedObject {
    const { handle, objectClass, readDigest } = this.#last!;
    if (objectClass === 'other')
      return {
        handle,
        objectClass,
        sizeBits: 0,
        attributes: {},
        outside: this.#outside.describe(handle, objectClass, (type) => this.#attributes.value(type)),
        ...(this.#attributes.isPartial ? { isPartlyRead: true } : {}),
        readDigest,
      };
    const shown = (type: number): Buffer | undefined => this.#attributes.value(type);
    const keyType = hasKeyType(objectClass) ? keyTypeOf(shown) : undefined;
    const hasValue = isValueRead(objectClass, keyType ?? 'unsupported');
    const value = (type: number): Buffer | undefined => {
      if (type !== CKA.VALUE) return shown(type);
      return hasValue ? this.#value.value(type) : undefined;
    };
    const attributes: Attributes = {};
    let isBeyondModel = false;
    // Nobody moves an object with a larger value. It stays here, since any number of such objects would fill memory.
    let outsized = 0;
    for (const name of attributesOf(objectClass)) {
      const { type, kind } = ATTRIBUTES[name];
      if (kind === 'template') {
        const template = this.#templates.get(type);
        if (template !== undefined) setAttribute(attributes, name, template);
        continue;
      }
      const bytes = value(type);
      if (bytes !== undefined && bytes.length > VALUE_BYTES_MAX) {
        outsized = Math.max(outsized, bytes.length);
        continue;
      }
      const decoded = bytes && decodeNative(kind, bytes);
      if (decoded !== undefined) setAttribute(attributes, name, decoded);
      else if (bytes !== undefined && bytes.length > 0) isBeyondModel ||= ATTRIBUTES[name].fate !== 'carried';
    }
    const kind = kindOfObject({ keyType });
    const pair = kind?.pair;
    const publicHalf = pair?.publicHalf(value);
    const curveParams = pair?.curveParams?.(value);
    const notCarried = this.#notCarried(objectClass);
    const uniqueId = shown(CKA.UNIQUE_ID);
    return {
      handle,
      objectClass,
      ...(keyType === undefined ? {} : { keyType }),
      sizeBits: sizeBitsOf(objectClass, kind, value),
      attributes,
      ...(keyType === 'unsupported' ? { outside: this.#outside.describe(handle, objectClass, shown) } : {}),
      ...(publicHalf === undefined ? {} : { publicHalf }),
      ...(curveParams === undefined ? {} : { curveParams }),
      ...(objectClass === 'data' || outsized > 0
        ? { valueBytes: Math.max(outsized, hasValue ? this.#value.length(CKA.VALUE) : 0) }
        : {}),
      ...(this.#hasOtherTemplate(attributes) ? { hasTemplate: true } : {}),
      ...(isBeyondModel ? { isBeyondModel: true } : {}),
      ...(this.#attributes.isPartial || (hasValue && this.#value.isPartial) ? { isPartlyRead: true } : {}),
      ...(notCarried.length > 0 ? { notCarried } : {}),
      ...(uniqueId?.length ? { uniqueId: new Uint8Array(uniqueId) } : {}),
      readDigest,
    };
  }

  /** Whether the object that was read last has a template that is not among its attributes. */
  #hasOtherTemplate(attributes: Attributes): boolean {
    const { wrapTemplate, unwrapTemplate, deriveTemplate } = attributes;
    const held = [wrapTemplate, unwrapTemplate, deriveTemplate].filter((one) => one !== undefined);
    return this.#templates.size > held.length;
  }

  /** Attributes of the object that was read last, and that no replica gets. */
  #notCarried(objectClass: ObjectClass): string[] {
    const names: string[] = [];
    for (const name in NOT_CARRIED) {
      const { type, kind, classes } = NOT_CARRIED[name]!;
      if (!classes.includes(objectClass)) continue;
      const value = kind === 'length' ? undefined : this.#attributes.value(type);
      if (kind === 'length' ? this.#attributes.length(type) > 0 : value?.length === SIZE[kind] && value.some(Boolean))
        names.push(name);
    }
    for (const name of attributesOf(objectClass)) {
      const date = DATE_NAMES[name];
      if (date !== undefined && this.#attributes.hasFailed(ATTRIBUTES[name].type)) names.push(date);
    }
    for (const type of this.#vendor) if (this.#attributes.length(type) > 0) names.push(vendorName(type));
    return names;
  }
}

const SIZE = { boolean: 1, number: 8 } as const;

const neededByKind = new Map<string, readonly number[]>();

/**
 * Attributes that an object of that class and type has as a rule. A missing one may be too long for its room.
 */
function neededOf(objectClass: ObjectClass | 'other', keyType: KeyType | 'unsupported'): readonly number[] {
  if (objectClass === 'other') return [];
  const kind = `${objectClass} ${keyType}`;
  const known = neededByKind.get(kind);
  if (known !== undefined) return known;
  const types = new Set<number>([
    ...attributesOf(objectClass)
      .filter((name) => name !== 'value' && !isFixed(name) && !isTemplate(name))
      .map((name) => ATTRIBUTES[name].type),
  ]);
  if (isKey(objectClass)) for (const type of PUBLIC_PARTS) types.delete(type);
  const pair = kindOfObject({ keyType })?.pair;
  const parts = { 'public-key': pair?.publicParts, 'private-key': pair?.privateParts };
  if (objectClass === 'public-key' || objectClass === 'private-key')
    for (const type of parts[objectClass] ?? []) if (type !== CKA.VALUE) types.add(type);
  neededByKind.set(kind, [...types]);
  return [...types];
}

/** CKA_VALUE is asked for of public objects alone, and of data: of a public key where it is its public half (I5). */
function isValueRead(objectClass: ObjectClass | 'other', keyType: KeyType | 'unsupported'): boolean {
  if (objectClass === 'certificate' || objectClass === 'data') return true;
  return objectClass === 'public-key' && kindOfObject({ keyType })?.pair?.publicParts.includes(CKA.VALUE) === true;
}

function sizeBitsOf(objectClass: ObjectClass, kind: KeyKind | undefined, value: Values): number {
  if (objectClass !== 'secret-key') return kind?.pair?.sizeBits(value) ?? 0;
  if (kind?.bits !== undefined) return kind.bits;
  const length = value(CKA.VALUE_LEN);
  return length?.length === 8 ? Number(length.readBigUInt64LE()) * 8 : 0;
}
