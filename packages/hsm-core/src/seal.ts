/**
 * Captures a partition into a generation: one inventory pass, a second one where something is new, and then only what is
 * new or changed is wrapped. What did not change keeps its entry and blob byte for byte, also when another member captured
 * it before. What was captured once is never dropped because the token would not give it again: it leaves by the group's
 * filter, or as a tombstone when two looks did not see it; and where all is sealed anew under another domain key, what the
 * token does not wrap any more leaves by name.
 *
 * Does not store or send anything, and knows no roles: the agent journals, fences and decides when (I1, I2).
 */
import { bytesEqual, type Clock, hex, type Prng, sha256Hex } from '@antipode/runtime';
import { inBatches } from './batches.ts';
import { differs, entryOf, type Sealed } from './entry.ts';
import { isExcluded, type ObjectFilter } from './filter.ts';
import type { Keyring } from './keyring.ts';
import { attributesOf, encodeAttribute } from './model/attributes.ts';
import {
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
import { type Handle, isWrapped, type ObjectId, type ObservedObject, type UncapturedReason } from './model/object.ts';
import type { HsmProvider, SealedData } from './provider.ts';
import { aadOf, type Examined, examine, handlesOf, isPadded, pair, pairByResemblance } from './recognise.ts';

interface Known {
  readonly objectId: ObjectId;
  /** Empty where the object has to be looked at again. */
  readonly readDigest: string;
}

/**
 * Which handle is which object, in the generation that was captured last through one provider. It counts only while that
 * generation is the newest: one that was signed and then not stored leaves no trace here. Make a new one with a new provider.
 */
export class CaptureMemory {
  #generation: string | undefined;
  #known: ReadonlyMap<Handle, Known> = new Map();

  /** What is known of the objects of a generation: nothing, unless it is the one remembered. */
  of(generation: string | undefined): ReadonlyMap<Handle, Known> {
    return generation === this.#generation ? this.#known : new Map();
  }

  remember(generation: string, known: ReadonlyMap<Handle, Known>): void {
    this.#generation = generation;
    this.#known = known;
  }

  /** The partition was changed by an apply: objects are recognised anew next time. */
  forget(): void {
    this.#known = new Map();
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
  /** By this site's clock, also when nothing changed. */
  readonly captureStartedMs: number;
  /** Objects that were wrapped or encrypted anew. */
  readonly sealedObjects: number;
  /** Absent when nothing changed since the generation before, of the same tenure. */
  readonly sealed?: SealedGeneration;
  /** New blobs by SHA-256, hexadecimal. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

/** @throws DOMAIN_KEY_MISSING, HSM_WORKER_LOST, HSM_UNAVAILABLE, HSM_REFUSED, and what `checkFence` throws */
export async function seal(options: SealOptions): Promise<SealResult> {
  return new Capture(options).run();
}

/** An object as it is seen, and as it was captured before. */
interface Candidate {
  readonly one: Examined;
  readonly before: Entry | undefined;
  /** Settled is what was read twice alike; vanished what only the first look saw. */
  readonly look: 'settled' | 'settling' | 'vanished';
}

class Capture {
  readonly #options: SealOptions;
  readonly #previous: Generation | undefined;
  readonly #remembered: ReadonlyMap<Handle, Known>;
  readonly #live: ReadonlySet<Entry>;
  readonly #buried: ReadonlyMap<Entry, Tombstone>;
  readonly #isReseal: boolean;
  /** A tenure begins with a generation of its own, signed by its active member, also when nothing changed. */
  readonly #isFirstOfTenure: boolean;
  readonly #entries: Entry[] = [];
  readonly #leftOut: { object: ObservedObject; reason: UncapturedReason; objectId: ObjectId | undefined }[] = [];
  readonly #dataKeys: DataKey[] = [];
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #known = new Map<Handle, Known>();
  #sealedObjects = 0;

  constructor(options: SealOptions) {
    this.#options = options;
    this.#previous = options.previous?.generation;
    this.#remembered = options.memory.of(options.previous?.digest);
    this.#live = new Set(this.#previous?.entries);
    this.#buried = new Map(this.#previous?.tombstones.map((tombstone) => [tombstone.entry, tombstone]));
    this.#isReseal = this.#previous !== undefined && this.#previous.domainKeyVersion !== options.domainKeyVersion;
    this.#isFirstOfTenure = this.#previous?.epoch !== options.epoch;
  }

  async run(): Promise<SealResult> {
    const { provider, keyring, clock, memory, previous } = this.#options;
    const captureStartedMs = clock.wallMs();
    const unchanged = { captureStartedMs, sealedObjects: 0, blobs: new Map() };
    const first = await this.#scan();
    if (this.#isQuiet(first)) return unchanged;

    // New or changed: counts only when two reads, 250 ms apart at least, are equal (another process may be making it).
    // Gone counts only when neither sees it.
    const second = await this.#scan();
    const firstDigests = new Map(first.map(({ handle, readDigest }) => [handle, readDigest]));
    const secondHandles = new Set(handlesOf(second));
    const vanished = first.filter(({ handle }) => !secondHandles.has(handle));
    const seen = [...(await this.#examineAll(second)), ...vanished.map((object) => ({ object }))];
    const { matched, absent } = this.#match(seen);
    const candidates = seen.map((one): Candidate => {
      const { handle, readDigest } = one.object;
      const look = !secondHandles.has(handle)
        ? 'vanished'
        : firstDigests.get(handle) === readDigest
          ? 'settled'
          : 'settling';
      return { one, before: matched.get(handle), look };
    });
    await this.#capture(candidates.filter(({ before, look }) => before !== undefined || look !== 'vanished'));
    const tombstones = this.#tombstones(absent, captureStartedMs);
    const uncaptured = await this.#nameLeftOut();

    const { serial, manufacturer, model, firmware } = await provider.describe();
    const generation: Generation = {
      group: this.#options.group,
      domainKeyVersion: this.#options.domainKeyVersion,
      domainKeyCheckTag: this.#domainKey().checkTag,
      epoch: this.#options.epoch,
      number: this.#options.number,
      previousDigest: previous?.digest ?? '',
      captureStartedMs,
      source: { serial, manufacturer, model, firmware, identitySha256: keyring.identity.sha256 },
      dataKeys: this.#usedDataKeys(),
      entries: this.#entries,
      uncaptured,
      tombstones,
    };
    if (
      previous !== undefined &&
      !this.#isFirstOfTenure &&
      !this.#isReseal &&
      isSame(previous.generation, generation)
    ) {
      memory.remember(previous.digest, this.#known);
      return unchanged;
    }
    this.#options.checkFence();
    const manifest = encodeManifest(generation);
    const signature = await provider.signAsIdentity(keyring.identity.handle, signingInput(manifest));
    const sealed = sealedGeneration({ generation, manifest, signature, signer: keyring.identity.publicHalf });
    memory.remember(sealed.digest, this.#known);
    return { captureStartedMs, sealedObjects: this.#sealedObjects, sealed, blobs: this.#blobs };
  }

  #domainKey() {
    return this.#options.keyring.domainKey(this.#options.group, this.#options.domainKeyVersion);
  }

  async #scan(): Promise<ObservedObject[]> {
    const own = this.#options.keyring.ownHandles;
    return (await this.#options.provider.inventory()).filter(({ handle }) => !own.has(handle));
  }

  /** Every object is there, is read as it was, and is in or out by the group's filter as it was. */
  #isQuiet(objects: readonly ObservedObject[]): boolean {
    if (this.#previous === undefined || this.#isReseal || this.#isFirstOfTenure) return false;
    const reasons = new Map(this.#previous.uncaptured.map(({ objectId, reason }) => [objectId, reason]));
    return (
      objects.length === this.#remembered.size &&
      objects.every((object) => {
        const known = this.#remembered.get(object.handle);
        return (
          known?.readDigest === object.readDigest &&
          isExcluded(object, this.#options.filter) === (reasons.get(known.objectId) === 'excluded')
        );
      })
    );
  }

  /** Wraps what must be wrapped to be recognised: under the version of the generation before. */
  async #examineAll(objects: readonly ObservedObject[]): Promise<Examined[]> {
    const { provider, keyring, group, domainKeyVersion } = this.#options;
    const version = this.#previous?.domainKeyVersion ?? domainKeyVersion;
    return examine(provider, { domainKey: keyring.domainKey(group, version).handle, objects });
  }

  /** By handle where we know it, then by value; at last by what it resembles, so that nothing is lost that only does not answer. */
  #match(present: readonly Examined[]): { matched: Map<Handle, Entry>; absent: Entry[] } {
    const byId = new Map([...this.#live, ...this.#buried.keys()].map((entry) => [entry.objectId, entry]));
    const matched = new Map<Handle, Entry>();
    for (const { object } of present) {
      const known = this.#remembered.get(object.handle);
      const entry = known && byId.get(known.objectId);
      if (entry === undefined) continue;
      matched.set(object.handle, entry);
      byId.delete(entry.objectId);
    }
    const byValue = pair(
      present.filter(({ object }) => !matched.has(object.handle)),
      [...byId.values()],
    );
    const alike = pairByResemblance(
      byValue.unmatched,
      byValue.absent.filter((entry) => this.#live.has(entry)),
    );
    const kept = new Set(alike.values());
    return {
      matched: new Map([...matched, ...byValue.matched, ...alike]),
      absent: byValue.absent.filter((entry) => !kept.has(entry)),
    };
  }

  async #capture(candidates: readonly Candidate[]): Promise<void> {
    const toWrap: Candidate[] = [];
    const toEncrypt: Candidate[] = [];
    for (const candidate of candidates) {
      const { before } = candidate;
      const { object } = candidate.one;
      const reason = this.#reasonAgainst(candidate);
      if (before !== undefined && reason !== 'excluded' && !this.#mustSeal(candidate, reason))
        this.#keep(candidate, before, reason);
      else if (reason !== undefined) this.#leaveOut(object, reason, before);
      else if (isWrapped(object.objectClass)) toWrap.push(candidate);
      else if (object.objectClass === 'data') toEncrypt.push(candidate);
      else this.#add(candidate, this.#entryOf(candidate, {}));
    }
    await this.#wrapAll(toWrap);
    await this.#encryptAll(toEncrypt);
  }

  /** Whether what is sealed of it cannot serve: the key is retired, it was buried and is back, or data has another value. */
  #mustSeal({ one: { valueTag }, before, look }: Candidate, reason: UncapturedReason | undefined): boolean {
    if (this.#isReseal || before === undefined || !this.#live.has(before)) return true;
    if (reason === 'too-large') return false;
    if (look !== 'settled' || valueTag === undefined || before.valueTag === undefined) return false;
    return !bytesEqual(valueTag, before.valueTag);
  }

  /** Captured before, and what is sealed of it still serves. A refusal that is more than a hiccup is told. */
  #keep(candidate: Candidate, before: Entry, reason: UncapturedReason | undefined): void {
    const { object } = candidate.one;
    if (candidate.look !== 'settled' || reason !== undefined) {
      this.#add(candidate, before);
      if (reason !== undefined && reason !== 'unreadable') this.#leaveOut(object, reason, before);
    } else if (!differs(object, before)) this.#add(candidate, before);
    else {
      const { blobSha256, blobSize, dataKeyId, valueTag } = before;
      const sealed: Sealed = {
        blobSize,
        ...(blobSha256 === undefined ? {} : { blobSha256 }),
        ...(dataKeyId === undefined ? {} : { dataKeyId }),
        ...(valueTag === undefined ? {} : { valueTag }),
      };
      this.#add(candidate, entryOf({ object, objectId: before.objectId, before, sealed }));
    }
  }

  #reasonAgainst({ one, before, look }: Candidate): UncapturedReason | undefined {
    const { object, refusal } = one;
    const { objectClass, keyType, attributes, sizeBits } = object;
    if (isExcluded(object, this.#options.filter)) return 'excluded';
    if (before !== undefined && this.#isKeptTombstone(before)) return 'deleted';
    const isKnown = before !== undefined && this.#live.has(before);
    if (look !== 'settled' && !isKnown) return 'settling';
    if (look === 'vanished' && this.#isReseal) return 'settling';
    if (objectClass === 'other') return 'unsupported-type';
    if (objectClass === 'public-key' && keyType !== 'unsupported' && object.publicHalf === undefined)
      return 'unsupported-type';
    if (objectClass === 'certificate' && attributes.value === undefined) return 'unreadable';
    if (keyType === 'unsupported') return attributes.extractable === false ? 'unextractable' : 'unsupported-type';
    if (object.hasTemplate) return 'unsupported-attribute';
    if ((object.valueBytes ?? 0) > DATA_BYTES_MAX) return 'too-large';
    if (!isWrapped(objectClass)) return undefined;
    if (attributes.extractable !== true) return 'unextractable';
    if (attributes.wrapWithTrusted === true) return 'wrap-with-trusted';
    if (refusal !== undefined) return refusal;
    if (isPadded(object)) return 'length-not-multiple-of-8';
    if (keyType === 'generic-secret' && sizeBits === 0 && before === undefined) return 'length-unknown';
    return undefined;
  }

  /** Deleted under an earlier active member, and kept here only because a delete must not travel fast. */
  #isKeptTombstone(entry: Entry): boolean {
    const tombstone = this.#buried.get(entry);
    return tombstone !== undefined && tombstone.epoch < this.#options.epoch;
  }

  async #wrapAll(candidates: readonly Candidate[]): Promise<void> {
    const outcomes = await this.#options.provider.wrap(
      this.#domainKey().handle,
      candidates.map(({ one }) => one.object.handle),
    );
    candidates.forEach((candidate, index) => {
      const outcome = outcomes[index]!;
      if (!('blob' in outcome)) {
        this.#leaveOut(candidate.one.object, outcome.reason, candidate.before);
        return;
      }
      this.#sealedObjects += 1;
      this.#add(candidate, this.#entryOf(candidate, this.#keepBlob(outcome.blob)));
    });
  }

  async #encryptAll(candidates: readonly Candidate[]): Promise<void> {
    if (candidates.length === 0) return;
    const { provider, prng, group } = this.#options;
    const domainKey = this.#domainKey().handle;
    const dataKey = await provider.generateDataKey(domainKey);
    const dataKeyId = hex(prng.bytes(OBJECT_ID_BYTES));
    const named = candidates.map((candidate) => ({
      candidate,
      objectId: candidate.before?.objectId ?? this.#newObjectId(),
    }));
    try {
      const sealed: SealedData[] = [];
      for (const batch of inBatches(named, ({ candidate }) => candidate.one.object.valueBytes ?? 0)) {
        const items = batch.map(({ candidate, objectId }) => ({
          handle: candidate.one.object.handle,
          aad: aadOf(group, objectId),
        }));
        sealed.push(...(await provider.sealData({ domainKey, dataKey: dataKey.handle, items })));
      }
      this.#dataKeys.push({ id: dataKeyId, ...this.#keepBlob(dataKey.blob) });
      named.forEach(({ candidate, objectId }, index) => {
        const { ciphertext, valueTag } = sealed[index]!;
        this.#sealedObjects += 1;
        const entry = this.#entryOf(candidate, { ...this.#keepBlob(ciphertext), dataKeyId, valueTag }, objectId);
        this.#add(candidate, entry);
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

  #entryOf(
    { one: { object }, before, look }: Candidate,
    sealed: Sealed,
    objectId = before?.objectId ?? this.#newObjectId(),
  ): Entry {
    // What is not settled keeps the attributes that it was captured with.
    if (before !== undefined && look !== 'settled') return { ...before, ...sealed };
    return entryOf({ object, objectId, before, sealed });
  }

  #add({ one: { object }, look }: Candidate, entry: Entry): void {
    this.#entries.push(entry);
    const readDigest = look === 'settled' ? object.readDigest : '';
    this.#known.set(object.handle, { objectId: entry.objectId, readDigest });
  }

  #leaveOut(object: ObservedObject, reason: UncapturedReason, before: Entry | undefined): void {
    this.#leftOut.push({ object, reason, objectId: before?.objectId });
  }

  /** What was never captured is named by a keyed tag of what can be read of it: stable, and it tells nothing. */
  async #nameLeftOut(): Promise<Uncaptured[]> {
    const seen = new Map<string, number>();
    const unnamed = this.#leftOut.filter(({ objectId }) => objectId === undefined);
    const values = unnamed.map(({ object }) => {
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
      const copy = Buffer.alloc(4);
      copy.writeUInt32BE(copies);
      return Buffer.concat([value, copy]);
    });
    const tags = await this.#options.provider.tagBytes(this.#domainKey().handle, values);
    const names = new Map(unnamed.map(({ object }, index) => [object, hex(tags[index]!.subarray(0, OBJECT_ID_BYTES))]));
    return this.#leftOut.map(({ object, reason, objectId = names.get(object)! }) => {
      const { handle, objectClass, keyType, readDigest } = object;
      if (!this.#known.has(handle))
        this.#known.set(handle, { objectId, readDigest: reason === 'settling' ? '' : readDigest });
      return { objectId, objectClass, ...(keyType === undefined ? {} : { keyType }), reason };
    });
  }

  #tombstones(absent: readonly Entry[], deletedMs: number): Tombstone[] {
    const captured = new Set(this.#entries.map(({ objectId }) => objectId));
    const kept = [...this.#buried.values()].filter(({ entry }) => !captured.has(entry.objectId));
    const { epoch, number } = this.#options;
    const added = absent
      .filter((entry) => this.#live.has(entry))
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

/** Of a data object. A larger one would not fit the messages between agents, and with it no generation that has it. */
export const DATA_BYTES_MAX = 4 * 1024 * 1024;

/** Whether a new generation says nothing new. What did not change is the same entry, not an equal one. */
function isSame(previous: Generation, next: Generation): boolean {
  const tombstones = new Set(previous.tombstones);
  const entries = new Set(previous.entries);
  const uncaptured = new Set(previous.uncaptured.map(({ objectId, reason }) => `${objectId} ${reason}`));
  return (
    next.entries.length === entries.size &&
    next.entries.every((entry) => entries.has(entry)) &&
    next.tombstones.length === tombstones.size &&
    next.tombstones.every((tombstone) => tombstones.has(tombstone)) &&
    next.uncaptured.length === uncaptured.size &&
    next.uncaptured.every(({ objectId, reason }) => uncaptured.has(`${objectId} ${reason}`))
  );
}
