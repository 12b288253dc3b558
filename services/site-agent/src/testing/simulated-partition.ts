/** A partition whose HSM is in memory. Its work runs in turn; reopening the member is what the loss of its worker does. */
import { CaptureMemory, type GroupEpoch, type HsmProvider, ReplicaMemory } from '@antipode/hsm-core';
import { EpochFloors, type SimulatedMember, simulatedDomainOf, underTenure } from '@antipode/hsm-core/testing';
import { AntipodeError, hex, silentLog } from '@antipode/runtime';
import type { OpenPartition, Partition } from '../partition/partition.ts';
import { type Rank, Turns, yielding } from '../partition/turns.ts';
import { recordUnrecorded } from '../partition/unrecorded-keys.ts';
import type { Journal } from '../storage/journal/journal.ts';

export class SimulatedPartition implements Partition {
  readonly settings: Partition['settings'];
  readonly formerIdentities = [];
  readonly hasReceivingKey = true;
  readonly unenforced = [];
  readonly silentSlots = [];
  readonly unansweredMs = 0;
  readonly stalledMs = 0;
  readonly longestWaitMs = 0;
  readonly failure = undefined;
  readonly #member: SimulatedMember;
  readonly #journal: Journal;
  readonly #turns = new Turns();
  readonly #open: Omit<OpenPartition, 'under'>;
  readonly #floors = new EpochFloors();
  readonly #unfenced = new WeakMap<HsmProvider, HsmProvider>();
  #isLost = false;

  constructor(options: { member: SimulatedMember; journal: Journal; role: Partition['settings']['role'] }) {
    const { member, journal, role } = options;
    this.#member = member;
    this.#journal = journal;
    this.settings = { name: member.serial, module: 'simulated', tokenLabel: member.serial, role };
    this.#floors.raise(journal.tenure.epochs());
    journal.tenure.watch((persisted) => this.#floors.raise([persisted]));
    const outsideTenure = (): HsmProvider => this.#withoutTenure();
    const alive = (): void => {
      if (this.#isLost) throw new AntipodeError('HSM_WORKER_LOST', 'the agent has ended');
    };
    this.#open = {
      get provider() {
        alive();
        return outsideTenure();
      },
      get keyring() {
        alive();
        return member.keyring;
      },
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
      refreshKeyring: async () => {
        const known = (): void => {
          member.domainKeys.splice(0, member.domainKeys.length, ...this.#journal.domainKeys.of(member.serial));
        };
        known();
        await member.refresh();
        if (!recordUnrecorded(member.keyring, { journal, serial: member.serial, log: silentLog })) return;
        known();
        await member.refresh();
      },
    };
  }

  get ordersWaiting(): number {
    return this.#turns.waiting;
  }

  get serial(): string {
    return this.#member.serial;
  }

  get identitySha256(): string {
    return this.#member.keyring.identity.sha256;
  }

  get cloningDomain(): string | undefined {
    const { cloningKey } = this.#member.hsm;
    return cloningKey && hex(simulatedDomainOf(cloningKey));
  }

  get trusted(): Partition['trusted'] {
    return this.#journal.domainKeys.of(this.serial).filter(({ trusted }) => trusted !== undefined);
  }

  use<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal, rank: Rank = 'normal'): Promise<T> {
    const open = this.#open;
    const member = this.#member;
    const floors = this.#floors;
    return this.#turns.take(
      (makeWay) => {
        const given = (tenure?: GroupEpoch): OpenPartition => ({
          ...open,
          get provider() {
            const outside = open.provider;
            const provider = tenure === undefined ? outside : underTenure(member.provider, floors, tenure);
            return rank === 'yielding' ? yielding(provider, makeWay) : provider;
          },
          get keyring() {
            return open.keyring;
          },
          under: given,
        });
        return work(given());
      },
      signal,
      rank,
    );
  }

  /** Nothing in memory waits for a device. */
  beside<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.use(work, signal);
  }

  /** One for each session: work may compare it. */
  #withoutTenure(): HsmProvider {
    const { provider } = this.#member;
    const known = this.#unfenced.get(provider) ?? underTenure(provider, this.#floors);
    this.#unfenced.set(provider, known);
    return known;
  }

  async warmUp(): Promise<void> {}

  /** Its agent has ended. Work that goes on all the same finds no HSM any more. */
  lose(): void {
    this.#isLost = true;
  }

  close(): Promise<void> {
    return this.#turns.close(async () => {});
  }
}
