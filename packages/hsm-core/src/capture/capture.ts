/**
 * Captures a partition into a generation: one look at everything, a second one at what is new, changed or missing, and then
 * only what is new or changed is wrapped. What did not change keeps its entry and blob byte for byte, also when another
 * member captured it before. What was captured once is never dropped because the token would not give it again: it leaves
 * by the group's filter, or as a tombstone when two looks did not see it; and where all is sealed anew under another domain
 * key, what the token does not wrap any more leaves by name.
 *
 * Does not store or send anything, and knows no roles: the agent journals, fences and decides when (I1, I2).
 */
import { bytesEqual, type Clock, hex, Pace, type Prng, runInSlices, sha256Hex } from '@antipode/runtime';
import type { Keyring } from '../domain-key/keyring.ts';
import {
  blobsOfTombstone,
  type DataKey,
  type Entry,
  type Generation,
  type SealedGeneration,
  type Tombstone,
  type Uncaptured,
} from '../model/generation.ts';
import { writingManifest } from '../model/manifest.ts';
import {
  type Handle,
  isWrapped,
  OBJECT_ID_BYTES,
  type ObjectId,
  type ObservedObject,
  type UncapturedReason,
} from '../model/object.ts';
import { sealingSigned, signingInput } from '../model/signed-manifest.ts';
import { inBatches } from '../provider/batches.ts';
import type { HsmProvider, SealedData, WrapOutcome } from '../provider/provider.ts';
import {
  aadOf,
  type Examined,
  examine,
  handlesOf,
  hasValueOf,
  isKnownByDomainKey,
  knowableByDomainKey,
  pairing,
  typesByBlob,
} from '../provider/recognise.ts';
import { proofItem } from '../replica/read-back.ts';
import type { CaptureMemory, Remembered } from './capture-memory.ts';
import { differs, entryOf, type Sealed } from './entry.ts';
import { isExcluded, type ObjectFilter } from './filter.ts';
import { pairNamesakes } from './namesakes.ts';
import { nameUncaptured, reasonOf, SHOWN_BYTES_MAX, shownBytes, type UncapturedObject } from './uncaptured.ts';

export interface CaptureOptions {
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
  /** Captured elsewhere, and not taken by this token: nobody has deleted them. */
  readonly unrestored?: ReadonlySet<ObjectId>;
  /** Blobs of the generation before, by SHA-256, that no store has any more: what they held is sealed anew. */
  readonly lost?: ReadonlySet<string>;
  /** How long what is deleted is kept sealed by every member, at least. */
  readonly retentionMs?: number;
  /** What is deleted for longer than that, by this site's own account. */
  readonly isExpired?: (tombstone: Tombstone) => boolean;
  /** Whether objects were ever restored into this partition. */
  readonly hasRestored?: boolean;
  /** Objects of which an operator accepts that they are gone, or have another value now. */
  readonly accepted?: ReadonlySet<ObjectId>;
  /** Deleted objects that an operator has brought back since the capture before. */
  readonly restored?: ReadonlySet<ObjectId>;
  /** How many objects one capture may lose before a person is asked. */
  readonly lossLimit?: LossLimit;
  /** How much certificates and public keys may take in one manifest; {@link SHOWN_BYTES_MAX} where nothing is said. */
  readonly shownBytesMax?: number;
  /** Called right before the manifest is signed; throws when the tenure is over (I2). */
  readonly checkFence: () => void;
}

export interface CaptureResult {
  /** By this site's clock, also when nothing changed. */
  readonly captureStartedMs: number;
  /** Objects that were wrapped or encrypted anew. */
  readonly sealedObjects: number;
  /** Absent when nothing changed since the generation before, of the same tenure; and when the capture is held. */
  readonly sealed?: SealedGeneration;
  /**
   * More would be lost than one capture may: the token was emptied or initialised anew, or everything in it changed at once.
   * Nothing was sealed; an operator decides.
   */
  readonly held?: { readonly losses: readonly Loss[]; readonly limit: number };
  /** Of what was read in this capture: attributes that no replica gets. What is not in it is as it was. */
  readonly notCarried: ReadonlyMap<ObjectId, readonly string[]>;
  /** New blobs by SHA-256, hexadecimal. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

/** The larger of the two counts. */
export interface LossLimit {
  readonly objects: number;
  readonly percent: number;
}

export const LOSS_LIMIT: LossLimit = { objects: 5, percent: 10 };

/** Why a capture would lose an object that the generation before protects; `replaced` under its own names, by another key. */
export type LossReason = 'deleted' | 'replaced' | UncapturedReason;

export interface Loss {
  readonly objectId: ObjectId;
  readonly reason: LossReason;
}

/** What a group says that says nothing: a month, in which somebody should have missed a key. */
export const RETENTION_MS = 30 * 86_400_000;

/** @throws DOMAIN_KEY_MISSING, HSM_WORKER_LOST, HSM_UNAVAILABLE, HSM_REFUSED, and what `checkFence` throws */
export async function captureGeneration(options: CaptureOptions): Promise<CaptureResult> {
  return new Capture(options).run();
}

/** An object as it is seen, and as it was captured before. */
interface Candidate {
  readonly one: Examined;
  readonly before: Entry | undefined;
  /** Settled is what was read twice alike; vanished what only the first look saw. */
  readonly look: 'settled' | 'settling' | 'vanished';
  /** It has the names of the captured object, and another value. */
  readonly isChanged?: boolean;
}

/** A {@link Look}, as a capture goes through it. */
interface Seen {
  readonly number: number;
  readonly handles: ReadonlySet<Handle>;
  readonly objects: readonly ObservedObject[];
}

class Capture {
  readonly #options: CaptureOptions;
  readonly #previous: Generation | undefined;
  readonly #remembered: Remembered | undefined;
  /** What decides which objects are taken, beside the objects: the filter, and whether there is a trusted key. */
  readonly #filter: string;
  readonly #live: ReadonlyMap<ObjectId, Entry>;
  readonly #buried: ReadonlyMap<Entry, Tombstone>;
  readonly #isReseal: boolean;
  /** A tenure begins with a generation of its own, signed by its active member, also when nothing changed. */
  readonly #isFirstOfTenure: boolean;
  readonly #entries: Entry[] = [];
  readonly #leftOut: UncapturedObject[] = [];
  /** Captured objects that went while all was sealed anew. */
  readonly #deleted: Entry[] = [];
  readonly #doubtful: (Candidate & { before: Entry })[] = [];
  readonly #dataKeys: DataKey[] = [];
  readonly #blobs = new Map<string, Uint8Array>();
  /** What the token gave before it was known whether it would be needed. */
  readonly #wraps = new Map<Handle, WrapOutcome>();
  readonly #uncaptured: Uncaptured[] = [];
  readonly #known = new Map<Handle, ObjectId>();
  /** Objects with the names of a captured one and another value. */
  readonly #changed = new Set<Handle>();
  readonly #notCarried = new Map<ObjectId, readonly string[]>();
  #reusesHandles = false;
  #byBlob: ReturnType<typeof typesByBlob> | undefined;
  readonly #pace = new Pace();
  #sealedObjects = 0;
  /** Of certificates and public keys, so far. */
  #shownBytes: number | undefined;

  constructor(options: CaptureOptions) {
    this.#options = options;
    this.#previous = options.previous?.generation;
    this.#remembered = options.memory.of(options.previous?.digest);
    this.#filter = JSON.stringify([options.filter, this.#hasTrusted]);
    this.#live = new Map(this.#previous?.entries.map((entry) => [entry.objectId, entry]));
    this.#buried = new Map(this.#previous?.tombstones.map((tombstone) => [tombstone.entry, tombstone]));
    this.#isReseal = this.#previous !== undefined && this.#previous.domainKeyVersion !== options.domainKeyVersion;
    this.#isFirstOfTenure = this.#previous?.epoch !== options.epoch;
  }

  async run(): Promise<CaptureResult> {
    const { provider, keyring, clock, memory, previous } = this.#options;
    const captureStartedMs = clock.wallMs();
    const notCarried = this.#notCarried;
    const unchanged = { captureStartedMs, sealedObjects: 0, blobs: new Map(), notCarried };
    const { serial, manufacturer, model, firmware, reusesHandles } = await provider.describe();
    this.#reusesHandles = reusesHandles === true;
    const { first, isRoutine } = await this.#firstLook();
    if (isRoutine && this.#isQuiet(first) && !this.#mayForget()) return unchanged;

    const carried = isRoutine ? await this.#carry(first) : new Set<ObjectId>();
    // The token gives what will be needed while the second look waits: it lies between two equal reads then.
    const examined = [...(await this.#examine(first.objects)), ...(await this.#readUnnamed(first))];
    await this.#wrapAhead(examined);
    const seen = await this.#lookAgain(first, examined);
    const { matched, absent } = await this.#match(
      seen.map(({ one }) => one),
      { carried, present: first.handles },
    );
    const candidates = seen.map(({ one, look }): Candidate => {
      const { handle } = one.object;
      return { one, look, before: matched.get(handle), isChanged: this.#changed.has(handle) };
    });
    await this.#capture(candidates.filter(({ before, look }) => before !== undefined || look !== 'vanished'));
    const missing = [...absent, ...(await this.#deletedMeanwhile())];
    const kept = this.#notDeleted(candidates, missing);
    const staying = new Set(kept);
    const gone = missing.filter((entry) => !staying.has(entry) && !this.#isUnrestored(entry));
    const held = await this.#held(gone, kept);
    if (held !== undefined) return { ...unchanged, held };
    this.#entries.push(...kept);
    const tombstones = this.#tombstones(gone, captureStartedMs);
    const uncaptured = [...this.#uncaptured, ...(await this.#nameUncaptured())];
    const remembered = { look: first.number, filter: this.#filter, objectIds: this.#known };

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
      memory.remember(previous.digest, remembered);
      return unchanged;
    }
    const manifest = await runInSlices(writingManifest(generation));
    this.#options.checkFence();
    const signature = await provider.signAsIdentity(keyring.identity.handle, signingInput(manifest));
    const signer = keyring.identity.publicHalf;
    const sealed = await runInSlices(sealingSigned({ generation, manifest, signature, signer }));
    memory.remember(sealed.digest, remembered);
    return { captureStartedMs, sealedObjects: this.#sealedObjects, sealed, blobs: this.#blobs, notCarried };
  }

  #domainKey() {
    return this.#options.keyring.domainKey(this.#options.group, this.#options.domainKeyVersion);
  }

  get #hasTrusted(): boolean {
    const { keyring, group, domainKeyVersion } = this.#options;
    return keyring
      .domainKeys(group)
      .some(({ version, trusted }) => version === domainKeyVersion && trusted !== undefined);
  }

  /** Without our own keys. */
  async #look(options: Parameters<HsmProvider['look']>[0]): Promise<Seen> {
    const own = this.#options.keyring.ownHandles;
    const { number, handles, objects } = await this.#options.provider.look(options);
    return {
      number,
      handles: new Set([...handles].filter((handle) => !own.has(handle))),
      objects: objects.filter(({ handle }) => !own.has(handle)),
    };
  }

  /** Routine is a look that only has to tell what has changed since the generation before, of the same tenure. */
  async #firstLook(): Promise<{ first: Seen; isRoutine: boolean }> {
    const remembered = this.#remembered;
    // What an operator has accepted or restored since lies in what did not change.
    const isAccepted = [...(this.#options.accepted ?? [])].some((objectId) => this.#live.has(objectId));
    const isRestored = [...this.#buried.keys()].some(({ objectId }) => this.#isBroughtBack(objectId));
    const isComparable =
      remembered !== undefined &&
      !isAccepted &&
      !isRestored &&
      !this.#options.lost?.size &&
      !this.#isReseal &&
      !this.#isFirstOfTenure &&
      remembered.filter === this.#filter;
    if (!isComparable) return { first: await this.#look({}), isRoutine: false };
    return { first: await this.#look({ since: remembered.look }), isRoutine: true };
  }

  /** Nothing is told, and what is there is what was there. The handles differ where the memory is another provider's. */
  #isQuiet({ handles, objects }: Seen): boolean {
    const known = this.#remembered?.objectIds;
    return objects.length === 0 && handles.size === known?.size && [...handles].every((handle) => known.has(handle));
  }

  /** Whether the retention of something deleted is over: a partition in which nothing changes says so too. */
  #mayForget(): boolean {
    const { isExpired = () => false } = this.#options;
    return [...this.#buried.values()].some((tombstone) => isExpired(tombstone));
  }

  /** Takes over what is captured and has not changed, without having it told. */
  async #carry(first: Seen): Promise<Set<ObjectId>> {
    const told = new Set(handlesOf(first.objects));
    const carried = new Set<ObjectId>();
    for (const handle of first.handles) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      const objectId = this.#remembered?.objectIds.get(handle);
      const entry = objectId === undefined || told.has(handle) ? undefined : this.#live.get(objectId);
      if (entry === undefined) continue;
      this.#entries.push(entry);
      this.#known.set(handle, entry.objectId);
      carried.add(entry.objectId);
    }
    this.#uncaptured.push(...(this.#previous?.uncaptured.filter(({ objectId }) => carried.has(objectId)) ?? []));
    return carried;
  }

  /**
   * What was never captured has its name from all of its likes: they are read, also where they did not change. What bears the
   * name of a deleted object must be recognised by its value once more, or it would pass for new.
   */
  async #readUnnamed(first: Seen): Promise<Examined[]> {
    const told = new Set(handlesOf(first.objects));
    const unnamed = [...first.handles].filter((handle) => !told.has(handle) && !this.#known.has(handle));
    const objects = (await this.#options.provider.read(unnamed)).filter((object) => object !== undefined);
    const buried = new Set([...this.#buried.keys()].map(({ objectId }) => objectId));
    const isBuried = ({ handle }: ObservedObject): boolean => buried.has(this.#remembered?.objectIds.get(handle) ?? '');
    const back = objects.filter(isBuried);
    const rest = objects.filter((object) => !isBuried(object)).map((object) => ({ object }));
    return back.length === 0 ? rest : [...(await this.#examine(back)), ...rest];
  }

  /**
   * Wraps and tags what must be to be recognised, under the version of the generation before. Also what has a handle that was
   * known: it is told because it is not what was read there before, and may be another object.
   */
  async #examine(objects: readonly ObservedObject[]): Promise<Examined[]> {
    const { provider, keyring, group, domainKeyVersion } = this.#options;
    const version = this.#previous?.domainKeyVersion ?? domainKeyVersion;
    this.#byBlob ??= typesByBlob([...this.#live.values(), ...this.#buried.keys()]);
    const domainKey = keyring.domainKey(group, version).handle;
    const examined = await examine(provider, { domainKey, objects, byBlob: this.#byBlob });
    if (version === domainKeyVersion)
      for (const { object, blob } of examined)
        if (blob !== undefined) this.#wraps.set(object.handle, { handle: object.handle, blob });
    return examined;
  }

  /** Wraps what is most likely new. Where nothing is remembered of a generation, most of it is not. */
  async #wrapAhead(examined: readonly Examined[]): Promise<void> {
    if (this.#previous !== undefined && this.#remembered === undefined) return;
    const handles = examined
      .filter(
        ({ object, refusal }) =>
          isWrapped(object.objectClass) &&
          refusal === undefined &&
          !this.#wraps.has(object.handle) &&
          this.#remembered?.objectIds.has(object.handle) !== true &&
          !isExcluded(object, this.#options.filter) &&
          reasonOf(object, { isNew: true, hasTrusted: this.#hasTrusted }) === undefined,
      )
      .map(({ object }) => object.handle);
    if (handles.length === 0) return;
    for (const outcome of await this.#options.provider.wrap(this.#domainKey().handle, handles))
      this.#wraps.set(outcome.handle, outcome);
  }

  /**
   * New or changed: counts only when two reads, 250 ms apart at least, are equal (another process may be making it). Gone
   * counts only when neither look sees it. Where handles are not known from before, what is missing can only be searched for.
   */
  async #lookAgain(first: Seen, examined: readonly Examined[]): Promise<{ one: Examined; look: Candidate['look'] }[]> {
    const handles = examined.map(({ object }) => object.handle);
    const missing = [...(this.#remembered?.objectIds.keys() ?? [])].filter((handle) => !first.handles.has(handle));
    const mustSearch = this.#live.size > 0 && this.#remembered === undefined;
    const second = await this.#look({
      since: first.number,
      ...(mustSearch ? {} : { handles: [...handles, ...missing] }),
    });
    const changed = new Map(second.objects.map((object) => [object.handle, object]));
    const again = examined.map((one) => {
      const { handle } = one.object;
      if (!second.handles.has(handle)) return { one, look: 'vanished' } as const;
      const object = changed.get(handle);
      // What tells nothing of its value is told at every look of a device that uses handles again.
      const isTheSame = this.#reusesHandles && object?.readDigest === one.object.readDigest;
      return object === undefined || isTheSame
        ? ({ one, look: 'settled' } as const)
        : ({ one: { ...one, object }, look: 'settling' } as const);
    });
    const before = new Set(handles);
    const fresh = second.objects.filter(({ handle }) => !before.has(handle));
    const late = fresh.length === 0 ? [] : await this.#examine(fresh);
    return [...again, ...late.map((one) => ({ one, look: 'settling' }) as const)];
  }

  /** By value, where several have it by handle first; at last by names, so that nothing is lost that only does not answer. */
  async #match(
    seen: readonly Examined[],
    { carried, present }: { carried: ReadonlySet<ObjectId>; present: ReadonlySet<Handle> },
  ): Promise<{ matched: Map<Handle, Entry>; absent: Entry[] }> {
    const byId = new Map([...this.#live.values(), ...this.#buried.keys()].map((entry) => [entry.objectId, entry]));
    for (const objectId of carried) byId.delete(objectId);
    const matched = new Map<Handle, Entry>();
    for (const one of seen) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      const { object } = one;
      const objectId = this.#remembered?.objectIds.get(object.handle);
      const entry = objectId === undefined ? undefined : byId.get(objectId);
      if (entry === undefined || !hasValueOf(one, entry)) continue;
      matched.set(object.handle, entry);
      byId.delete(entry.objectId);
    }
    const byValue = await runInSlices(
      pairing(
        seen.filter(({ object }) => !matched.has(object.handle)),
        [...byId.values()],
      ),
    );
    const buried = await this.#matchBuried(
      byValue.unmatched,
      byValue.absent.filter((entry) => !this.#isLive(entry)),
    );
    const alike = this.#matchNamesakes(
      byValue.unmatched.filter(({ object }) => !buried.has(object.handle)),
      { absent: byValue.absent.filter((entry) => this.#isLive(entry)), present },
    );
    const kept = new Set([...buried.values(), ...alike.values()]);
    return {
      matched: new Map([...matched, ...byValue.matched, ...buried, ...alike]),
      absent: byValue.absent.filter((entry) => !kept.has(entry)),
    };
  }

  /**
   * What was deleted before the domain key changed is known by what it gives under the key of that time: its tombstone was
   * never sealed anew. Unrecognised, it would pass for new at a member that keeps it, and come back to life everywhere.
   */
  async #matchBuried(unmatched: readonly Examined[], buried: readonly Entry[]): Promise<Map<Handle, Entry>> {
    const { provider, keyring, group } = this.#options;
    const matched = new Map<Handle, Entry>();
    let entries = buried.filter((entry) => isKnownByDomainKey(entry));
    const byBlob = typesByBlob(entries);
    let objects = knowableByDomainKey(
      unmatched.map(({ object }) => object),
      byBlob,
    );
    for (const { handle, version } of keyring.domainKeys(group)) {
      if (version === this.#previous?.domainKeyVersion) continue;
      if (entries.length === 0 || objects.length === 0) break;
      const found = await runInSlices(
        pairing(await examine(provider, { domainKey: handle, objects, byBlob }), entries),
      );
      for (const [one, entry] of found.matched) matched.set(one, entry);
      entries = found.absent;
      objects = found.unmatched.map(({ object }) => object);
    }
    return matched;
  }

  /** Those that are still the captured object, or may be; an operator may have said that it is another one. */
  #matchNamesakes(
    unmatched: readonly Examined[],
    { absent, present }: { absent: readonly Entry[]; present: ReadonlySet<Handle> },
  ): Map<Handle, Entry> {
    const { accepted, hasRestored = false } = this.#options;
    const paired = pairNamesakes(
      unmatched,
      absent.filter(({ objectId }) => accepted?.has(objectId) !== true),
      {
        handles: this.#remembered?.objectIds,
        present,
        reusesHandles: this.#reusesHandles,
        hasRestored,
      },
    );
    for (const [handle, { verdict }] of paired) if (verdict === 'changed') this.#changed.add(handle);
    return new Map([...paired].map(([handle, { entry }]) => [handle, entry]));
  }

  /** What this capture would lose of what the generation before protects, where that is more than it may. */
  async #held(absent: readonly Entry[], hidden: readonly Entry[]): Promise<CaptureResult['held']> {
    const { accepted = new Set(), lossLimit = LOSS_LIMIT } = this.#options;
    const names = await this.#namesOf(absent.length === 0 ? [] : this.#entries);
    const before = new Set(this.#previous?.uncaptured.map(({ objectId }) => objectId));
    // A certificate that is renewed, its public half or data with another value replace nothing that is secret.
    const gone = absent.flatMap((entry): Loss[] => {
      const isReplaced = names.has(namesOf(entry));
      if (!this.#isLive(entry) || !countsAsLoss(entry) || (isReplaced && !isWrapped(entry.objectClass))) return [];
      return [{ objectId: entry.objectId, reason: isReplaced ? 'replaced' : 'deleted' }];
    });
    const refused = this.#leftOut.flatMap(({ objectId, reason }): Loss[] => {
      const entry = objectId === undefined ? undefined : this.#live.get(objectId);
      if (entry === undefined || !countsAsLoss(entry) || before.has(entry.objectId) || reason === 'excluded') return [];
      return [{ objectId: entry.objectId, reason }];
    });
    const losses = [...gone, ...refused].filter(({ objectId }) => !accepted.has(objectId));
    const counted = await this.#countLosses();
    const limit = Math.max(lossLimit.objects, Math.floor((counted * lossLimit.percent) / 100));
    // Sealed anew under another key, a damaged object would leave the generations, and its sound copies with it.
    // So would a key that only a trusted key may wrap, while the officer does not trust the new one.
    const kept = this.#leftOut.flatMap(({ object, objectId, reason }): Loss[] => {
      if (!this.#isReseal || objectId === undefined || accepted.has(objectId)) return [];
      // What lies in the manifest itself stays there, whatever anybody has made in its place.
      const isDamaged = reason === 'value-changed' && this.#changed.has(object.handle);
      return (isDamaged && isSealed(object)) || (reason === 'wrap-with-trusted' && this.#live.has(objectId))
        ? [{ objectId, reason }]
        : [];
    });
    // What the token may only hide just now cannot be sealed anew, and under the new key its blob opens for nobody.
    if (this.#isReseal)
      kept.push(...hidden.filter(isSealed).map(({ objectId }): Loss => ({ objectId, reason: 'unreadable' })));
    if (losses.length <= limit && kept.length === 0) return undefined;
    return { losses: [...new Map([...losses, ...kept].map((loss) => [loss.objectId, loss])).values()], limit };
  }

  async #namesOf(entries: readonly Entry[]): Promise<Set<string>> {
    const names = new Set<string>();
    for (const entry of entries) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      names.add(namesOf(entry));
    }
    return names;
  }

  /** Of what the generation before protects. */
  async #countLosses(): Promise<number> {
    let count = 0;
    for (const entry of this.#live.values()) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      if (countsAsLoss(entry)) count += 1;
    }
    return count;
  }

  async #capture(candidates: readonly Candidate[]): Promise<void> {
    const toWrap: Candidate[] = [];
    const toEncrypt: Candidate[] = [];
    for (const candidate of await this.#withoutVanished(candidates)) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
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

  /**
   * Where all is sealed anew, what only the first look saw cannot stay as it was captured: it is asked for once more. Left
   * out by name, it would leave the generations without a tombstone, and stay alive at every standby.
   */
  async #withoutVanished(candidates: readonly Candidate[]): Promise<readonly Candidate[]> {
    if (!this.#isReseal) return candidates;
    const vanished = candidates.filter(({ look }) => look === 'vanished');
    if (vanished.length === 0) return candidates;
    const again = await this.#options.provider.read(vanished.map(({ one }) => one.object.handle));
    const back = new Set(again.flatMap((object) => object?.handle ?? []));
    const isThere = ({ one, look }: Candidate): boolean => look !== 'vanished' || back.has(one.object.handle);
    this.#deleted.push(...candidates.flatMap((one) => (isThere(one) || one.before === undefined ? [] : [one.before])));
    return candidates
      .filter(isThere)
      .map((one) => (one.look === 'vanished' ? { ...one, look: 'settling' as const } : one));
  }

  /** What both looks saw, and the token would not wrap and does not have any more: deleted while all was sealed anew. */
  async #deletedMeanwhile(): Promise<Entry[]> {
    const doubtful = this.#doubtful;
    const again = doubtful.length === 0 ? [] : await this.#options.provider.read(doubtful.map(handleOf));
    for (const [index, { one, before }] of doubtful.entries())
      if (again[index] === undefined) this.#deleted.push(before);
      else this.#leaveOut(one.object, 'unreadable', before);
    return this.#deleted.filter((entry) => this.#isLive(entry));
  }

  /** Whether what is sealed of it cannot serve: the key is retired, it was buried and is back, or data has another value. */
  #mustSeal({ one: { valueTag }, before, look }: Candidate, reason: UncapturedReason | undefined): boolean {
    if (before === undefined || !this.#isLive(before) || this.#isLost(before)) return true;
    if (this.#isReseal) return isSealed(before);
    if (reason === 'too-large') return false;
    if (look !== 'settled' || valueTag === undefined || before.valueTag === undefined) return false;
    return !bytesEqual(valueTag, before.valueTag);
  }

  /** Whether a blob that is needed to restore it is gone: its own, or that of the key under which its value is. */
  #isLost({ blobSha256, dataKeyId }: Entry): boolean {
    const { lost } = this.#options;
    if (lost === undefined || lost.size === 0) return false;
    const dataKey = this.#previous?.dataKeys.find(({ id }) => id === dataKeyId);
    return [blobSha256, dataKey?.blobSha256].some((blob) => blob !== undefined && lost.has(blob));
  }

  /** Captured before, and what is sealed of it still serves. A refusal that is more than a hiccup is told. */
  #keep(candidate: Candidate, before: Entry, reason: UncapturedReason | undefined): void {
    const { object } = candidate.one;
    if (candidate.look !== 'settled' || reason !== undefined) {
      this.#add(candidate, before);
      if (reason !== undefined && reason !== 'unreadable') this.#leaveOut(object, reason, before);
    } else if (!differs(object, before) && !showsMore(candidate.one, before)) this.#add(candidate, before);
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

  #reasonAgainst({ one, before, look, isChanged }: Candidate): UncapturedReason | undefined {
    const { object, refusal } = one;
    if (isExcluded(object, this.#options.filter)) return 'excluded';
    if (isChanged) return 'value-changed';
    if (before !== undefined && this.#isKeptTombstone(before)) return 'deleted';
    const isKnown = before !== undefined && this.#isLive(before);
    if (look !== 'settled' && !isKnown) return 'settling';
    const reason = reasonOf(object, { isNew: before === undefined, hasTrusted: this.#hasTrusted }) ?? refusal;
    return reason ?? (before === undefined && this.#isBeyondRoom(object) ? 'too-large' : undefined);
  }

  /**
   * What travels in the manifest itself can be made by anybody, without a PIN and without end: beyond so much of it the
   * manifest could be sent to nobody. What was captured before stays.
   */
  #isBeyondRoom(object: ObservedObject): boolean {
    if (isWrapped(object.objectClass) || object.objectClass === 'data') return false;
    this.#shownBytes ??= [...this.#live.values()].reduce((sum, entry) => sum + shownBytes(entry), 0);
    const bytes = shownBytes(object);
    if (this.#shownBytes + bytes > (this.#options.shownBytesMax ?? SHOWN_BYTES_MAX)) return true;
    this.#shownBytes += bytes;
    return false;
  }

  #isLive(entry: Entry): boolean {
    return this.#live.get(entry.objectId) === entry;
  }

  /**
   * Deleted under an earlier active member, and here since: this token did not let go of it. What was not here when the
   * tenure began was made anew, or restored by a person, and is alive.
   */
  #isKeptTombstone(entry: Entry): boolean {
    const tombstone = this.#buried.get(entry);
    if (tombstone === undefined || tombstone.epoch >= this.#options.epoch) return false;
    if (this.#isBroughtBack(entry.objectId)) return false;
    if (this.#isFirstOfTenure) return true;
    const before = this.#previous?.uncaptured.find(({ objectId }) => objectId === entry.objectId);
    return before !== undefined && before.reason !== 'settling';
  }

  #isBroughtBack(objectId: ObjectId): boolean {
    return this.#options.restored?.has(objectId) === true;
  }

  async #wrapAll(candidates: readonly Candidate[]): Promise<void> {
    const handles = candidates.map(({ one }) => one.object.handle).filter((handle) => !this.#wraps.has(handle));
    if (handles.length > 0)
      for (const outcome of await this.#options.provider.wrap(this.#domainKey().handle, handles))
        this.#wraps.set(outcome.handle, outcome);
    const wrapped: { candidate: Candidate; entry: Entry; blob: Uint8Array }[] = [];
    for (const candidate of candidates) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      const outcome = this.#wraps.get(candidate.one.object.handle)!;
      if ('blob' in outcome) {
        const { blob } = outcome;
        const sealed = { blobSha256: sha256Hex(blob), blobSize: blob.length };
        wrapped.push({ candidate, entry: this.#entryOf(candidate, sealed), blob });
      } else if (this.#isReseal && outcome.reason === 'unreadable' && candidate.before !== undefined)
        this.#doubtful.push({ ...candidate, before: candidate.before });
      else this.#leaveOut(candidate.one.object, outcome.reason, candidate.before);
    }
    const broken = await this.#brokenOf(wrapped);
    for (const { candidate, entry, blob } of wrapped) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      if (broken.has(candidate.one.object.handle)) {
        this.#leaveOut(candidate.one.object, 'does-not-work', undefined);
        continue;
      }
      this.#sealedObjects += 1;
      this.#keepBlob(blob);
      this.#add(candidate, entry);
    }
  }

  /**
   * Private keys that fail where they were made, at their first capture: no standby could prove them, and none of them must
   * hold up the generation of all others (I15). What was captured before is the scrub's to judge.
   */
  async #brokenOf(wrapped: readonly { candidate: Candidate; entry: Entry }[]): Promise<Set<Handle>> {
    const { provider } = this.#options;
    const broken = new Set<Handle>();
    const isNew = wrapped.filter(
      ({ candidate: { before, one } }) => before === undefined && one.object.objectClass === 'private-key',
    );
    for (const batch of inBatches(isNew)) {
      const items = batch.map(({ candidate, entry }) => proofItem(entry, candidate.one.object.handle));
      for (const { handle, proved } of await provider.prove(this.#domainKey().handle, items))
        if (!proved) broken.add(handle);
    }
    return broken;
  }

  /**
   * What is not here and was not deleted: it may be hidden, or this member has never been able to restore it. The latter
   * is told, since this partition cannot serve it; and it leaves by name where all is sealed anew.
   */
  #notDeleted(candidates: readonly Candidate[], absent: readonly Entry[]): Entry[] {
    const live = absent.filter((entry) => this.#isLive(entry));
    for (const { objectId, objectClass, keyType } of live.filter((entry) => this.#isUnrestored(entry))) {
      const kind = keyType === undefined ? { objectClass } : { objectClass, keyType };
      this.#uncaptured.push({ objectId, ...kind, reason: 'unreadable' });
    }
    const { accepted } = this.#options;
    // Of what is gone, for all that a person says, nothing is hidden where all is sealed anew.
    if (this.#mayHide(candidates))
      return this.#isReseal
        ? live.filter((entry) => accepted?.has(entry.objectId) !== true && !this.#isUnrestored(entry))
        : live;
    return this.#isReseal ? [] : live.filter((entry) => this.#isUnrestored(entry));
  }

  #isUnrestored({ objectId }: Entry): boolean {
    return this.#options.unrestored?.has(objectId) === true;
  }

  /** Where the token did not even tell the class of something that is new to us, it may be any of those that are missing. */
  #mayHide(candidates: readonly Candidate[]): boolean {
    const isNameless = ({ objectClass, isPartlyRead }: ObservedObject): boolean =>
      objectClass === 'other' && isPartlyRead === true;
    const nameless = candidates.filter(({ one }) => isNameless(one.object)).length;
    const known = this.#previous?.uncaptured.filter(
      (one) => one.objectClass === 'other' && one.reason === 'unreadable',
    );
    return nameless > (known?.length ?? 0);
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
      for (const [index, { candidate, objectId }] of named.entries()) {
        if (this.#pace.isDue()) await this.#pace.makeWay();
        const { ciphertext, valueTag } = sealed[index]!;
        this.#sealedObjects += 1;
        const entry = this.#entryOf(candidate, { ...this.#keepBlob(ciphertext), dataKeyId, valueTag }, objectId);
        this.#add(candidate, entry);
      }
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

  #add({ one: { object } }: Candidate, entry: Entry): void {
    this.#entries.push(entry);
    this.#known.set(object.handle, entry.objectId);
    this.#notCarried.set(entry.objectId, object.notCarried ?? NONE);
  }

  #leaveOut(object: ObservedObject, reason: UncapturedReason, before: Entry | undefined): void {
    this.#leftOut.push({ object, reason, objectId: before?.objectId });
  }

  async #nameUncaptured(): Promise<Uncaptured[]> {
    const named = await nameUncaptured(this.#leftOut, (values) =>
      this.#options.provider.tagBytes(this.#domainKey().handle, values),
    );
    for (const [index, { object }] of this.#leftOut.entries())
      if (!this.#known.has(object.handle)) this.#known.set(object.handle, named[index]!.objectId);
    return named;
  }

  #tombstones(absent: readonly Entry[], deletedMs: number): Tombstone[] {
    const captured = new Set(this.#entries.map(({ objectId }) => objectId));
    const { epoch, number, retentionMs = RETENTION_MS, isExpired = () => false } = this.#options;
    // Of what is in this token all the same, the tombstone stays: without it the object would pass for new, and come back.
    const present = new Set(this.#leftOut.flatMap(({ objectId, reason }) => (reason === 'deleted' ? objectId : [])));
    const kept = [...this.#buried.values()].filter(
      (tombstone) =>
        !captured.has(tombstone.entry.objectId) && (present.has(tombstone.entry.objectId) || !isExpired(tombstone)),
    );
    const added = absent
      .filter((entry) => this.#isLive(entry))
      .map((entry): Tombstone => {
        const dataKey = this.#previous?.dataKeys.find(({ id }) => id === entry.dataKeyId);
        return {
          entry,
          epoch,
          generation: number,
          deletedMs,
          domainKeyVersion: this.#previous!.domainKeyVersion,
          ...(dataKey === undefined ? {} : { dataKey }),
          retentionMs,
        };
      });
    return [...kept, ...added].map((tombstone) => this.#withoutLost(tombstone));
  }

  /** One whose blob no store has any more names none: no member could be whole. */
  #withoutLost(tombstone: Tombstone): Tombstone {
    const { lost } = this.#options;
    if (!lost?.size || ![...blobsOfTombstone(tombstone)].some((blob) => lost.has(blob))) return tombstone;
    const { domainKeyVersion: _version, dataKey: _dataKey, ...rest } = tombstone;
    return rest;
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

const NONE: readonly string[] = [];

/**
 * Whether its loss is one that a person is asked about. What is not private anybody makes and destroys without a PIN: it neither
 * holds captures, nor makes room for the loss of keys. The attributes of an entry are decoded when they are asked for: not here,
 * for keys, of which there may be 100,000.
 */
const countsAsLoss = (entry: Entry): boolean => isWrapped(entry.objectClass) || entry.attributes.private !== false;

/** Whether its value is sealed under the domain key, and does not lie in the manifest itself. */
const isSealed = ({ objectClass }: { objectClass: ObservedObject['objectClass'] }): boolean =>
  isWrapped(objectClass) || objectClass === 'data';

const handleOf = ({ one }: Candidate): Handle => one.object.handle;

/** Whether it shows the public half of a private key whose value is the captured one's, and whose entry has none. */
const showsMore = ({ object, blob }: Examined, { objectClass, publicHalf, blobSha256 }: Entry): boolean =>
  objectClass === 'private-key' &&
  publicHalf === undefined &&
  object.publicHalf !== undefined &&
  blob !== undefined &&
  sha256Hex(blob) === blobSha256;

/** The names under which a program looks for an object of its class. */
const namesOf = ({ objectClass, attributes: { id, label } }: Entry): string =>
  `${objectClass} ${hex(id ?? new Uint8Array())} ${hex(label ?? new Uint8Array())}`;

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
