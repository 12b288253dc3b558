/**
 * Makes one mutant: a text of a source file of the product is replaced while the file is loaded. Nothing in the product
 * knows of it, and no file changes.
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { MUTANTS } from './table.ts';

export const ROOT = new URL('../../../', import.meta.url);

/** @throws if there is no such mutant, or its text is not in its file exactly once */
export function mutatedSource(name: string): { readonly url: string; readonly source: string } {
  const mutant = MUTANTS.find((one) => one.name === name);
  if (mutant === undefined) throw new Error(`no mutant is named ${name}`);
  const { file, from, to } = mutant;
  const url = new URL(file, ROOT);
  const source = readFileSync(fileURLToPath(url), 'utf8');
  const found = source.split(from).length - 1;
  if (found !== 1) throw new Error(`mutant ${name}: its text is ${found} times in ${file}, expected once`);
  return { url: url.href, source: source.replace(from, () => to) };
}

export function makeMutant(name: string): void {
  const { url, source } = mutatedSource(name);
  registerHooks({
    load: (asked, context, nextLoad) =>
      asked === url ? { format: 'module-typescript', source, shortCircuit: true } : nextLoad(asked, context),
  });
}
