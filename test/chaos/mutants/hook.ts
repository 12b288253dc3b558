/**
 * Makes one mutant: a text of a source file of the product is replaced while the file is loaded. Nothing in the product
 * knows of it, and no file changes.
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { MUTANTS } from './table.ts';

export const ROOT = new URL('../../../', import.meta.url);

/**
 * The changed sources, by the addresses of their files.
 * @throws if there is no such mutant, or a text is not in its file exactly once
 */
export function mutatedSources(name: string): ReadonlyMap<string, string> {
  const mutant = MUTANTS.find((one) => one.name === name);
  if (mutant === undefined) throw new Error(`no mutant is named ${name}`);
  const parts = mutant.besides === undefined ? [mutant] : [mutant, mutant.besides];
  return new Map(
    parts.map(({ file, from, to }) => {
      const url = new URL(file, ROOT);
      const source = readFileSync(fileURLToPath(url), 'utf8');
      const found = source.split(from).length - 1;
      if (found !== 1) throw new Error(`mutant ${name}: its text is ${found} times in ${file}, expected once`);
      return [url.href, source.replace(from, () => to)];
    }),
  );
}

export function makeMutant(name: string): void {
  const sources = mutatedSources(name);
  registerHooks({
    load: (asked, context, nextLoad) => {
      const source = sources.get(asked);
      return source === undefined
        ? nextLoad(asked, context)
        : { format: 'module-typescript', source, shortCircuit: true };
    },
  });
}
