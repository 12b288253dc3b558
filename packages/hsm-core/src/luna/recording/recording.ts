/**
 * Records what `lunacm` prints on real hardware, for people to send in. It types commands that only read, never logs in,
 * and answers no question. Serial numbers, labels and identifiers are masked before anything is written.
 */
import { join } from 'node:path';
import { AntipodeError, type Clock, makeFolder, writeFileDurably } from '@antipode/runtime';
import { cleanLine } from '../parse/clean-text.ts';
import { slotsIn } from '../parse/slots.ts';
import type { Phrases } from '../phrases.ts';
import { Scanner } from '../scanner.ts';
import type { SilenceLimits } from '../transport/limits.ts';
import type { ToolLauncher, Typed } from '../transport/tool-process.ts';
import { Mask } from './mask.ts';
import { type CaptureStep, FIRST_STEPS, LAST_STEPS, NOT_CAPTURED, stepsAt } from './plan.ts';

export interface CapturePorts {
  readonly launcher: ToolLauncher;
  readonly clock: Clock;
  readonly phrases: Phrases;
  readonly limits: SilenceLimits;
}

export interface CaptureReport {
  readonly folder: string;
  readonly files: readonly string[];
  /** Recalled texts and commands for which the outputs were recorded. */
  readonly covered: readonly string[];
  readonly notCovered: readonly string[];
}

/** @throws LUNA_UNREACHED if the tool does not start, FILE_UNWRITABLE */
export async function capture(folder: string, ports: CapturePorts): Promise<CaptureReport> {
  makeFolder(folder);
  const mask = new Mask();
  const files: string[] = [];
  const keep = (name: string, text: string): void => {
    writeFileDurably(join(folder, name), text);
    files.push(name);
  };
  const first = await session('pipe', [], ports);
  if (!first.hasStarted) throw new AntipodeError('LUNA_UNREACHED', 'lunacm printed no prompt');
  const slots = slotsIn(first.text.split('\n').map(cleanLine), ports.phrases);
  for (const { serial, label } of slots) for (const value of [serial, label]) mask.learn(value);
  const steps = [...FIRST_STEPS, ...slots.flatMap(({ number }) => stepsAt(number)), ...LAST_STEPS];
  const typed = new Set<CaptureStep>();
  for (const way of ['pipe', 'terminal'] as const) {
    const { text, answered } = await session(way, steps, ports);
    for (const step of answered) typed.add(step);
    keep(`${way}.txt`, mask.apply(text));
  }
  const covered = [...new Set([...typed].flatMap(({ confirms, forms }) => [...confirms, ...forms]))].sort();
  const notCovered = Object.keys(NOT_CAPTURED).filter((name) => !covered.includes(name));
  keep('README.md', readme({ steps: [...typed], notCovered }));
  return { folder, files, covered, notCovered };
}

interface Recorded {
  readonly text: string;
  readonly hasStarted: boolean;
  /** Commands that came back to the prompt. */
  readonly answered: readonly CaptureStep[];
}

/** One run of the tool, byte for byte, with a line before each command that says what was typed. */
async function session(way: Typed, steps: readonly CaptureStep[], ports: CapturePorts): Promise<Recorded> {
  const { launcher, clock, phrases, limits } = ports;
  const tool = launcher.launch(way);
  const pieces: string[] = [];
  const scanner = new Scanner();
  const decoder = new TextDecoder();
  let news = Promise.withResolvers<void>();
  let isOver = false;
  const tell = (): void => {
    news.resolve();
    news = Promise.withResolvers<void>();
  };
  tool.read((bytes) => {
    pieces.push(decoder.decode(bytes, { stream: true }));
    scanner.feed(bytes);
    tell();
  });
  void tool.ended.then(() => {
    isOver = true;
    tell();
  });
  const atPrompt = async (limitMs: number): Promise<boolean> => {
    for (;;) {
      scanner.take();
      if (phrases.prompt.pattern.test(scanner.tail)) return true;
      if (isOver) return false;
      const quiet = new AbortController();
      const { promise } = news;
      const hasNews = await Promise.race([
        promise.then(() => true),
        clock.sleep(limitMs, quiet.signal).then(() => false),
      ]);
      quiet.abort();
      if (!hasNews) return false;
    }
  };
  const answered: CaptureStep[] = [];
  const hasStarted = await atPrompt(limits.startMs);
  let isAtPrompt = hasStarted;
  for (const step of hasStarted ? steps : []) {
    scanner.takeTail();
    pieces.push(`\n#> ${step.line}\n`);
    await tool.write(Buffer.from(`${step.line}\n`));
    isAtPrompt = await atPrompt(limits.questionMs);
    if (!isAtPrompt) {
      pieces.push(`\n#> no prompt after ${limits.questionMs} ms: the session was ended here\n`);
      break;
    }
    answered.push(step);
  }
  // Elsewhere, the word could be the answer to a question.
  if (isAtPrompt) {
    await tool.write(Buffer.from('exit\n'));
    tool.endInput();
    const quiet = new AbortController();
    await Promise.race([tool.ended, clock.sleep(limits.questionMs, quiet.signal)]);
    quiet.abort();
  }
  if (!isOver) tool.kill();
  const { status, signal } = await tool.ended;
  pieces.push(`\n#> ended with status ${status ?? 'none'}, signal ${signal ?? 'none'}\n`);
  tool.dispose();
  return { text: pieces.join(''), hasStarted, answered };
}

function readme({ steps, notCovered }: { steps: readonly CaptureStep[]; notCovered: readonly string[] }): string {
  const rows = [
    ...new Map(
      steps
        .filter(({ confirms, forms }) => confirms.length + forms.length > 0)
        .map(({ line, confirms, forms }) => {
          const shown = line.replace(/\d+$/, 'N');
          return [shown, `| \`${shown}\` | ${[...confirms, ...forms].join(', ')} |`] as const;
        }),
    ).values(),
  ];
  return `# A capture of lunacm

Every command in here only reads. Nobody logged in. Serial numbers, labels and identifiers are masked: one value has one
mask, as long as itself. **Read both files before you send them.** A label of a key is in none of them.

- \`pipe.txt\`: the tool with its input and output in pipes
- \`terminal.txt\`: the same commands at a terminal

Lines that begin with \`#>\` were added: the command that was typed, and how the tool ended.

| command | recalled texts that its output confirms or replaces |
| --- | --- |
${rows.join('\n')}

Not in here, since it needs a login or a change:

${notCovered.map((name) => `- ${name}: ${NOT_CAPTURED[name]}`).join('\n')}
`;
}
