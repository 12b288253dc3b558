/** One partition of this site, as orders, heartbeats and the loops of the agent use it. */
import type {
  CaptureMemory,
  GroupEpoch,
  HsmProvider,
  Keyring,
  PartitionDescription,
  Protection,
  ReplicaMemory,
} from '@antipode/hsm-core';
import { AntipodeError, type Closeable, closeAll } from '@antipode/runtime';
import type { PartitionSettings } from '../config.ts';
import type { Rank } from './turns.ts';

/** A partition in use. Void as soon as its session is lost: only the work that it was given to may use it. */
export interface OpenPartition {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly description: PartitionDescription;
  /** Objects that the captures and the applies of this session have read. The memory ends with the session. */
  readonly captures: CaptureMemory;
  readonly replica: ReplicaMemory;
  /** Reads the own keys again, after a domain key was installed. */
  refreshKeyring(): Promise<void>;
  /**
   * The same, for changes of the token in a tenure. The HSM worker refuses them once this agent has persisted a higher epoch
   * of the group, and refuses every change without a tenure (I2).
   */
  under(tenure: GroupEpoch): OpenPartition;
}

/**
 * Any number of callers may ask at once. The work of one partition never overlaps; that of two may. Everything but `use`,
 * `beside`, `warmUp` and `close` answers from memory and journal, whatever the HSM does: heartbeats ask it.
 */
export interface Partition extends Closeable {
  readonly settings: Pick<PartitionSettings, 'name' | 'module' | 'tokenLabel' | 'role' | 'exclude'>;
  /** Known once `partition init` has run. */
  readonly serial: string | undefined;
  readonly identitySha256: string | undefined;
  /** Identities that it has had before: what they have signed is its own. */
  readonly formerIdentities: readonly string[];
  /** Whether domain keys reach it under a key of its own (ADR 0019). */
  readonly hasReceivingKey: boolean;
  /** Domain key versions whose trusted key its token has, as it was last read; by the journal before that. */
  readonly trusted: readonly { readonly group: string; readonly version: number }[];
  /** Protections that its token did not keep when it was last opened. */
  readonly unenforced: readonly Protection[];
  /** Names its cloning domain, hexadecimal, as it was last opened. Absent where it clones nothing. */
  readonly cloningDomain: string | undefined;
  /** Answers of other slots of its module that did not tell their token, when it was last opened. */
  readonly silentSlots: readonly string[];
  /** How long its HSM has not answered the call that is under way; 0 where none is. */
  readonly unansweredMs: number;
  /**
   * How long the work that has its turn has made no call to the HSM; 0 where no work has its turn, or a call is under way.
   * All other work waits for it.
   */
  readonly stalledMs: number;
  /** How many orders wait for their turn. */
  readonly ordersWaiting: number;
  /** How long the first of them has waited; 0 where none waits. */
  readonly longestWaitMs: number;
  /** The reason why it cannot be used; undefined if it can, so far as is known. */
  readonly failure: AntipodeError | undefined;

  /**
   * Runs `work` with the partition open, after all work asked for before; not at all when `signal` aborts before its turn.
   * All work may be repeated: a session that is void before its end costs a second run. What `work` changed in the token is
   * durable there; nothing else is durable on return.
   * @throws HSM_UNAVAILABLE when too much waits already, TIMED_OUT when the caller gave up, and what `work` throws
   */
  use<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal, rank?: Rank): Promise<T>;

  /**
   * Runs `work` beside the work of others, for a copy that waits for other devices than this one. It may call nothing but
   * `cloneNative`. Its worker can be lost or replaced meanwhile, and everything that it knows of the partition is old at its
   * end.
   * @throws as {@link use}
   */
  beside<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal): Promise<T>;

  /** Opens it ahead of the first order, and again where its session was lost. Called every few seconds. @throws why it cannot */
  warmUp(): Promise<void>;

  /** Takes no more work, and resolves when the work under way has ended and the session is closed. */
  close(): Promise<void>;
}

/** The partitions of this site, in the order of its configuration. */
export class Partitions implements Closeable {
  readonly all: readonly Partition[];

  constructor(all: readonly Partition[]) {
    this.all = all;
  }

  /** @throws NOT_FOUND */
  bySerial(serial: string): Partition {
    const found = this.all.find((partition) => partition.serial === serial);
    if (found !== undefined) return found;
    throw new AntipodeError('NOT_FOUND', `this site has no partition with serial ${serial}`, { details: { serial } });
  }

  close(): Promise<void> {
    return closeAll(this.all);
  }
}

/** Work that changes the token, in the tenure of its order. */
export const inTenure =
  <T>(tenure: GroupEpoch, work: (open: OpenPartition) => Promise<T>) =>
  (open: OpenPartition): Promise<T> =>
    work(open.under(tenure));
