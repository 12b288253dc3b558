/**
 * A partition of a site as its agent uses it, over a simulated HSM: it is opened when it is needed, and again where its
 * session was lost. The HSM outlives the processes of its site. Every call takes time, so that a process can end or
 * stand still between two of them.
 */
import { CaptureMemory, type HsmProvider, ReplicaMemory } from '@antipode/hsm-core';
import { EpochFloors, type SimulatedMember, underTenure } from '@antipode/hsm-core/testing';
import { AntipodeError, hasCode, type Log } from '@antipode/runtime';
import {
  type Journal,
  type OpenPartition,
  type Partition,
  type Rank,
  recordUnrecorded,
  Turns,
  yielding,
} from '@antipode/site-agent/testing';
import type { SimulatedProcess } from './clock.ts';

export interface SimulatedPartitionOptions {
  readonly member: SimulatedMember;
  readonly journal: Journal;
  readonly role: 'member' | 'scratch';
  readonly process: SimulatedProcess;
  readonly log: Log;
  /** Called where a call to the HSM begins: in the same moment the epochs are looked at. */
  readonly beforeCall: () => void;
  /** Called after each call to the HSM. */
  readonly afterCall: () => void;
  /** Called before and after each change of the token. An error from here ends the session, as a crash does. */
  readonly interrupt: () => void;
}

export class SimulatedPartition implements Partition {
  readonly settings: Partition['settings'];
  readonly formerIdentities = [];
  readonly hasReceivingKey = true;
  readonly unenforced = [];
  readonly silentSlots = [];
  readonly cloningDomain = undefined;
  readonly unansweredMs = 0;
  readonly stalledMs = 0;
  readonly longestWaitMs = 0;
  failure: AntipodeError | undefined;
  readonly #options: SimulatedPartitionOptions;
  readonly #turns = new Turns();
  readonly #floors = new EpochFloors();
  #open: OpenPartition | undefined;

  constructor(options: SimulatedPartitionOptions) {
    const { member, role } = options;
    this.#options = options;
    this.#floors.raise(options.journal.tenure.epochs());
    options.journal.tenure.watch((persisted) => this.#floors.raise([persisted]));
    this.settings = { name: member.serial, module: 'simulated', tokenLabel: member.serial, role };
  }

  get ordersWaiting(): number {
    return this.#turns.waiting;
  }

  get serial(): string {
    return this.#options.member.serial;
  }

  get identitySha256(): string {
    return this.#options.member.fingerprint;
  }

  get trusted(): Partition['trusted'] {
    return this.#options.journal.domainKeys.of(this.serial).filter(({ trusted }) => trusted !== undefined);
  }

  use<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal, rank: Rank = 'normal'): Promise<T> {
    const { process } = this.#options;
    return this.#turns.take(
      async (makeWay) => {
        await process.gate();
        const open = await this.#opened();
        const given = (one: OpenPartition): OpenPartition => ({
          ...one,
          provider: yielding(one.provider, makeWay),
          get keyring() {
            return one.keyring;
          },
          under: (tenure) => given(one.under(tenure)),
        });
        try {
          return await work(rank === 'yielding' ? given(open) : open);
        } catch (thrown) {
          if (hasCode(thrown, 'HSM_UNAVAILABLE', 'HSM_WORKER_LOST')) this.#open = undefined;
          throw thrown;
        } finally {
          await process.gate();
        }
      },
      signal,
      rank,
    );
  }

  /** Its HSM copies nothing by devices. */
  beside<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.use(work, signal);
  }

  async warmUp(): Promise<void> {
    if (this.#open === undefined) await this.use(async () => {});
  }

  close(): Promise<void> {
    return this.#turns.close(async () => {});
  }

  async #opened(): Promise<OpenPartition> {
    if (this.#open !== undefined) return this.#open;
    const { member, journal, process, interrupt, log } = this.#options;
    const { serial } = member;
    const readKeys = async (read: () => Promise<void>): Promise<void> => {
      const known = (): void => {
        member.domainKeys.splice(0, member.domainKeys.length, ...journal.domainKeys.of(serial));
        member.announced.splice(0, member.announced.length, ...journal.identities.announced(serial));
      };
      known();
      await read();
      await process.gate();
      if (!recordUnrecorded(member.keyring, { journal, serial, log })) return;
      known();
      await member.refresh();
      await process.gate();
    };
    try {
      await readKeys(() => member.reopen(interrupt));
      this.failure = undefined;
    } catch (thrown) {
      await process.gate();
      this.failure = AntipodeError.from(thrown);
      throw thrown;
    }
    const { provider: device } = member;
    // The epoch is looked at where a worker looks at it: after the way to the HSM.
    const inTenure = (provider: HsmProvider): OpenPartition => ({
      ...rest,
      provider,
      get keyring() {
        return member.keyring;
      },
      under: (tenure) => inTenure(gated(underTenure(device, this.#floors, tenure), this.#options)),
    });
    const rest: Omit<OpenPartition, 'provider' | 'keyring' | 'under'> = {
      description: {
        serial: member.serial,
        label: member.serial,
        manufacturer: '',
        model: 'simulated',
        firmware: '1',
        unenforced: [],
        silentSlots: [],
        freeSlots: 0,
      },
      captures: new CaptureMemory(),
      replica: new ReplicaMemory(),
      refreshKeyring: () => readKeys(() => member.refresh()),
    };
    this.#open = inTenure(gated(underTenure(device, this.#floors), this.#options));
    return this.#open;
  }
}

/** Calls of a process that has ended change nothing, and are answered by nobody. */
function gated<Provider extends object>(
  provider: Provider,
  { process, beforeCall, afterCall }: Pick<SimulatedPartitionOptions, 'process' | 'beforeCall' | 'afterCall'>,
): Provider {
  const calls = new Map<PropertyKey, unknown>();
  return new Proxy(provider, {
    get: (target, name) => {
      const known = calls.get(name);
      if (known !== undefined) return known;
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      const call = async (...given: unknown[]): Promise<unknown> => {
        await process.gate();
        beforeCall();
        try {
          return await member.apply(target, given);
        } finally {
          if (!process.hasEnded) afterCall();
          await process.gate();
        }
      };
      calls.set(name, call);
      return call;
    },
  });
}
