/**
 * This site's word for active members elsewhere, while no coordinator answers them (ADR 0048). A word is given for the
 * process that a coordinator has named in this run of the agent, and only while this site has persisted no other epoch.
 * So it ends with the order that persists one. Nothing of it outlives the process: a journal that was put back says
 * nothing, since its agent has to be started first.
 */
import { VOUCH_MS, type Vouchee } from '@antipode/protocol';
import { AntipodeError, type Clock } from '@antipode/runtime';
import type { TenureRecords } from '../storage/journal/tenure.ts';

export interface VouchPorts {
  readonly name: string;
  readonly clock: Clock;
  readonly tenure: Pick<TenureRecords, 'fence' | 'quarantine'>;
}

/** The tenure of an active member, and the run of its agent, as in its journal. */
export interface VouchRequest {
  readonly group: string;
  readonly epoch: bigint;
  readonly run: string;
}

export class VouchBook {
  readonly #ports: VouchPorts;
  #vouchees: readonly Vouchee[] = [];
  /** Of the last word. At the start: an earlier process may have given one a moment before. */
  #lastMs: number;
  /** Of the last word for each group, in this process. */
  readonly #wordMs = new Map<string, number>();

  constructor(ports: VouchPorts) {
    this.#ports = ports;
    this.#lastMs = ports.clock.monotonicMs();
  }

  /** Takes the place of all that was said before. */
  learn(vouchees: readonly Vouchee[]): void {
    this.#vouchees = vouchees;
  }

  /** The processes for which this site would give its word. */
  get vouchees(): readonly Vouchee[] {
    return this.#vouchees;
  }

  /** How long ago the last word was given, or may have been. Monotonic: too short where the machine has slept. */
  get silentMs(): number {
    return this.#ports.clock.monotonicMs() - this.#lastMs;
  }

  /** @throws EPOCH_STALE, VOUCH_REFUSED */
  vouch({ group, epoch, run }: VouchRequest, caller: string): void {
    const { name, clock, tenure } = this.#ports;
    const fence = tenure.fence(group);
    if (fence !== undefined && fence.epoch > epoch)
      throw new AntipodeError('EPOCH_STALE', `site ${name} has persisted epoch ${fence.epoch} of group ${group}`, {
        details: { group, epoch, persisted: fence.epoch, owner: fence.owner },
      });
    const refuse = (why: string): never => {
      throw new AntipodeError('VOUCH_REFUSED', `site ${name} does not vouch for site ${caller}: ${why}`, {
        details: { group, epoch, site: caller },
      });
    };
    if (fence?.epoch !== epoch || fence.owner !== caller) refuse(`it has not persisted epoch ${epoch} as that site's`);
    if (tenure.quarantine(group) !== undefined) refuse('its own journal may be an older copy');
    const known = this.#vouchees.find((one) => one.group === group);
    if (known?.epoch !== epoch || known.site !== caller) refuse('no coordinator has named that site since it started');
    if (known?.run !== run) refuse('a coordinator has named another process of that site');
    this.#lastMs = clock.monotonicMs();
    this.#wordMs.set(group, this.#lastMs);
  }

  /**
   * Waits until no word of this process keeps a lease alive any more. A coordinator that knows of the word has waited for
   * it already. One that was made to forget it has not.
   */
  async untilOver(group: string, signal?: AbortSignal): Promise<void> {
    const { clock } = this.#ports;
    const wordMs = this.#wordMs.get(group);
    const leftMs = wordMs === undefined ? 0 : wordMs + VOUCH_MS - clock.monotonicMs();
    if (leftMs > 0) await clock.sleep(Math.ceil(leftMs), signal);
  }
}
