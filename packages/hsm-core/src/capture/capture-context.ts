/**
 * The order for a capture, and what is known before it looks at the partition. Every step reads it, and none changes
 * it.
 */
import type { Clock, Prng } from '@antipode/runtime';
import type { DomainKey, Keyring } from '../domain-key/keyring.ts';
import type { Entry, Generation, SealedGeneration, Tombstone } from '../model/generation.ts';
import type { Handle, ObjectId } from '../model/object.ts';
import type { HsmProvider, PartitionDescription } from '../provider/provider.ts';
import type { CaptureMemory, Remembered } from './capture-memory.ts';
import type { ObjectFilter } from './filter.ts';
import type { LossLimit } from './losses.ts';
import { type CloningDomain, cloningDomainOf } from './native-sealing.ts';

/**
 * How the keys of a group move. `sealed`: wrapped or encrypted under the domain key, on any device. `native`: the same,
 * and those that no token wraps by the cloning of their device (ADR 0055). `prefer-native`: the same, and keys that can
 * be wrapped have both forms, so that a device that clones them keeps their history.
 */
export type Movement = 'sealed' | 'native' | 'prefer-native';

/** The needs of the steps that look at a partition. They sign nothing, so no identity key is among them. */
export interface LookingOptions {
  readonly provider: HsmProvider;
  readonly keyring: Pick<Keyring, 'ownHandles' | 'domainKey' | 'domainKeys'>;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly memory: CaptureMemory;
  readonly group: string;
  readonly epoch: bigint;
  readonly domainKeyVersion: number;
  /** The newest generation that this partition captured or applied. */
  readonly previous: SealedGeneration | undefined;
  readonly filter: ObjectFilter;
  /** Absent for `sealed`. */
  readonly movement?: Movement;
  /** Objects that another member captured and this token does not take. Nobody has deleted them. */
  readonly unrestored?: ReadonlySet<ObjectId>;
  /** SHA-256 of blobs of the previous generation that no store has any more. The capture seals their objects again. */
  readonly lost?: ReadonlySet<string>;
  /** The shortest time for which every member keeps a deleted object sealed. */
  readonly retentionMs?: number;
  /** Whether this site has kept a deleted object for longer than its retention. */
  readonly isExpired?: (tombstone: Tombstone) => boolean;
  /** Whether an apply has ever restored objects into this partition. */
  readonly hasRestored?: boolean;
  /** Objects that an operator accepts as gone, or as having another value now. */
  readonly accepted?: ReadonlySet<ObjectId>;
  /**
   * Entries of objects that were merged from another member since the previous capture (replica/merge.ts). Such an object
   * keeps its id, and what this token cannot read back is carried forward from there.
   */
  readonly adopted?: readonly Entry[];
  /** Deleted objects that an operator has restored since the previous capture. */
  readonly restored?: ReadonlySet<ObjectId>;
  /** How many objects one capture may lose before an operator is asked. */
  readonly lossLimit?: LossLimit;
  /** The most bytes that certificates and public keys may take in one manifest. Default: `SHOWN_BYTES_MAX`. */
  readonly shownBytesMax?: number;
}

export interface CaptureOptions extends LookingOptions {
  readonly keyring: Keyring;
  readonly number: bigint;
  /** Called right before the manifest is signed. It throws when the tenure is over (I2). */
  readonly checkFence: () => void;
}

export interface CaptureContext {
  readonly options: LookingOptions;
  readonly description: PartitionDescription;
  /** The domain key that this capture seals under. */
  readonly domainKey: () => DomainKey;
  /** Whether that version has a key that may wrap what only a trusted key may wrap. */
  readonly hasTrusted: boolean;
  /** The cloning domain, where this capture may move objects natively. */
  readonly cloning: CloningDomain | undefined;
  /** Whether keys that can be wrapped have a second form, where their device gives one. */
  readonly prefersNative: boolean;
  readonly previous: Generation | undefined;
  readonly remembered: Remembered | undefined;
  /** Objects that the token failed to give at former captures, and that this one asks for again. */
  readonly askedAgain: ReadonlySet<Handle>;
  /** What decides, besides the objects themselves, which of them a capture takes. */
  readonly filterKey: string;
  /** Entries of the previous generation, by id. */
  readonly live: ReadonlyMap<ObjectId, Entry>;
  /** Tombstones of the previous generation, by their entry. */
  readonly buried: ReadonlyMap<Entry, Tombstone>;
  /** Whether the previous generation has another domain key, so that this capture seals every object again. */
  readonly isReseal: boolean;
  /** A tenure begins with a generation that its own active member has signed, even if nothing changed. */
  readonly isFirstOfTenure: boolean;
}

export function contextOf(options: LookingOptions, description: PartitionDescription): CaptureContext {
  const { keyring, group, domainKeyVersion, memory, filter, epoch, movement = 'sealed' } = options;
  const previous = options.previous?.generation;
  const remembered = memory.of(options.previous?.digest);
  const hasTrusted = keyring
    .domainKeys(group)
    .some(({ version, trusted }) => version === domainKeyVersion && trusted !== undefined);
  const cloning = movement !== 'sealed' && description.cloning ? cloningDomainOf(description.cloning) : undefined;
  const prefersNative = movement === 'prefer-native';
  return {
    options,
    description,
    domainKey: () => keyring.domainKey(group, domainKeyVersion),
    hasTrusted,
    cloning,
    prefersNative,
    previous,
    remembered,
    askedAgain: memory.asksAgain() ? (remembered?.mayPass ?? new Set()) : new Set(),
    filterKey: JSON.stringify([
      filter,
      hasTrusted,
      cloning?.domain,
      ...(cloning?.isByDevice ? ['by device'] : []),
      ...(prefersNative ? ['both forms'] : []),
    ]),
    live: new Map(previous?.entries.map((entry) => [entry.objectId, entry])),
    buried: new Map(previous?.tombstones.map((tombstone) => [tombstone.entry, tombstone])),
    isReseal: previous !== undefined && previous.domainKeyVersion !== domainKeyVersion,
    isFirstOfTenure: previous?.epoch !== epoch,
  };
}

/** Whether this very entry is live in the previous generation. */
export const isLive = ({ live }: CaptureContext, entry: Entry): boolean => live.get(entry.objectId) === entry;

export const isUnrestored = ({ options }: CaptureContext, { objectId }: Entry): boolean =>
  options.unrestored?.has(objectId) === true;

/** Whether an operator has restored this deleted object since the previous capture. */
export const isBroughtBack = ({ options }: CaptureContext, objectId: ObjectId): boolean =>
  options.restored?.has(objectId) === true;
