/**
 * What a partition holds of a group: every object is recognised once per provider and domain key, against the generation
 * that is wanted, those that were applied and captured here before, and the journal of what an apply had begun.
 *
 * Ours is only what is, in value and in every attribute that counts, as a former generation or an open intent says. An
 * object of equal value that is anything else was made by somebody: it is left alone and counted (I11). The one thing
 * that is destroyed here is a half-made key, which a token leaves when it is cut short in an unwrap (facts: pkcs11, 7).
 */
import { AntipodeError, bytesEqual, hasCode, hex, Pace, runInSlices } from '@antipode/runtime';
import type { Keyring } from '../domain-key/keyring.ts';
import { attributesDigest, type Entry, entryDigest, type SealedGeneration } from '../model/generation.ts';
import type { Handle, KeyType, ObjectClass, ObjectId } from '../model/object.ts';
import { type Seen, seenAs } from '../provider/doomed.ts';
import type { HsmProvider, ProofOutcome } from '../provider/provider.ts';
import {
  asObserved,
  EntriesByValue,
  type Examined,
  entryRecognitionKey,
  examine,
  grouping,
  isKnownByDomainKey,
  knowableByDomainKey,
  observedDigest,
  pairing,
  typesByBlob,
} from '../provider/recognise.ts';

/** Which object is which handle, and the digest that reading it gave. Make a new one with a new provider. */
export class ReplicaMemory {
  /** Every object that a generation names. */
  readonly known = new Map<ObjectId, Known>();
  /** The domain key under which the digests count; absent until the partition has been read. */
  domainKey: Handle | undefined;
  /** Ours, and replaced by another object already: a crash lay before their end. */
  superseded: readonly { readonly handle: Handle; readonly seen: Seen }[] = [];
  /** What no generation accounts for. */
  unaccounted: readonly Handle[] = [];
  /**
   * Of these, what lies where the object of an entry was, with all that it had but its value: the last apply has made the
   * object anew beside it. See apply.ts.
   */
  damaged: readonly Handle[] = [];
  /** The last look at the whole partition. */
  look: number | undefined;

  /** The partition is read whole next time: it was changed by other hands than an apply, or an apply was cut short. */
  forget(): void {
    this.known.clear();
    this.domainKey = undefined;
    this.look = undefined;
    this.damaged = [];
  }
}

/** An object of a generation, as it was read last. */
export interface Known {
  readonly handle: Handle;
  /** Of its entry by what reading it gave; empty where it was not read since it was made. */
  readonly digest: Uint8Array;
  /** Whether it is, in value and in every attribute that counts, as a generation or an apply of ours has it. */
  readonly isOurs: boolean;
  /** By which it is told from another object that got its handle; absent where it was not read since it was made. */
  readonly seen?: Seen;
  readonly proof?: Proof;
}

/** That an object was used behind its making, and as what: by the digest of its entry. */
export interface Proof {
  readonly digest: Uint8Array;
  readonly outcome: ProofOutcome;
}

/**
 * One object that an apply begins to make: enough to know it again, whole or half made, when the generation that it was
 * made for is never applied again. Nothing in it depends on the domain key, since the next generation may have another.
 */
export interface ApplyIntent {
  readonly objectId: ObjectId;
  readonly objectClass: ObjectClass;
  readonly keyType?: KeyType;
  readonly id: Uint8Array;
  readonly label: Uint8Array;
  /** Of all attributes that count, and not of the value. */
  readonly attributesDigest: Uint8Array;
}

export function intentOf(entry: Entry): ApplyIntent {
  const { objectId, objectClass, keyType, attributes } = entry;
  return {
    objectId,
    objectClass,
    ...(keyType === undefined ? {} : { keyType }),
    id: attributes.id ?? new Uint8Array(),
    label: attributes.label ?? new Uint8Array(),
    attributesDigest: attributesDigest(entry),
  };
}

/** The part of the agent's journal that makes an apply repeatable. Everything is durable on return. */
export interface ApplyJournal {
  /** Objects that were begun and not committed: a crash lies between. One object may have several, of several generations. */
  openIntents(): readonly ApplyIntent[];
  begin(intents: readonly ApplyIntent[]): void;
  /**
   * The partition has the generation of this manifest digest whole: recorded in one with the end of what was begun for these
   * objects, since a crash between the two would leave objects that neither an intent nor a generation explains.
   */
  commit(digest: string, objectIds: readonly ObjectId[]): void;
}

export interface Replica {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly memory: ReplicaMemory;
  readonly target: SealedGeneration;
  /**
   * What was captured and applied here before, the newest first: explains objects that the target does not name, and shows
   * which are ours. Of several, the first that has an object counts.
   */
  readonly previous: readonly SealedGeneration[];
  readonly journal: ApplyJournal;
  /** Called right before each write; throws when the epoch is stale (I2). */
  readonly checkFence: () => void;
}

/** The domain key that sealed the generation. @throws DOMAIN_KEY_MISSING, also where the same version is another key */
export function domainKeyOf(keyring: Keyring, { generation }: SealedGeneration): Handle {
  const { group, domainKeyVersion, domainKeyCheckTag } = generation;
  const key = keyring.domainKey(group, domainKeyVersion);
  if (bytesEqual(key.checkTag, domainKeyCheckTag)) return key.handle;
  throw new AntipodeError(
    'DOMAIN_KEY_MISSING',
    `domain key version ${domainKeyVersion} of group ${group} is a different key here than at the source`,
    { details: { group, version: domainKeyVersion } },
  );
}

/** Reads the whole partition, unless that was done already under the domain key of the target. Returns that key. */
export async function recogniseReplica(replica: Replica): Promise<Handle> {
  const { keyring, memory, target } = replica;
  const domainKey = domainKeyOf(keyring, target);
  if (memory.domainKey !== domainKey) await new Recognition(replica, domainKey).run();
  return domainKey;
}

/**
 * The same for an apply, which trusts nothing: somebody may have deleted, changed or made objects here since, as an
 * application does that goes on using a former active member. One look tells; then the partition is read whole again.
 */
export async function recogniseAnew(replica: Replica): Promise<Handle> {
  const { keyring, memory, target } = replica;
  if (memory.domainKey === domainKeyOf(keyring, target) && !(await isAsKnown(replica))) memory.forget();
  return recogniseReplica(replica);
}

async function isAsKnown({ provider, keyring, memory }: Replica): Promise<boolean> {
  const { number, handles, objects } = await provider.look(memory.look === undefined ? {} : { since: memory.look });
  const here = new Set([...handles].filter((handle) => !keyring.ownHandles.has(handle)));
  const known = [...memory.known.values()];
  const expected = new Set([...known.map(({ handle }) => handle), ...memory.unaccounted]);
  if (here.size !== expected.size || ![...expected].every((handle) => here.has(handle))) return false;
  const readDigests = new Map(objects.map(({ handle, readDigest }) => [handle, readDigest]));
  const isSame = ({ handle, seen }: Known): boolean => {
    const told = readDigests.get(handle);
    return told === undefined || told === seen?.readDigest;
  };
  if (!known.every(isSame)) return false;
  memory.look = number;
  return true;
}

class Recognition {
  readonly #replica: Replica;
  readonly #domainKey: Handle;
  readonly #intents: readonly ApplyIntent[];
  readonly #pace = new Pace();
  /** Objects that nothing accounts for yet. */
  readonly #free = new Map<Handle, Examined>();
  readonly #known: ReplicaMemory['known'] = new Map();
  readonly #superseded: { readonly handle: Handle; readonly seen: Seen }[] = [];

  constructor(replica: Replica, domainKey: Handle) {
    this.#replica = replica;
    this.#domainKey = domainKey;
    this.#intents = replica.journal.openIntents();
  }

  async run(): Promise<void> {
    const { provider, keyring, memory } = this.#replica;
    const look = await provider.look({});
    const objects = look.objects.filter(({ handle }) => !keyring.ownHandles.has(handle));
    const examined = await examine(provider, {
      domainKey: this.#domainKey,
      objects,
      byBlob: typesByBlob(this.#named()),
    });
    for (const one of examined) this.#free.set(one.object.handle, one);
    await this.#claimWanted();
    await this.#claimFormer();
    await this.#claimBuried();
    await this.#destroyHalfMade();
    memory.forget();
    for (const [objectId, known] of this.#known) memory.known.set(objectId, known);
    memory.superseded = this.#superseded;
    memory.unaccounted = [...this.#free.keys()];
    memory.domainKey = this.#domainKey;
    memory.look = look.number;
  }

  /** Every entry that an object here may be recognised by. */
  *#named(): Generator<Entry> {
    const { target, previous } = this.#replica;
    for (const { generation } of [target, ...previous]) {
      yield* generation.entries;
      for (const { entry } of generation.tombstones) yield entry;
    }
  }

  /** What is already as the target wants it, whoever made it; then what an apply that was cut short had made. */
  async #claimWanted(): Promise<void> {
    const { target } = this.#replica;
    const wantedByValue = await runInSlices(EntriesByValue.of(target.generation.entries));
    const byValue = await runInSlices(grouping([...this.#free.values()], (one) => wantedByValue.keyOf(one)));
    const alike = (entry: Entry): Examined[] =>
      (byValue.get(entryRecognitionKey(entry)) ?? []).filter(({ object }) => this.#free.has(object.handle));
    for (const entry of target.generation.entries) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      const wanted = entryDigest(entry);
      const same = alike(entry).find((one) => bytesEqual(observedDigest(entry, one), wanted));
      if (same !== undefined) this.#claim(entry.objectId, same, { digest: wanted, isOurs: true });
    }
    const begun = Map.groupBy(this.#intents, ({ objectId }) => objectId);
    for (const entry of target.generation.entries) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      // What an apply had made it does not make again: one object for each form that was begun. A second is somebody's copy.
      const forms = new Set(begun.get(entry.objectId)?.map((intent) => hex(intent.attributesDigest)));
      for (const one of forms.size === 0 ? [] : alike(entry)) {
        if (forms.delete(hex(attributesDigest(asObserved(entry, one)))))
          this.#claim(entry.objectId, one, { digest: observedDigest(entry, one), isOurs: true });
      }
    }
  }

  /** What former generations name. What the target names too is ours only when it is exactly as it was named then. */
  async #claimFormer(): Promise<void> {
    const { provider, target } = this.#replica;
    const wanted = new Map(target.generation.entries.map((entry) => [entry.objectId, entry]));
    for (const { domainKey, entries } of this.#former()) {
      const free = [...this.#free.values()];
      const objects = free.map(({ object }) => object);
      const examined =
        domainKey === this.#domainKey
          ? free
          : await examine(provider, { domainKey, objects, byBlob: typesByBlob(entries) });
      const { matched } = await runInSlices(pairing(examined, entries));
      for (const [index, one] of examined.entries()) {
        if (this.#pace.isDue()) await this.#pace.makeWay();
        const former = matched.get(one.object.handle);
        if (former === undefined) continue;
        const now = wanted.get(former.objectId);
        const isOurs = this.#isOurs(former, one);
        if (now !== undefined && !isOurs) continue;
        const seen = free[index]!;
        const digest = now === undefined ? new Uint8Array() : observedDigest(now, seen);
        this.#claim(former.objectId, seen, { digest, isOurs });
      }
    }
  }

  /** What was deleted before the domain key changed is known by what it gives under the key of that time. */
  async #claimBuried(): Promise<void> {
    const { provider, keyring, target, previous } = this.#replica;
    const buried = new Map(
      [target, ...previous].flatMap(({ generation }) =>
        generation.tombstones.map(({ entry }) => [entry.objectId, entry] as const),
      ),
    );
    let entries = [...buried.values()].filter((entry) => isKnownByDomainKey(entry) && !this.#known.has(entry.objectId));
    for (const { handle: domainKey } of keyring.domainKeys(target.generation.group)) {
      const byBlob = typesByBlob(entries);
      const objects = knowableByDomainKey(
        [...this.#free.values()].map(({ object }) => object),
        byBlob,
      );
      const free = objects.map(({ handle }) => this.#free.get(handle)!);
      if (entries.length === 0 || free.length === 0) return;
      if (domainKey === this.#domainKey) continue;
      const examined = await examine(provider, { domainKey, objects, byBlob });
      const { matched, absent } = await runInSlices(pairing(examined, entries));
      for (const [index, one] of free.entries()) {
        const entry = matched.get(one.object.handle);
        if (entry === undefined) continue;
        this.#claim(entry.objectId, one, { digest: new Uint8Array(), isOurs: this.#isOurs(entry, examined[index]!) });
      }
      entries = absent;
    }
  }

  /** Entries that explain objects, each as the newest generation has it that was here before; then what was deleted since. */
  #former(): { domainKey: Handle; entries: Entry[] }[] {
    const { keyring, target, previous } = this.#replica;
    const seen = new Set<ObjectId>();
    const entriesOf = ({ generation }: SealedGeneration): Entry[] => [
      ...(generation === target.generation ? [] : generation.entries),
      ...generation.tombstones.map(({ entry }) => entry),
    ];
    return [...previous, target].flatMap((sealed) => {
      const entries = entriesOf(sealed).filter(({ objectId }) => !seen.has(objectId));
      for (const { objectId } of entries) seen.add(objectId);
      try {
        return { domainKey: domainKeyOf(keyring, sealed), entries };
      } catch (thrown) {
        // A retired key that is gone explains nothing any more; what it would have explained is counted, and left alone.
        if (hasCode(thrown, 'DOMAIN_KEY_MISSING')) return [];
        throw thrown;
      }
    });
  }

  /** Exactly as a generation has it, or as an apply began to make it. */
  #isOurs(former: Entry, one: Examined): boolean {
    if (bytesEqual(observedDigest(former, one), entryDigest(former))) return true;
    const shown = attributesDigest(asObserved(former, one));
    return this.#intents.some(
      (intent) => intent.objectId === former.objectId && bytesEqual(intent.attributesDigest, shown),
    );
  }

  #claim(objectId: ObjectId, one: Examined, { digest, isOurs }: { digest: Uint8Array; isOurs: boolean }): void {
    const { handle } = one.object;
    const seen = seenAs(one);
    const known = this.#known.get(objectId);
    // A second object that is the same in everything replaces nothing: it is somebody's copy.
    if (known !== undefined && bytesEqual(known.digest, digest)) return;
    this.#free.delete(handle);
    if (known === undefined) this.#known.set(objectId, { handle, digest, isOurs, seen });
    else this.#superseded.push({ handle, seen });
  }

  /**
   * Destroys keys that an apply of ours left half made: of a class and type that it had begun, with no other names than it
   * would have given, never captured, and of no use at all in two looks 250 ms apart. Another application may be making
   * one that looks the same just now; one that works, or that nothing could try, is left alone.
   */
  async #destroyHalfMade(): Promise<void> {
    const { provider, checkFence } = this.#replica;
    if (this.#intents.length === 0) return;
    const suspects = this.#suspects();
    const refusing = await this.#refusing(suspects);
    if (refusing.length === 0) return;
    const again = new Map((await provider.inventory()).map(({ handle, readDigest }) => [handle, readDigest]));
    const unchanged = refusing.filter((handle) => again.get(handle) === this.#free.get(handle)!.object.readDigest);
    const half = await this.#refusing(unchanged);
    if (half.length === 0) return;
    checkFence();
    const kept = new Set(
      await provider.destroy(
        half,
        half.map((handle) => again.get(handle)),
      ),
    );
    for (const handle of half) if (!kept.has(handle)) this.#free.delete(handle);
  }

  #suspects(): Handle[] {
    const isOfIntent = ({ object: { objectClass, keyType, attributes } }: Examined): boolean =>
      this.#intents.some(
        (intent) =>
          intent.objectClass === objectClass &&
          intent.keyType === keyType &&
          (['id', 'label'] as const).every(
            (name) => !attributes[name]?.length || bytesEqual(intent[name], attributes[name]),
          ),
      );
    return [...this.#free.values()]
      .filter((one) => one.refusal !== undefined && isOfIntent(one))
      .map(({ object }) => object.handle);
  }

  async #refusing(handles: readonly Handle[]): Promise<Handle[]> {
    const answers = await this.#replica.provider.challenge(this.#domainKey, handles);
    return handles.filter((_handle, index) => answers[index] === 'refuses');
  }
}
