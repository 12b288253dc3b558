/** An application that makes keys where `resolve` says, and an operator who orders their replication. */
import { replicateOnce } from '@antipode/cli/testing';
import { systemClock } from '@antipode/runtime';
import { GROUP, type TestSystem } from '../../../support/system.ts';
import { ABSENT, type TokenJudge, type Value } from '../../soak/token-judge.ts';

/** After something that did not work. */
const PAUSE_MS = 200;
const CALL_MS_MAX = 5_000;
const ROUND_MS_MAX = 15_000;
const PAIR = ['--keypairgen', '--key-type', 'EC:prime256v1', '--sensitive', '--extractable', '--usage-sign'];

export interface Key {
  readonly id: string;
  readonly label: string;
  /** Where it was made. */
  readonly site: string;
  readonly value: Value;
}

export class KeyMaker {
  readonly #system: TestSystem;
  readonly #judges: ReadonlyMap<string, TokenJudge>;
  readonly #acknowledged: Key[] = [];
  readonly #stop = new AbortController();
  #count = 0;
  #running: Promise<void> | undefined;

  constructor(system: TestSystem, judges: ReadonlyMap<string, TokenJudge>) {
    this.#system = system;
    this.#judges = judges;
  }

  /** Keys that a standby had acknowledged: none of them may be lost. */
  get acknowledged(): readonly Key[] {
    return this.#acknowledged;
  }

  start(): void {
    this.#running = (async () => {
      while (!this.#stop.signal.aborted) {
        // A key that was not acknowledged was promised to nobody.
        const isDone = await this.makeAcknowledged().catch(() => false);
        if (!isDone) await systemClock.sleep(PAUSE_MS, this.#stop.signal);
      }
    })();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** One more key. @returns whether a standby has acknowledged it */
  async makeAcknowledged(): Promise<boolean> {
    const { operator } = this.#system;
    const { site, epoch } = await operator.resolve({ group: GROUP }, { timeoutMs: CALL_MS_MAX });
    const key = await this.make(site);
    if (this.#stop.signal.aborted) return false;
    const round = await replicateOnce(operator, GROUP, { timeoutMs: ROUND_MS_MAX });
    // A capture of a later tenure may be without it.
    if (BigInt(round.epoch) !== epoch) return false;
    const isAcknowledged = round.state.members.some(
      (member) =>
        member.site !== site &&
        member.acknowledgedEpoch === epoch &&
        member.acknowledgedGeneration >= BigInt(round.generation),
    );
    if (isAcknowledged) this.#acknowledged.push(key);
    return isAcknowledged;
  }

  /** One key that nobody is asked to replicate. */
  async make(site: string): Promise<Key> {
    this.#count += 1;
    const id = this.#count.toString(16).padStart(4, '0');
    const label = `key-${id}`;
    await this.#system.site(site).token.toolAsync(...PAIR, '--id', id, '--label', label);
    const value = await this.#judges.get(site)!.publicKey(id);
    // Without its public half nobody could tell later whether the key signs.
    if (value === ABSENT) throw new Error(`the public half of ${label} cannot be read at site ${site}`);
    return { id, label, site, value };
  }
}
