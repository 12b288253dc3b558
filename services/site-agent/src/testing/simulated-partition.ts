/** A partition whose HSM is in memory. Its work runs in turn; reopening the member is what the loss of its worker does. */
import { CaptureMemory, ReplicaMemory } from '@antipode/hsm-core';
import type { SimulatedMember } from '@antipode/hsm-core/testing';
import { AntipodeError } from '@antipode/runtime';
import type { OpenPartition, Partition } from '../partition/partition.ts';
import { type Rank, Turns, yielding } from '../partition/turns.ts';
import type { Journal } from '../storage/journal/journal.ts';

export class SimulatedPartition implements Partition {
  readonly settings: Partition['settings'];
  readonly formerIdentities = [];
  readonly hasReceivingKey = true;
  readonly unenforced = [];
  readonly silentSlots = [];
  readonly unansweredMs = 0;
  readonly failure = undefined;
  readonly #member: SimulatedMember;
  readonly #journal: Journal;
  readonly #turns = new Turns();
  readonly #open: OpenPartition;
  #isLost = false;

  constructor(options: { member: SimulatedMember; journal: Journal; role: Partition['settings']['role'] }) {
    const { member, journal, role } = options;
    this.#member = member;
    this.#journal = journal;
    this.settings = { name: member.serial, module: 'simulated', tokenLabel: member.serial, role };
    const alive = (): void => {
      if (this.#isLost) throw new AntipodeError('HSM_WORKER_LOST', 'the agent has ended');
    };
    this.#open = {
      get provider() {
        alive();
        return member.provider;
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
        member.domainKeys.splice(0, member.domainKeys.length, ...this.#journal.domainKeys.of(member.serial));
        await member.refresh();
      },
    };
  }

  get serial(): string {
    return this.#member.serial;
  }

  get identitySha256(): string {
    return this.#member.keyring.identity.sha256;
  }

  get trusted(): Partition['trusted'] {
    return this.#journal.domainKeys.of(this.serial).filter(({ trusted }) => trusted !== undefined);
  }

  use<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal, rank: Rank = 'normal'): Promise<T> {
    const open = this.#open;
    return this.#turns.take(
      (makeWay) =>
        work(
          rank === 'yielding' ? { ...open, provider: yielding(open.provider, makeWay), keyring: open.keyring } : open,
        ),
      signal,
      rank,
    );
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
