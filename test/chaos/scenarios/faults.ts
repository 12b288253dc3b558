/** Does the faults of a story to a world, and takes each back after its time. */
import { COORDINATOR_FAULTS } from './faults/coordinators.ts';
import type { FaultPorts, FaultTable, Undo } from './faults/fault.ts';
import { LINK_FAULTS } from './faults/links.ts';
import { ORDER_FAULTS } from './faults/orders.ts';
import { SITE_FAULTS } from './faults/sites.ts';
import { TOKEN_FAULTS } from './faults/tokens.ts';
import type { Act } from './story.ts';

const FAULT_ACTS: FaultTable = {
  ...SITE_FAULTS,
  ...TOKEN_FAULTS,
  ...ORDER_FAULTS,
  ...LINK_FAULTS,
  ...COORDINATOR_FAULTS,
};

/** The kinds of faults, for the table of README. */
export const FAULT_KINDS = Object.keys(FAULT_ACTS);

export class Faults {
  readonly #ports: FaultPorts;
  /** The faults under way, and how each is taken back. */
  readonly #open = new Map<number, Undo>();

  constructor(ports: FaultPorts) {
    this.#ports = ports;
  }

  /** @returns whether it is a fault */
  do(act: Act): boolean {
    const fault = FAULT_ACTS[act.kind];
    if (fault === undefined) return false;
    const { world } = this.#ports;
    const undo = fault(act, this.#ports);
    if (undo === undefined) return true;
    this.#open.set(act.id, undo);
    world.clock.after(act.ms, () => this.#undo(act));
    return true;
  }

  /** Takes back everything that is still done. */
  healAll(): void {
    const { world } = this.#ports;
    for (const undo of this.#open.values()) undo();
    this.#open.clear();
    for (const site of world.sites.values()) {
      site.resume();
      site.disk.crash = undefined;
      site.crashInSteps = undefined;
      site.start();
    }
    for (const { member } of world.members) member.hsm.faults.busyCalls = 0;
    for (const coordinator of world.coordinators.values()) {
      coordinator.resume();
      void coordinator.start();
    }
  }

  #undo({ id, kind, at }: Act): void {
    const undo = this.#open.get(id);
    if (undo === undefined) return;
    this.#open.delete(id);
    this.#ports.world.log.add('fault', at, `${kind} is over`);
    undo();
  }
}
