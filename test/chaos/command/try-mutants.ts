/** Tries deliberate bugs: each must be caught by one of the stories that its row names. */
import type { Mutant } from '../mutants/table.ts';
import type { Ask } from './messages.ts';
import { runSeeds } from './pool.ts';

function askFor(text: string): Ask {
  const [story = '', seed] = text.split('/');
  return { story, seed: Number(seed), isShrunk: false };
}

export async function tryMutants(
  mutants: readonly Mutant[],
  { workers, say, signal }: { workers: number; say: (text: string) => void; signal?: AbortSignal },
): Promise<readonly Mutant[]> {
  const caught: Mutant[] = [];
  const waiting = [...mutants];
  const lane = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined && signal?.aborted !== true; mutant = waiting.shift()) {
      const { name, stories } = mutant;
      let by: string | undefined;
      await runSeeds({
        seeds: stories.map(askFor),
        workers: 1,
        mutant: name,
        ...(signal === undefined ? {} : { signal }),
        told: ({ violations: [first] }) => {
          if (first !== undefined) by = `${first.invariant} ${first.checker}`;
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
