/**
 * Ages from the wire as instants. The same instant comes out a little different each time, since answers take different
 * times on their way. One that has moved by less than the tolerance stays as it was, so that nothing seems to change.
 */

const TOLERANCE_MS = 1_500;

export class Instants {
  #before = new Map<string, number>();
  #now = new Map<string, number>();
  #nowMs = 0;

  /** Begins the next reading: names that it does not ask for are forgotten. */
  begin(nowMs: number): void {
    this.#before = this.#now;
    this.#now = new Map();
    this.#nowMs = nowMs;
  }

  /** For the few that move all the time, and by which people see that something lives. */
  exact(ageMs: bigint | number): number {
    return Math.round(this.#nowMs - Number(ageMs));
  }

  /** @param name of the instant, the same in each reading */
  of(name: string, ageMs: bigint | number): number {
    const instant = this.#nowMs - Number(ageMs);
    const before = this.#before.get(name);
    const kept = before !== undefined && Math.abs(before - instant) < TOLERANCE_MS ? before : Math.round(instant);
    this.#now.set(name, kept);
    return kept;
  }
}
