/**
 * The short prints of files that were read before, so that a take reads again only what has changed since, and what it
 * takes. SoftHSM counts up the number in front of an object file with each write. A file whose number is the same is as
 * it was.
 */
interface Remembered {
  readonly generation: bigint;
  readonly print: string;
}

export class FilePrints {
  readonly #files = new Map<string, Remembered>();

  /** Undefined where the file is not known, or has changed. `generationOf` asks for the number that it has now. */
  of(name: string, generationOf: () => bigint | undefined): string | undefined {
    const known = this.#files.get(name);
    return known !== undefined && generationOf() === known.generation ? known.print : undefined;
  }

  remember(name: string, file: Remembered): void {
    this.#files.set(name, file);
  }

  /** Forgets the files that are gone. */
  keepOnly(names: readonly string[]): void {
    const there = new Set(names);
    for (const name of this.#files.keys()) if (!there.has(name)) this.#files.delete(name);
  }
}
