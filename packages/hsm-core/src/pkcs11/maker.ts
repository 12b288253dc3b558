/**
 * Makes persistent objects in a token, from a verified manifest: never wider than it says, overwriting nothing (I11).
 * An attribute that the token refuses fails the object, and is never left out. How tokens differ here, and how the
 * maker deals with it: docs/devices.
 */
import {
  BLOB_REFUSALS,
  CKA,
  CKK,
  CKM,
  CKO,
  CryptokiFailure,
  type Mechanism,
  mechanism as mechanismOf,
  SessionFailure,
  type Template,
  translate,
} from '@antipode/cryptoki';
import { kindOfType } from '../key-kinds/kinds.ts';
import { ASSUMED, ATTRIBUTES, type Attributes, decides, USES } from '../model/attributes.ts';
import { comparableAttributes } from '../model/generation.ts';
import { type Handle, kindOf, restoredAs } from '../model/object.ts';
import type { BatchOutcome, CreateItem, Protection, Refusal, UnwrapItem } from '../provider/provider.ts';
import { KeyTypeNumbers } from './key-type-numbers.ts';
import { widerThan } from './own-keys/narrowing.ts';
import { type RestoringQuirks, wantedAfter } from './quirks.ts';
import type { ObjectReader } from './reading/object-reader.ts';
import { classNumber, encodeNative, templateOf } from './reading/objects.ts';
import type { WrappingSession } from './token-session.ts';

/** An object that is not made, by what the token says of its blob or by a rule of ours. */
export class ObjectRefused extends Error {
  readonly why: Refusal;

  constructor(why: Refusal) {
    super(why.code);
    this.why = why;
  }
}

/** By what a blob is opened. */
export interface Opening {
  readonly mechanism: Mechanism;
  readonly under: Handle;
  /** The key that wraps what `under` opens: the same, or the public half of its pair. */
  readonly wrapping: Handle;
}

export interface MakerContext extends Pick<WrappingSession, 'cryptoki' | 'session' | 'keyWrap'> {
  readonly objects: ObjectReader;
  readonly quirks: RestoringQuirks & { readonly keepsOnePerId: boolean; readonly unenforced?: readonly Protection[] };
}

export class Maker {
  readonly #context: MakerContext;
  readonly #numbers = new KeyTypeNumbers();
  /** By kind of key: whether an unwrapped one is wider than its template says. */
  readonly #widening: Map<string, boolean>;
  #quirks: RestoringQuirks;

  constructor(context: MakerContext) {
    this.#context = context;
    this.#quirks = context.quirks;
    this.#widening = new Map(context.quirks.widens);
  }

  /**
   * The quirks that the token has shown so far. A kind of key that the self-test could not try shows them with its first
   * key.
   */
  get quirks(): RestoringQuirks {
    return { ...this.#quirks, widens: this.#widening };
  }

  /** `isToken: false` tries whether it could be made, and leaves a session object. */
  unwrap(opening: Opening, item: UnwrapItem, options: { isToken?: boolean } = {}): Handle {
    return this.#numbers.trying(item.keyType, () => this.#unwrap(opening, item, options));
  }

  #unwrap(opening: Opening, item: UnwrapItem, { isToken = true }: { isToken?: boolean }): Handle {
    const attributes = restoredAs(item.objectClass, item.attributes);
    this.#checkTemplates(attributes);
    const inPlace = this.#inPlace({ ...item, attributes });
    if (inPlace !== undefined) return inPlace;
    const template = templateOf(item.objectClass, attributes);
    const [lasting, policy] = [template.filter((entry) => !isPolicy(entry)), template.filter(isPolicy)];
    const draft = (wanted: Template): Handle => this.#open(opening, item, [[CKA.TOKEN, false], ...wanted]);
    if (this.#widens(widthKey(opening, item), lasting, draft))
      return this.#copyNarrowed(draft(lasting), { isToken, lasting, policy });
    return this.#open(opening, item, [[CKA.TOKEN, isToken], ...template]);
  }

  create(item: CreateItem): Handle {
    const { objectClass, keyType, attributes } = item;
    const make = (): Handle =>
      this.persist([
        [CKA.CLASS, classNumber(objectClass)],
        ...(keyType === undefined ? [] : [[CKA.KEY_TYPE, this.#numbers.of(keyType)] as const]),
        ...(objectClass === 'certificate' && !attributes.subject?.length ? NO_SUBJECT : []),
        ...templateOf(objectClass, attributes),
      ]);
    return this.#inPlace(item) ?? this.#numbers.trying(keyType, make);
  }

  /** Makes a token object of what need not be unwrapped. */
  persist(template: Template): Handle {
    const { cryptoki, session } = this.#context;
    const make = (isToken: boolean, rest: Template): Handle =>
      cryptoki.create(session, [[CKA.TOKEN, isToken], ...rest]);
    try {
      return make(true, template);
    } catch (thrown) {
      this.#checkRoom(thrown, template, () => make(false, template));
      throw thrown;
    }
  }

  /**
   * SoftHSM says of a full disk what it says of a changed blob; but a session object needs no disk. Of an object that
   * forbids something nothing is concluded: NSS allows that in the session only. @throws ObjectRefused
   */
  #checkRoom(thrown: unknown, template: Template, makeInSession: () => Handle): void {
    if (!(thrown instanceof CryptokiFailure) || !BLOB_REFUSALS.has(thrown.returnValue)) return;
    if (template.some((entry) => isPolicy(entry) && entry[1] === false)) return;
    const { cryptoki, session } = this.#context;
    try {
      cryptoki.destroy(session, makeInSession());
    } catch (refusal) {
      if (refusal instanceof CryptokiFailure) return;
      throw refusal;
    }
    throw new ObjectRefused({ code: 'HSM_FULL', returnValue: thrown.returnValue });
  }

  #open(opening: Opening, item: UnwrapItem, template: Template, quirks = this.#quirks): Handle {
    const { cryptoki, session } = this.#context;
    const point = item.objectClass === 'private-key' ? (kindOfType(item.keyType).pair?.besideBlob?.(item) ?? []) : [];
    const attempt = (attributes: Template): Handle =>
      cryptoki.unwrapKey(session, opening.mechanism, opening.under, item.blob, [
        [CKA.CLASS, classNumber(item.objectClass)],
        [CKA.KEY_TYPE, this.#numbers.of(item.keyType)],
        ...(quirks.wantsPoint ? point : []),
        ...(quirks.omitsExtractable ? attributes.filter(([type]) => type !== CKA.EXTRACTABLE) : attributes),
      ]);
    try {
      const made = attempt(template);
      if (quirks.omitsExtractable) this.#checkExtractable(made);
      return made;
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      const wanted = wantedAfter(thrown.returnValue, quirks, { hasPoint: point.length > 0 });
      if (wanted !== undefined) {
        const made = this.#open(opening, item, template, wanted);
        // Only what has helped is a quirk of the token.
        this.#quirks = wanted;
        return made;
      }
      // The same answer may be to an attribute, or to a full disk: the blob is at fault only where nothing opens it,
      // and where the token opens one of its own.
      if (BLOB_REFUSALS.has(thrown.returnValue))
        openingBlob(
          () => cryptoki.destroy(session, attempt(SESSION_KEY)),
          () => this.#checkUnwraps(opening),
        );
      this.#checkRoom(thrown, template, () => attempt(template.map(inSession)));
      throw thrown;
    }
  }

  /** A token that stores a template and never looks at it would let the key do more. @throws ObjectRefused */
  #checkTemplates({ wrapTemplate, unwrapTemplate, deriveTemplate }: Attributes): void {
    const hasTemplate = [wrapTemplate, unwrapTemplate, deriveTemplate].some((template) => template?.length);
    if (hasTemplate && this.#context.quirks.unenforced?.includes('unwrap-template'))
      throw new ObjectRefused({ code: 'HSM_REFUSED' });
  }

  /** A replicated key must stay replicable. @throws ObjectRefused */
  #checkExtractable(made: Handle): void {
    const { cryptoki, session } = this.#context;
    if (cryptoki.attributes(session, made, [CKA.EXTRACTABLE])?.get(CKA.EXTRACTABLE)?.[0] === 1) return;
    cryptoki.destroy(session, made);
    throw new ObjectRefused({ code: 'HSM_REFUSED' });
  }

  /** @throws SessionFailure where the token unwraps nothing any more: then it says nothing of any blob */
  #checkUnwraps({ mechanism, under, wrapping }: Opening): void {
    const { cryptoki, session } = this.#context;
    const made: Handle[] = [];
    try {
      made.push(cryptoki.generateKey(session, mechanismOf(CKM.AES_KEY_GEN), [[CKA.VALUE_LEN, 32], ...SESSION_KEY]));
      const blob = cryptoki.wrapKey(session, mechanism, wrapping, made[0]!);
      made.push(cryptoki.unwrapKey(session, mechanism, under, blob, [...SECRET, ...SESSION_KEY]));
    } catch (thrown) {
      throw thrown instanceof CryptokiFailure ? new SessionFailure(thrown.call, thrown.returnValue) : thrown;
    } finally {
      for (const handle of made) cryptoki.destroy(session, handle);
    }
  }

  /** Whether the token makes keys wider than the template says: tried once for each kind of key, in the session. */
  #widens(kind: string, template: Template, draft: (wanted: Template) => Handle): boolean {
    const known = this.#widening.get(kind);
    if (known !== undefined) return known;
    const useless = template.map(([type, value]) => [type, USE_TYPES.has(type) ? false : value] as const);
    const trial = draft(useless);
    try {
      const widens = widerThan(this.#context, trial, useless).length > 0;
      this.#widening.set(kind, widens);
      return widens;
    } finally {
      this.#context.cryptoki.destroy(this.#context.session, trial);
    }
  }

  /**
   * Narrows a session object, and only then copies it into the token: at no time is a wider key there, whatever
   * crashes.
   */
  #copyNarrowed(
    draft: Handle,
    { isToken, lasting, policy }: { isToken: boolean; lasting: Template; policy: Template },
  ): Handle {
    const { cryptoki, session } = this.#context;
    try {
      const excess = widerThan(this.#context, draft, lasting);
      if (excess.length > 0) cryptoki.setAttributes(session, draft, excess);
      const made = cryptoki.copy(session, draft, [[CKA.TOKEN, isToken], ...policy]);
      if (widerThan(this.#context, made, lasting).length === 0) return made;
      cryptoki.destroy(session, made);
      throw new ObjectRefused({ code: 'HSM_REFUSED' });
    } finally {
      cryptoki.destroy(session, draft);
    }
  }

  /**
   * Where a second key under one id would overwrite the first: changes the object that the item replaces, and refuses
   * the id of any other. Undefined where the object has to be made.
   */
  #inPlace(item: UnwrapItem | CreateItem): Handle | undefined {
    if (!this.#context.quirks.keepsOnePerId) return undefined;
    const { cryptoki, session } = this.#context;
    const { objectClass, attributes, replaces } = item;
    // NSS holds a certificate once.
    if (objectClass === 'certificate') return replaces === undefined ? undefined : this.#change(replaces, item);
    if (!attributes.id?.length) return undefined;
    const holders = cryptoki.find(session, [
      [CKA.CLASS, classNumber(objectClass)],
      [CKA.TOKEN, true],
      [CKA.ID, attributes.id],
    ]);
    if (holders.length === 0) return undefined;
    if (replaces !== undefined && holders.every((handle) => handle === replaces)) return this.#change(replaces, item);
    throw new ObjectRefused({ code: 'ID_TAKEN' });
  }

  #change(handle: Handle, { objectClass, keyType, attributes }: UnwrapItem | CreateItem): Handle {
    const seen = this.#context.objects.read(handle);
    const now = comparableAttributes({ objectClass, attributes: seen?.attributes ?? {} });
    const wanted = comparableAttributes({ objectClass, attributes });
    const changes = [...new Set([...now.keys(), ...wanted.keys()])].flatMap((name) => {
      if (!decides(name, keyType)) return [];
      if (Buffer.compare(now.get(name) ?? NOTHING, wanted.get(name) ?? NOTHING) === 0) return [];
      // An attribute that the item does not name is set as if it had never been given.
      const { type, kind } = ATTRIBUTES[name];
      const value = attributes[name] ?? ASSUMED[name] ?? (kind === 'bytes' ? NOTHING : undefined);
      return value === undefined ? [] : [[type, encodeNative(name, value)] as const];
    });
    if (changes.length > 0) this.#context.cryptoki.setAttributes(this.#context.session, handle, changes);
    return handle;
  }
}

/** Each way of unwrapping is tried by itself: a token may keep a template in the one and not in the other. */
const widthKey = ({ under, wrapping }: Opening, item: UnwrapItem): string =>
  under === wrapping ? kindOf(item) : `${kindOf(item)} exact`;

const NOTHING = Buffer.alloc(0);

const USE_TYPES: ReadonlySet<number> = new Set(USES.map((name) => ATTRIBUTES[name].type));

const POLICY_TYPES: ReadonlySet<number> = new Set(
  Object.values(ATTRIBUTES)
    .filter(({ fate }) => fate === 'policy')
    .map(({ type }) => type),
);

const inSession = (entry: Template[number]): Template[number] => (entry[0] === CKA.TOKEN ? [CKA.TOKEN, false] : entry);
const isPolicy = ([type]: Template[number]): boolean => POLICY_TYPES.has(type);

/** A key for the time of a trial, with what a domain key's unwrap template demands. */
const SESSION_KEY: Template = [
  [CKA.TOKEN, false],
  [CKA.PRIVATE, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, true],
];

/** The standard demands a subject of every certificate, and lets it be empty. */
const NO_SUBJECT: Template = [[CKA.SUBJECT, NOTHING]];

const SECRET: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.AES],
];

/**
 * @throws ObjectRefused where the token says that what it was to open is not what the key has sealed; `checkToken` throws
 * where the token's word does not count
 */
export function openingBlob<T>(work: () => T, checkToken: () => void = () => {}): T {
  try {
    return work();
  } catch (thrown) {
    if (!(thrown instanceof CryptokiFailure) || !BLOB_REFUSALS.has(thrown.returnValue)) throw thrown;
    checkToken();
    throw new ObjectRefused({ code: 'BLOB_INVALID', returnValue: thrown.returnValue });
  }
}

/** Makes each item, up to the first that fails. */
export function batch<Item>(items: readonly Item[], make: (item: Item) => Handle): BatchOutcome {
  const handles: Handle[] = [];
  for (const [index, item] of items.entries()) {
    try {
      handles.push(make(item));
    } catch (thrown) {
      if (thrown instanceof ObjectRefused) return { handles, failure: { index, ...thrown.why } };
      if (thrown instanceof CryptokiFailure)
        return { handles, failure: { index, code: 'HSM_REFUSED', returnValue: thrown.returnValue } };
      if (!(thrown instanceof SessionFailure)) throw thrown;
      // The objects made before it are there all the same.
      const { code, details } = translate(thrown);
      if (code !== 'HSM_FULL' && code !== 'HSM_UNAVAILABLE' && code !== 'HSM_SESSION_VOID') throw thrown;
      return { handles, failure: { index, code, returnValue: String(details['returnValue']) } };
    }
  }
  return { handles };
}
