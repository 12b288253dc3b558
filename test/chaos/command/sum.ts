/** The sum of all seeds of a campaign: its closing line, for programs and for people. */
import type { Told } from './messages.ts';

export class Sum {
  seeds = 0;
  /** Seeds that broke a rule. */
  violations = 0;
  readonly mutants = { caught: 0, tried: 0 };
  #virtualMs = 0;
  #checks = 0;
  readonly #faults: Record<string, number> = {};

  add({ violations, virtualMs, checks, faults }: Told): void {
    this.seeds += 1;
    if (violations.length > 0) this.violations += 1;
    this.#virtualMs += virtualMs;
    this.#checks += checks;
    for (const [kind, count] of Object.entries(faults)) this.#faults[kind] = (this.#faults[kind] ?? 0) + count;
  }

  get isClean(): boolean {
    return this.violations === 0 && this.mutants.caught === this.mutants.tried;
  }

  toJSON() {
    return {
      seeds: this.seeds,
      violations: this.violations,
      virtualHours: Number((this.#virtualMs / 3_600_000).toFixed(2)),
      faults: Object.fromEntries(Object.entries(this.#faults).sort(([one], [other]) => one.localeCompare(other))),
      checks: this.#checks,
      mutantsCaught: `${this.mutants.caught}/${this.mutants.tried}`,
    };
  }

  toString(): string {
    const { seeds, violations, virtualHours, checks, mutantsCaught } = this.toJSON();
    const mutants = this.mutants.tried === 0 ? '' : `, ${mutantsCaught} mutants caught`;
    return `${seeds} seeds, ${violations} with violations, ${virtualHours} simulated hours, ${checks} checks${mutants}`;
  }
}
