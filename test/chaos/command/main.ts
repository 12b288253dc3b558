/** `npm run chaos`: many seeds of a simulated system. One JSON line on standard output, the rest on standard error. */
import { MUTANTS } from '../mutants/table.ts';
import { runProgram, UsageError } from '../program.ts';
import { told } from '../scenarios/story.ts';
import type { Told } from './messages.ts';
import { HELP, type Options, parseOptions } from './options.ts';
import { runSeeds } from './pool.ts';
import { replay } from './replay.ts';
import { tryMutants } from './try-mutants.ts';

/** Of all seeds, for the closing line. */
class Sum {
  seeds = 0;
  violations = 0;
  virtualMs = 0;
  checks = 0;
  readonly faults: Record<string, number> = {};

  add({ violations, virtualMs, checks, faults }: Told): void {
    this.seeds += 1;
    if (violations.length > 0) this.violations += 1;
    this.virtualMs += virtualMs;
    this.checks += checks;
    for (const [kind, count] of Object.entries(faults)) this.faults[kind] = (this.faults[kind] ?? 0) + count;
  }
}

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

async function campaign({ seeds, seed: first, workers, isJson, mutants }: Options): Promise<number> {
  const sum = new Sum();
  const startedMs = performance.now();
  const say = (text: string): void => {
    if (!isJson) console.error(text);
  };
  const asked = Array.from({ length: seeds }, (_, at) => ({ seed: first + at, isShrunk: true }));
  if (seeds > 0)
    await runSeeds({
      seeds: asked,
      workers: Math.min(workers, seeds),
      told: (answer) => {
        sum.add(answer);
        if (answer.violations.length > 0) console.error(story(answer));
        if (sum.seeds % PROGRESS_SEEDS === 0)
          say(
            `${sum.seeds} of ${seeds} seeds, ${sum.violations} with violations, ${((performance.now() - startedMs) / sum.seeds).toFixed(0)} ms each`,
          );
        return false;
      },
    });
  const wanted = mutants === 'all' ? MUTANTS : MUTANTS.filter(({ name }) => name === mutants);
  if (mutants !== 'none' && wanted.length === 0) throw new UsageError(`--mutants: no mutant is named "${mutants}"`);
  const caught = mutants === 'none' ? [] : await tryMutants(wanted, { workers, say });
  const { virtualMs, checks, violations } = sum;
  const line = {
    seeds: sum.seeds,
    violations,
    virtualHours: Number((virtualMs / 3_600_000).toFixed(2)),
    faults: Object.fromEntries(Object.entries(sum.faults).sort(([one], [other]) => one.localeCompare(other))),
    checks,
    ...(mutants === 'none' ? {} : { mutantsCaught: `${caught.length}/${wanted.length}` }),
    seconds: Math.round((performance.now() - startedMs) / 1_000),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  return violations === 0 && (mutants === 'none' || caught.length === wanted.length) ? 0 : 1;
}

async function main(options: Options): Promise<number> {
  if (options.replay !== undefined)
    return replay(options.replay, { without: options.without, input: process.stdin, output: process.stdout });
  return campaign(options);
}

await runProgram({ name: 'chaos', help: HELP, parse: parseOptions, run: main });
