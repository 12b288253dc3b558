/** `npm run chaos`: many seeds of a simulated system. One line on standard output, the rest on standard error. */
import { MUTANTS } from '../mutants/table.ts';
import { runProgram, UsageError } from '../program.ts';
import { told } from '../scenarios/story.ts';
import type { Told } from './messages.ts';
import { HELP, type Options, parseOptions } from './options.ts';
import { runSeeds } from './pool.ts';
import { replay } from './replay.ts';
import { Sum } from './sum.ts';
import { tryMutants } from './try-mutants.ts';

const PROGRESS_SEEDS = 100;
const TEXT_MAX = 900;

/** The violation, the shortest story that finds it, and the command that opens it. */
function story({ seed, violations, acts }: Told): string {
  const [first] = violations;
  const all =
    first === undefined
      ? ''
      : ` ${first.invariant} ${first.checker} after ${(first.atMs / 1_000).toFixed(1)} s: ${first.text.slice(0, TEXT_MAX)}`;
  return [
    `VIOLATION seed ${seed}:${all}`,
    ...acts.map((act) => `  [${act.id}] ${told(act)}`),
    `  npm run chaos -- --replay ${seed}`,
  ].join('\n');
}

async function campaign(
  { seeds, seed: first, workers, isJson, mutants }: Options,
  signal: AbortSignal,
): Promise<number> {
  const sum = new Sum();
  const startedMs = performance.now();
  const say = (text: string): void => console.error(text);
  const wanted = mutants === 'all' ? MUTANTS : MUTANTS.filter(({ name }) => name === mutants);
  if (mutants !== 'none' && wanted.length === 0) throw new UsageError(`--mutants: no mutant is named "${mutants}"`);
  const asked = function* () {
    for (let at = 0; at < seeds; at += 1) yield { seed: first + at, isShrunk: true };
  };
  if (seeds > 0)
    await runSeeds({
      seeds: asked(),
      workers: Math.min(workers, seeds),
      signal,
      told: (answer) => {
        sum.add(answer);
        if (answer.violations.length > 0) say(story(answer));
        if (sum.seeds % PROGRESS_SEEDS === 0)
          say(
            `${sum.seeds} of ${seeds} seeds, ${sum.violations} with violations, ${((performance.now() - startedMs) / sum.seeds).toFixed(0)} ms each`,
          );
        return false;
      },
    });
  if (mutants !== 'none' && !signal.aborted) {
    const caught = await tryMutants(wanted, { workers, say, signal });
    Object.assign(sum.mutants, { caught: caught.length, tried: wanted.length });
  }
  say(`${Math.round((performance.now() - startedMs) / 1_000)} s`);
  process.stdout.write(`${isJson ? JSON.stringify(sum) : String(sum)}\n`);
  return sum.isClean ? 0 : 1;
}

async function main(options: Options, signal: AbortSignal): Promise<number> {
  if (options.replay !== undefined)
    return replay(options.replay, { without: options.without, input: process.stdin, output: process.stdout });
  return campaign(options, signal);
}

await runProgram({ name: 'chaos', help: HELP, parse: parseOptions, run: main, stops: true });
