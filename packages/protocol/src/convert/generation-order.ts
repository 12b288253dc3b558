/** The order of the generations of one group: by the epoch of their tenure, then by number. One order for all. */

/** The place of a generation in its line. */
export interface GenerationPosition {
  readonly epoch: bigint;
  readonly number: bigint;
}

/** A generation of a later tenure is newer, whatever its number. Any generation is newer than none. */
export function isNewer(a: GenerationPosition | undefined, b: GenerationPosition | undefined): boolean {
  if (a === undefined || b === undefined) return a !== undefined;
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.number > b.number;
}

/** The newest of these; of equals, the first. */
export function newestOf<T extends GenerationPosition>(generations: Iterable<T | undefined>): T | undefined {
  let newest: T | undefined;
  for (const one of generations) if (isNewer(one, newest)) newest = one;
  return newest;
}
