/**
 * A run of `lunacm -f`: the commands are in a file, so that no answer can be looked at before the next command is done. It
 * is for commands that change nothing and log in nowhere, where the tool writes nothing until it ends.
 */
import { AntipodeError, type Clock, invariant } from '@antipode/runtime';
import { type Command, exit, shownOf } from './commands.ts';
import type { Reply } from './lunacm-session.ts';
import { withoutPrompts } from './parse/clean-text.ts';
import { failureOf, trailerOf } from './parse/reply.ts';
import type { Phrases } from './phrases.ts';
import { Scanner } from './scanner.ts';
import type { Transcript } from './transcript.ts';
import type { SilenceLimits } from './transport/limits.ts';
import type { ToolLauncher } from './transport/tool-process.ts';

export interface BatchPorts {
  readonly launcher: ToolLauncher;
  readonly clock: Clock;
  readonly phrases: Phrases;
  readonly limits: SilenceLimits;
  readonly transcript: Transcript;
}

/**
 * The lines before the first trailer, and the reply to each command.
 * @throws LUNA_UNREACHED if the tool did not end, LUNA_OUTPUT_UNCLEAR if commands and trailers differ in number
 */
export async function runBatch(
  commands: readonly Command[],
  { launcher, clock, phrases, limits, transcript }: BatchPorts,
): Promise<Reply[]> {
  invariant(
    commands.every(({ effect }) => effect === 'reads'),
    'a file of commands may only read',
  );
  for (const command of commands) transcript.typed(shownOf(command));
  const process = launcher.launchFile([...commands, exit]);
  const scanner = new Scanner();
  process.read((bytes) => scanner.feed(bytes));
  const over = new AbortController();
  // Nothing is to be heard until the end, so that the limit is for the start and all commands together.
  const limitMs = limits.startMs + limits.commandMs;
  const hasEnded = await Promise.race([
    process.ended.then(() => true),
    clock.sleep(limitMs, over.signal).then(() => false),
  ]);
  over.abort();
  const lines = [...scanner.take(), scanner.takeTail()].map(withoutPrompts);
  transcript.printed(lines);
  process.dispose();
  if (!hasEnded) {
    process.kill();
    throw new AntipodeError('LUNA_UNREACHED', `lunacm did not end within ${limitMs} ms`);
  }
  return repliesIn(lines, commands.length, phrases);
}

/** Exported for tests. */
export function repliesIn(lines: readonly string[], count: number, phrases: Phrases): Reply[] {
  const replies: Reply[] = [];
  let piece: string[] = [];
  for (const line of lines) {
    const trailer = trailerOf(line, phrases);
    if (trailer === undefined) {
      piece.push(line);
      continue;
    }
    const failure = failureOf(trailer, piece, phrases);
    replies.push(
      failure === undefined
        ? { outcome: 'done', lines: piece, wasAtPed: false }
        : { outcome: 'failed', failure, lines: piece },
    );
    piece = [];
  }
  if (replies.length !== count)
    throw new AntipodeError('LUNA_OUTPUT_UNCLEAR', `${count} commands had ${replies.length} trailers`);
  return replies;
}
