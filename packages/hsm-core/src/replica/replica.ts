/**
 * The replica that an apply, a read-back and a scrub work on, its memory, and the journal that makes an apply
 * repeatable.
 *
 * An object is ours only if a former generation or an open intent has it with the same value and the same attributes
 * that count. Any other object of equal value was made by somebody. It stays, and it is counted (I11).
 */
import { AntipodeError, bytesEqual, type Clock } from '@antipode/runtime';
import type { Keyring } from '../domain-key/keyring.ts';
import { attributesDigest, type Entry, type SealedGeneration } from '../model/generation.ts';
import type { Handle, KeyType, ObjectClass, ObjectId } from '../model/object.ts';
import type { Seen } from '../objects/doomed.ts';
import type { HsmProvider, ProofOutcome } from '../provider/provider.ts';

/** Which object has which handle, and the digest of its entry as read. A new provider needs a new memory. */
export class ReplicaMemory {
  /** Every object that a generation names. */
  readonly known = new Map<ObjectId, Known>();
  /** The domain key under which the digests count. Absent until the partition has been read. */
  domainKey: Handle | undefined;
  /** Objects of ours that another object has replaced. A crash prevented their destruction. */
  superseded: readonly { readonly handle: Handle; readonly seen: Seen }[] = [];
  /** Objects that no generation accounts for. */
  unaccounted: readonly Handle[] = [];
  /**
   * Unaccounted objects that equal an entry in everything but the value. The last apply has restored the sound object
   * beside each of them (apply.ts).
   */
  damaged: readonly Handle[] = [];
  /** Number of the last look at the whole partition. */
  look: number | undefined;
  /** Groups for which that look has found an older copy of the store (provider/store-stamps.ts). */
  olderFor: readonly string[] = [];

  /** The next use reads the whole partition: other hands have changed it, or an apply was cut short. */
  forget(): void {
    this.known.clear();
    this.domainKey = undefined;
    this.look = undefined;
    this.damaged = [];
  }
}

/** An object of a generation, as it was last read. */
export interface Known {
  readonly handle: Handle;
  /** Digest of its entry as read. Empty if the object was made and not read since. */
  readonly digest: Uint8Array;
  /** Whether a generation or an apply of ours has it with the same value and the same attributes that count. */
  readonly isOurs: boolean;
  /** Tells the object from another one that has its handle now. Absent if the object was made and not read since. */
  readonly seen?: Seen;
  readonly proof?: Proof;
}

/** Proof that an object worked after it was made, and the digest of the entry that it was proved as. */
export interface Proof {
  readonly digest: Uint8Array;
  readonly outcome: ProofOutcome;
}

/**
 * One object that an apply begins to make. The intent recognises it later, whole or half made, even if its generation
 * is never applied again. It does not depend on the domain key, since the next generation may have another.
 */
export interface ApplyIntent {
  readonly objectId: ObjectId;
  readonly objectClass: ObjectClass;
  readonly keyType?: KeyType;
  readonly id: Uint8Array;
  readonly label: Uint8Array;
  /** Of all attributes that count, without the value. */
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
  /**
   * Intents that were begun and not committed: an apply crashed. An object may have several, for several generations.
   */
  openIntents(): readonly ApplyIntent[];
  begin(intents: readonly ApplyIntent[]): void;
  /**
   * Records that the partition has the whole generation, and closes the intents of these objects, in one transaction. A
   * crash between the two would leave objects that neither an intent nor a generation explains.
   */
  commit(digest: string, objectIds: readonly ObjectId[]): void;
}

export interface Replica {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly memory: ReplicaMemory;
  readonly target: SealedGeneration;
  /**
   * Generations that were captured or applied here before, the newest first. They explain objects that the target does
   * not name, and show which objects are ours. The first generation that has an object counts.
   */
  readonly previous: readonly SealedGeneration[];
  readonly journal: ApplyJournal;
  /** Called right before each write. It throws when the epoch is stale (I2). */
  readonly checkFence: () => void;
}

export function hasDomainKeyOf(keyring: Keyring, { generation }: SealedGeneration): boolean {
  const { group, domainKeyVersion, domainKeyCheckTag } = generation;
  return keyring
    .domainKeys(group)
    .some(({ version, checkTag }) => version === domainKeyVersion && bytesEqual(checkTag, domainKeyCheckTag));
}

/** The domain key that sealed the generation. @throws DOMAIN_KEY_MISSING, even if the same version is another key */
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
