/** A small replacement in one source file. */
export interface Replacement {
  readonly file: string;
  /** Is in the file exactly once. */
  readonly from: string;
  readonly to: string;
}

/** A deliberate bug in the product. */
export interface Mutant extends Replacement {
  readonly name: string;
  /** Another guard of the same rule, which would hide the bug. It is taken away with it. */
  readonly besides?: Replacement;
  /** Stories that catch it, in the order in which they are tried (scenarios/directed.ts). */
  readonly stories: readonly string[];
}
