/** The links between machines, each direction with its faults, and the machines that have no power. */

/** Faults of one direction of a link. */
export interface LinkFaults {
  isCut: boolean;
  /** Every message takes so much longer, at most. */
  slowMs: number;
  /** How probable it is that a message breaks its connection. */
  lossy: number;
  /** How probable it is that a request arrives twice. */
  doubling: number;
}

const sound = (): LinkFaults => ({ isCut: false, slowMs: 0, lossy: 0, doubling: 0 });

export class Links {
  readonly #links = new Map<string, LinkFaults>();
  readonly #off = new Set<string>();
  /** Machines whose certificate has expired: nobody takes their connections, nor they those of others. */
  readonly expired = new Set<string>();
  readonly #healed: (() => void)[] = [];

  of(from: string, to: string): LinkFaults {
    const key = `${from}>${to}`;
    const known = this.#links.get(key);
    if (known !== undefined) return known;
    const faults = sound();
    this.#links.set(key, faults);
    return faults;
  }

  cut(from: string, to: string): void {
    this.of(from, to).isCut = true;
  }

  heal(from: string, to: string): void {
    this.of(from, to).isCut = false;
    for (const go of this.#healed.splice(0)) go();
  }

  switchOff(machine: string): void {
    this.#off.add(machine);
  }

  switchOn(machine: string): void {
    this.#off.delete(machine);
  }

  isOff(machine: string): boolean {
    return this.#off.has(machine);
  }

  /** Whether one end hears nothing from the other. */
  isSilent(one: string, other: string): boolean {
    return this.#off.has(other) || this.of(one, other).isCut || this.of(other, one).isCut;
  }

  /** TCP sends again until the connection is given up. Then the signal aborts. */
  async untilOpen(from: string, to: string, signal: AbortSignal): Promise<void> {
    while ((this.of(from, to).isCut || this.#off.has(to)) && !signal.aborted)
      await new Promise<void>((resolve) => this.#healed.push(resolve));
  }
}
