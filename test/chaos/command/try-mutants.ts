/** Tries deliberate bugs: each must be caught by one of the seeds that its row names. */
import type { Mutant } from '../mutants/table.ts';
import { runSeeds } from './pool.ts';

export async function tryMutants(
  mutants: readonly Mutant[],
  { workers, say }: { workers: number; say: (text: string) => void },
): Promise<readonly Mutant[]> {
  const caught: Mutant[] = [];
  const waiting = [...mutants];
  const lane = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const { name, seeds } = mutant;
      let by: string | undefined;
      await runSeeds({
        seeds: seeds.map((seed) => ({ seed, isShrunk: false })),
        workers: 1,
        mutant: name,
        told: ({ seed, violations: [first] }) => {
          if (first !== undefined) by = `${first.invariant} ${first.checker} in seed ${seed}`;
          return first !== undefined;
        },
      });
      say(by === undefined ? `mutant ${name} was NOT caught` : `mutant ${name}: ${by}`);
      if (by !== undefined) caught.push(mutant);
    }
  };
  await Promise.all(Array.from({ length: Math.min(workers, mutants.length) }, lane));
  return caught;
}
