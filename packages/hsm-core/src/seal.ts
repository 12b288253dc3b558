/**
 * Captures a partition into a generation: one inventory pass, a second one where something is new, and then only what is
 * new or changed is wrapped. What did not change keeps its entry and blob byte for byte, also when another member captured
 * it before: what a token cannot read back is carried forward.
 *
 * Does not store or send anything, and knows no roles: the agent journals, fences and decides when (I1, I2).
 */
import { type Clock, hex, type Prng, sha256Hex } from '@antipode/runtime';
import type { Keyring } from './keyring.ts';
import { ATTRIBUTES, type Attributes, attributesOf, encodeAttribute, setAttribute } from './model/attributes.ts';
import {
  comparableAttributes,
  type DataKey,
  type Entry,
  encodeManifest,
  type Generation,
  type SealedGeneration,
  sealedGeneration,
  signingInput,
  type Tombstone,
  type Uncaptured,
} from './model/generation.ts';
import {
  type Handle,
  isWrapped,
  type ObjectClass,
  type ObjectId,
  type ObservedObject,
  type UncapturedReason,
} from './model/object.ts';
import type { HsmProvider } from './provider.ts';
import { aadOf, type Examined, examine, handlesOf, pair } from './recognise.ts';

/** Objects that never leave: excluded when any rule matches. */
export interface ObjectFilter {
  /** CKA_ID, hexadecimal. */
  readonly excludeIds: readonly string[];
  /** CKA_LABEL, shell pattern with `*` and `?`. */
  readonly excludeLabels: readonly string[];
  readonly excludeClasses: readonly string[];
}

/** Which handle is which object, as of the last capture through one provider. Make a new one with a new provider. */
export class CaptureMemory {
  readonly known = new Map<Handle, { readonly objectId: ObjectId; readonly readDigest: string }>();

  /** The partition was changed by an apply: objects are recognised anew next time. */
  forget(): void {
    this.known.clear();
  }
}

export interface SealOptions {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly memory: CaptureMemory;
  readonly group: string;
  readonly epoch: bigint;
  readonly number: bigint;
  readonly domainKeyVersion: number;
  /** The newest generation captured or applied here. */
  readonly previous: SealedGeneration | undefined;
  readonly filter: ObjectFilter;
  /** Called right before the manifest is signed; throws when the tenure is over (I2). */
  readonly checkFence: () => void;
}

export interface SealResult {
  /** The recovery point, also when nothing changed. */
  readonly captureStartedMs: number;
  /** Objects that were wrapped or encrypted anew. */
  readonly sealedObjects: number;
  /** Absent when nothing changed. */
  readonly sealed?: SealedGeneration;
  /** New blobs by SHA-256, hexadecimal. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

/** @throws DOMAIN_KEY_MISSING, HSM_WORKER_LOST, HSM_UNAVAILABLE, HSM_REFUSED, and what `checkFence` throws */
export async function seal(options: SealOptions): Promise<SealResult> {
  return new Capture(options).run();
}

class Capture {
  readonly #options: SealOptions;
  readonly #previous: Generation | undefined;
  readonly #isReseal: boolean;
  readonly #entries: Entry[] = [];
  readonly #uncaptured: Uncaptured[] = [];
  readonly #dataKeys: DataKey[] = [];
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #known = new Map<Handle, { objectId: ObjectId; readDigest: string }>();
  #sealedObjects = 0;

  constructor(options: SealOptions) {
    this.#options = options;
    this.#previous = options.previous?.generation;
    this.#isReseal = this.#previous !== undefined && this.#previous.domainKeyVersion !== options.domainKeyVersion;
  }

  async run(): Promise<SealResult> {
    const { provider, keyring, clock, memory } = this.#options;
    const captureStartedMs = clock.wallMs();
    const first = await this.#scan();
    const isQuiet =
      first.every((object) => memory.known.get(object.handle)?.readDigest === object.readDigest) &&
      this.#isComplete(first) &&
      !this.#isReseal;
    if (isQuiet && this.#previous !== undefined && this.#mayReuse(first))
      return { captureStartedMs, sealedObjects: 0, blobs: this.#blobs };

    // New or changed: counts only when two reads, 250 ms apart at least, are equal (another process may be making it).
    const second = await this.#scan();
    const firstDigests = new Map(first.map(({ handle, readDigest }) => [handle, readDigest]));
    const settled = second.filter(({ handle, readDigest }) => firstDigests.get(handle) === readDigest);
    const settling = second.filter(({ handle, readDigest }) => firstDigests.get(handle) !== readDigest);
    const vanished = first.filter(({ handle }) => !second.some((object) => object.handle === handle));

    const present = await this.#examineAll([...settled, ...settling]);
    const candidates = [
      ...(this.#previous?.entries ?? []),
      ...(this.#previous?.tombstones ?? []).map(({ entry }) => entry),
    ];
    const { matched, absent } = this.#match(present, candidates);
    const unsettled = new Set([...handlesOf(settling), ...handlesOf(vanished)]);
    const fresh: { one: Examined; before: Entry | undefined }[] = [];
    for (const one of present) {
      const before = matched.get(one.object.handle);
      if (before !== undefined && this.#isKeptTombstone(before)) continue;
      if (unsettled.has(one.object.handle)) this.#unsettled(one.object, before);
      else fresh.push({ one, before });
    }
    await this.#capture(fresh);
    const tombstones = this.#tombstones(absent, captureStartedMs);
    await this.#nameUncaptured();

    memory.known.clear();
    for (const [handle, known] of this.#known) memory.known.set(handle, known);
    const { serial, manufacturer, model, firmware } = await provider.describe();
    const generation: Generation = {
      group: this.#options.group,
      domainKeyVersion: this.#options.domainKeyVersion,
      domainKeyCheckTag: this.#domainKey().checkTag,
      epoch: this.#options.epoch,
      number: this.#options.number,
      previousDigest: this.#options.previous?.digest ?? '',
      captureStartedMs,
      source: { serial, manufacturer, model, firmware, identitySha256: keyring.identity.sha256 },
      dataKeys: this.#usedDataKeys(),
      entries: this.#entries,
      uncaptured: this.#uncaptured,
      tombstones,
    };
    if (this.#previous !== undefined && !hasChanged(this.#previous, generation))
      return { captureStartedMs, sealedObjects: 0, blobs: new Map() };

    this.#options.checkFence();
    const manifest = encodeManifest(generation);
    const signature = await provider.signAsIdentity(keyring.identity.handle, signingInput(manifest));
    const sealed = sealedGeneration({ generation, manifest, signature, signer: keyring.identity.publicHalf });
    return { captureStartedMs, sealedObjects: this.#sealedObjects, sealed, blobs: this.#blobs };
  }

  #domainKey() {
    return this.#options.keyring.domainKey(this.#options.group, this.#options.domainKeyVersion);
  }

  async #scan(): Promise<ObservedObject[]> {
    const own = this.#options.keyring.ownHandles;
    return (await this.#options.provider.inventory()).filter(({ handle }) => !own.has(handle));
  }

  /** Nothing that we know has gone. */
  #isComplete(objects: readonly ObservedObject[]): boolean {
    const handles = new Set(handlesOf(objects));
    return [...this.#options.memory.known.keys()].every((handle) => handles.has(handle));
  }

  /** The group's filter may have changed without any object changing. */
  #mayReuse(objects: readonly ObservedObject[]): boolean {
    const uncaptured = new Map(this.#previous?.uncaptured.map(({ objectId, reason }) => [objectId, reason]));
    return objects.every((object) => {
      const objectId = this.#options.memory.known.get(object.handle)?.objectId;
      return (
        objectId !== undefined &&
        this.#isExcluded(object) === (uncaptured.get(objectId) === 'excluded') &&
        uncaptured.get(objectId) !== 'settling'
      );
    });
  }

  /** Wraps what must be wrapped to be recognised: under the version of the generation before. */
  async #examineAll(objects: readonly ObservedObject[]): Promise<Examined[]> {
    const { provider, keyring, group, domainKeyVersion } = this.#options;
    const version = this.#previous?.domainKeyVersion ?? domainKeyVersion;
    return examine(provider, { domainKey: keyring.domainKey(group, version).handle, objects, wrapPrivateKeys: false });
  }

  /** Handles that we know first, since a value never changes under its handle; then by value. */
  #match(present: readonly Examined[], candidates: readonly Entry[]): { matched: Map<Handle, Entry>; absent: Entry[] } {
    const byId = new Map(candidates.map((entry) => [entry.objectId, entry]));
    const matched = new Map<Handle, Entry>();
    for (const { object } of present) {
      const objectId = this.#options.memory.known.get(object.handle)?.objectId;
      const entry = objectId === undefined ? undefined : byId.get(objectId);
      if (entry === undefined) continue;
      matched.set(object.handle, entry);
      byId.delete(entry.objectId);
    }
    const rest = pair(
      present.filter(({ object }) => !matched.has(object.handle)),
      [...byId.values()],
    );
    return { matched: new Map([...matched, ...rest.matched]), absent: rest.absent };
  }

  /** Deleted under an earlier active member, and kept here only because a delete must not travel fast. */
  #isKeptTombstone(entry: Entry): boolean {
    const tombstone = this.#previous?.tombstones.find((one) => one.entry.objectId === entry.objectId);
    return tombstone !== undefined && tombstone.epoch < this.#options.epoch;
  }

  #unsettled(object: ObservedObject, before: Entry | undefined): void {
    if (before !== undefined && !this.#isReseal) this.#entries.push(before);
    else this.#leaveOut(object, 'settling');
  }

  async #capture(fresh: readonly { one: Examined; before: Entry | undefined }[]): Promise<void> {
    const toWrap: { one: Examined; before: Entry | undefined }[] = [];
    const toEncrypt: { one: Examined; before: Entry | undefined }[] = [];
    for (const { one, before } of fresh) {
      const { object } = one;
      const reason = this.#reasonAgainst(one, before);
      if (reason !== undefined) {
        this.#leaveOut(object, reason);
        continue;
      }
      const needsSealing = before === undefined || this.#isReseal;
      if (!needsSealing) this.#keep(object, before);
      else if (isWrapped(object.objectClass)) toWrap.push({ one, before });
      else if (object.objectClass === 'data') toEncrypt.push({ one, before });
      else this.#add(object, this.#entryOf(object, before, {}));
    }
    await this.#wrapAll(toWrap);
    await this.#encryptAll(toEncrypt);
  }

  #reasonAgainst({ object, refusal }: Examined, before: Entry | undefined): UncapturedReason | undefined {
    const { objectClass, keyType, attributes, sizeBits } = object;
    if (this.#isExcluded(object)) return 'excluded';
    if (objectClass === 'other') return 'unsupported-type';
    if (objectClass === 'public-key' && keyType !== 'unsupported' && object.publicHalf === undefined)
      return 'unsupported-type';
    if (objectClass === 'certificate' && attributes.value === undefined) return 'unreadable';
    if (keyType === 'unsupported') return attributes.extractable === false ? 'unextractable' : 'unsupported-type';
    if (!isWrapped(objectClass)) return undefined;
    if (attributes.extractable !== true) return 'unextractable';
    if (attributes.wrapWithTrusted === true) return 'wrap-with-trusted';
    if (refusal !== undefined) return refusal;
    if (keyType === 'generic-secret' && before === undefined) {
      if (sizeBits === 0) return 'length-unknown';
      if (sizeBits % 64 !== 0) return 'length-not-multiple-of-8';
    }
    return undefined;
  }

  #isExcluded({ objectClass, attributes }: ObservedObject): boolean {
    const { excludeIds, excludeLabels, excludeClasses } = this.#options.filter;
    const id = attributes.id === undefined ? undefined : hex(attributes.id);
    const label = attributes.label === undefined ? undefined : Buffer.from(attributes.label).toString('utf8');
    return (
      excludeClasses.includes(objectClass) ||
      (id !== undefined && excludeIds.some((excluded) => excluded.toLowerCase() === id)) ||
      (label !== undefined && excludeLabels.some((pattern) => matchesPattern(label, pattern)))
    );
  }

  async #wrapAll(items: readonly { one: Examined; before: Entry | undefined }[]): Promise<void> {
    const outcomes = await this.#options.provider.wrap(
      this.#domainKey().handle,
      items.map(({ one }) => one.object.handle),
    );
    items.forEach(({ one: { object }, before }, index) => {
      const outcome = outcomes[index]!;
      if (!('blob' in outcome)) {
        this.#leaveOut(object, outcome.reason);
        return;
      }
      this.#sealedObjects += 1;
      this.#add(object, this.#entryOf(object, before, this.#keepBlob(outcome.blob)));
    });
  }

  async #encryptAll(items: readonly { one: Examined; before: Entry | undefined }[]): Promise<void> {
    if (items.length === 0) return;
    const { provider, prng, group } = this.#options;
    const domainKey = this.#domainKey().handle;
    const dataKey = await provider.generateDataKey(domainKey);
    const dataKeyId = hex(prng.bytes(OBJECT_ID_BYTES));
    const entries = items.map(({ one: { object }, before }) => ({
      object,
      before,
      objectId: before?.objectId ?? this.#newObjectId(),
    }));
    try {
      const sealed = await provider.sealData({
        domainKey,
        dataKey: dataKey.handle,
        items: entries.map(({ object, objectId }) => ({ handle: object.handle, aad: aadOf(group, objectId) })),
      });
      this.#dataKeys.push({ id: dataKeyId, ...this.#keepBlob(dataKey.blob) });
      entries.forEach(({ object, before, objectId }, index) => {
        const { ciphertext, valueTag } = sealed[index]!;
        this.#sealedObjects += 1;
        this.#add(object, {
          ...this.#entryOf(object, before, this.#keepBlob(ciphertext)),
          objectId,
          dataKeyId,
          valueTag,
        });
      });
    } finally {
      await provider.forget([dataKey.handle]);
    }
  }

  #keepBlob(blob: Uint8Array): { blobSha256: string; blobSize: number } {
    const blobSha256 = sha256Hex(blob);
    this.#blobs.set(blobSha256, blob);
    return { blobSha256, blobSize: blob.length };
  }

  /** Known, and its value cannot have changed: keeps blob and entry, unless an attribute that counts is another. */
  #keep(object: ObservedObject, before: Entry): void {
    if (!differs(object, before)) this.#add(object, before);
    else {
      const { blobSha256, blobSize, dataKeyId, valueTag } = before;
      this.#add(object, {
        ...this.#entryOf(object, before, { ...(blobSha256 === undefined ? {} : { blobSha256 }), blobSize }),
        ...(dataKeyId === undefined ? {} : { dataKeyId }),
        ...(valueTag === undefined ? {} : { valueTag }),
      });
    }
  }

  #entryOf(object: ObservedObject, before: Entry | undefined, blob: { blobSha256?: string; blobSize?: number }): Entry {
    const objectClass = object.objectClass as ObjectClass;
    const publicHalf = before?.publicHalf ?? object.publicHalf;
    // A secret whose length the token does not tell: RFC 5649 gives it, rounded up to 8 bytes (AES keys are multiples).
    const sizeBits =
      before?.sizeBits || object.sizeBits || (object.keyType === 'aes' && blob.blobSize ? (blob.blobSize - 8) * 8 : 0);
    return {
      objectId: before?.objectId ?? this.#newObjectId(),
      objectClass,
      ...(object.keyType === undefined || object.keyType === 'unsupported' ? {} : { keyType: object.keyType }),
      sizeBits,
      attributes: carriedForward(object, before),
      ...(publicHalf === undefined ? {} : { publicHalf }),
      ...(blob.blobSha256 === undefined ? {} : { blobSha256: blob.blobSha256 }),
      blobSize: blob.blobSize ?? 0,
    };
  }

  #add(object: ObservedObject, entry: Entry): void {
    this.#entries.push(entry);
    this.#known.set(object.handle, { objectId: entry.objectId, readDigest: object.readDigest });
  }

  #leaveOut(object: ObservedObject, reason: UncapturedReason): void {
    const { objectClass, keyType } = object;
    this.#uncaptured.push({ objectId: '', objectClass, ...(keyType === undefined ? {} : { keyType }), reason });
    this.#leftOut.push(object);
  }
  readonly #leftOut: ObservedObject[] = [];

  /** Uncaptured objects are named by a keyed tag of what can be read of them: stable, and it tells nothing. */
  async #nameUncaptured(): Promise<void> {
    const seen = new Map<string, number>();
    const values = this.#leftOut.map((object) => {
      const { objectClass, keyType, attributes, publicHalf } = object;
      const readable = Buffer.concat(
        [...(objectClass === 'other' ? [] : attributesOf(objectClass))].flatMap((name) =>
          attributes[name] === undefined ? [] : [Buffer.from(name), encodeAttribute(name, attributes[name])],
        ),
      );
      const value = Buffer.concat([
        Buffer.from(`${objectClass}:${keyType ?? ''}:`),
        publicHalf ?? new Uint8Array(),
        readable,
      ]);
      const copies = seen.get(hex(value)) ?? 0;
      seen.set(hex(value), copies + 1);
      return Buffer.concat([value, Uint8Array.of(copies & 0xff)]);
    });
    const tags = await this.#options.provider.tagBytes(this.#domainKey().handle, values);
    this.#leftOut.forEach((object, index) => {
      const objectId = hex(tags[index]!.subarray(0, OBJECT_ID_BYTES));
      this.#uncaptured[index] = { ...this.#uncaptured[index]!, objectId };
      this.#known.set(object.handle, { objectId, readDigest: object.readDigest });
    });
  }

  #tombstones(absent: readonly Entry[], deletedMs: number): Tombstone[] {
    const before = this.#previous?.tombstones ?? [];
    const captured = new Set(this.#entries.map(({ objectId }) => objectId));
    const kept = before.filter(({ entry }) => !captured.has(entry.objectId));
    const old = new Set(before.map(({ entry }) => entry.objectId));
    const { epoch, number } = this.#options;
    const added = absent
      .filter(({ objectId }) => !old.has(objectId))
      .map((entry) => ({ entry, epoch, generation: number, deletedMs }));
    return [...kept, ...added];
  }

  #usedDataKeys(): DataKey[] {
    const used = new Set(this.#entries.map(({ dataKeyId }) => dataKeyId));
    return [...(this.#isReseal ? [] : (this.#previous?.dataKeys ?? [])), ...this.#dataKeys].filter(({ id }) =>
      used.has(id),
    );
  }

  #newObjectId(): ObjectId {
    return hex(this.#options.prng.bytes(OBJECT_ID_BYTES));
  }
}

const OBJECT_ID_BYTES = 16;

/** Whether an attribute that counts is another than in the entry. A replica that is sensitive is narrowed, not changed. */
function differs(object: ObservedObject, before: Entry): boolean {
  const objectClass = before.objectClass;
  const seen = comparableAttributes({ objectClass, attributes: object.attributes });
  const known = comparableAttributes(before);
  for (const name of new Set([...seen.keys(), ...known.keys()])) {
    const [now, then] = [seen.get(name), known.get(name)];
    if (now === undefined || then === undefined || Buffer.compare(now, then) !== 0) return true;
  }
  return DATES.some(
    (name) => object.attributes[name] !== undefined && object.attributes[name] !== before.attributes[name],
  );
}

const DATES = ['startDate', 'endDate'] as const;

/** What is portable as read now; what a token cannot read back as the first source gave it. */
function carriedForward(object: ObservedObject, before: Entry | undefined): Attributes {
  if (before === undefined) return object.attributes;
  const attributes: Attributes = { ...object.attributes };
  for (const name of attributesOf(before.objectClass)) {
    const value = before.attributes[name];
    if (value === undefined || ATTRIBUTES[name].fate !== 'carried') continue;
    const isReadableDate = (DATES as readonly string[]).includes(name) && object.attributes[name] !== undefined;
    if (!isReadableDate) setAttribute(attributes, name, value);
  }
  if (before.attributes.sensitive === false) attributes.sensitive = false;
  return attributes;
}

/** Whether a new generation says anything new: its number, time and previous digest alone do not. */
function hasChanged(previous: Generation, next: Generation): boolean {
  const contents = (generation: Generation): string =>
    sha256Hex(
      encodeManifest({
        ...generation,
        epoch: 0n,
        number: 0n,
        previousDigest: '',
        captureStartedMs: 0,
        source: { serial: '', manufacturer: '', model: '', firmware: '', identitySha256: '' },
      }),
    );
  return contents(previous) !== contents(next);
}

/** Shell pattern with `*` and `?`, matched in linear time: the pattern is an operator's, the label anybody's. */
export function matchesPattern(text: string, pattern: string): boolean {
  let [at, star, mark, index] = [0, -1, 0, 0];
  while (index < text.length) {
    if (at < pattern.length && (pattern[at] === '?' || pattern[at] === text[index]) && pattern[at] !== '*') {
      at += 1;
      index += 1;
    } else if (pattern[at] === '*') {
      star = at;
      mark = index;
      at += 1;
    } else if (star !== -1) {
      at = star + 1;
      mark += 1;
      index = mark;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}
