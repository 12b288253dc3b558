/** Opens the run of one seed: its steps, the state of every process at one of them, and what changed between two. */
import { createInterface } from 'node:readline/promises';
import { storyNamed } from '../scenarios/directed.ts';
import { catchUncaught, type Outcome, run, without } from '../scenarios/run.ts';
import { told } from '../scenarios/story.ts';
import { picture } from '../simulator/picture.ts';

export const COMMANDS = `  log [FROM [TO]] [all]   the lines of the event log from step FROM to step TO; all shows the messages too
  state STEP [WHO]        everything that is so after this step, or what concerns WHO: "site a", "database"
  diff FROM TO [WHO]      what is different after step TO
  story                   the acts, by their numbers (--without leaves some out)
  help, quit
`;

const stepOf = (line: string): number => Number(/^\s*[\d.]+ (\d+) /.exec(line)?.[1] ?? 0);

export async function replay(
  seed: string,
  {
    without: left,
    input,
    output,
  }: { without: ReadonlySet<number>; input: NodeJS.ReadableStream; output: NodeJS.WritableStream },
): Promise<number> {
  catchUncaught();
  const story = without(storyNamed(seed), left);
  const say = (text: string): void => void output.write(`${text}\n`);
  const outcome = await run(story);
  const pictures = new Map<number, readonly string[]>();
  const at = async (step: number): Promise<readonly string[]> => {
    const known = pictures.get(step);
    if (known !== undefined) return known;
    const lines = picture((await run(story, { untilStep: step })).world);
    pictures.set(step, lines);
    return lines;
  };
  for (const act of story.acts) say(`[${act.id}] ${told(act)}`);
  say(summary(seed, outcome));
  const lines = createInterface({ input });
  for await (const text of lines) {
    const [command = '', ...words] = text.trim().split(/\s+/);
    const numbers = words.map(Number).filter((number) => Number.isInteger(number));
    const who = words.filter((word) => word !== 'all' && !/^\d+$/.test(word)).join(' ');
    const ofWhom = (all: readonly string[]): readonly string[] =>
      who === '' ? all : all.filter((line) => line.startsWith(who));
    const [from = 0, to = Number.POSITIVE_INFINITY] = numbers;
    switch (command) {
      case 'quit':
        lines.close();
        return 0;
      case 'log':
        for (const line of outcome.log.lines)
          if (stepOf(line) >= from && stepOf(line) <= to && (words.includes('all') || !line.includes(' message ')))
            say(line);
        break;
      case 'state':
        for (const line of ofWhom(await at(from))) say(line);
        break;
      case 'diff': {
        const [before, after] = [ofWhom(await at(from)), ofWhom(await at(to))];
        for (const line of before) if (!after.includes(line)) say(`- ${line}`);
        for (const line of after) if (!before.includes(line)) say(`+ ${line}`);
        break;
      }
      case 'story':
        for (const act of story.acts) say(`[${act.id}] ${told(act)}`);
        break;
      case '':
        break;
      default:
        say(COMMANDS);
    }
  }
  return 0;
}

function summary(seed: string, { violations, virtualMs, steps, log }: Outcome): string {
  const found = violations.map(
    ({ invariant, checker, text, step }) => `${invariant} ${checker} at step ${step}: ${text}`,
  );
  return [
    `seed ${seed}: ${steps} steps in ${(virtualMs / 1_000).toFixed(1)} simulated seconds, event log ${log.sha256}`,
    ...(found.length === 0 ? ['no violation'] : found),
  ].join('\n');
}
