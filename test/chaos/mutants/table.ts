/** Deliberate bugs in the product, and the seeds that catch them. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Is in the file exactly once. */
  readonly from: string;
  readonly to: string;
  /** Some that catch it, in the order in which they are tried. */
  readonly seeds: readonly number[];
}

export const MUTANTS: readonly Mutant[] = [];
