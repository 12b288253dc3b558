/** A deliberate bug in the product: a small replacement in one source file. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Is in the file exactly once. */
  readonly from: string;
  readonly to: string;
  /** Stories that catch it, in the order in which they are tried (scenarios/directed.ts). */
  readonly stories: readonly string[];
}
