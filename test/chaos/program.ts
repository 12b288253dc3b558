/** How each chaos program starts and ends: help, wrong words, signals, exit status. */
import { constants } from 'node:os';

/** The words of the command line are wrong. */
export class UsageError extends Error {}

/**
 * Runs a program. `parse` gives undefined where help was asked for, and throws UsageError. Exit status: that of `run`, 2
 * for wrong words, 1 for anything else that is thrown, 128 and its number for a signal. A program that `stops` ends by
 * itself after the first signal, with what it has done until then.
 */
export async function runProgram<Options>({
  name,
  help,
  parse,
  run,
  stops = false,
}: {
  name: string;
  help: string;
  parse: (args: readonly string[]) => Options | undefined;
  run: (options: Options, stop: AbortSignal) => Promise<number>;
  stops?: boolean;
}): Promise<void> {
  const stop = new AbortController();
  let interrupted: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      console.error(`interrupted by ${signal}`);
      interrupted = 128 + constants.signals[signal];
      if (!stops) process.exit(interrupted);
      stop.abort();
    });
  try {
    const options = parse(process.argv.slice(2));
    if (options === undefined) process.stdout.write(help);
    else {
      const status = await run(options, stop.signal);
      process.exitCode = interrupted ?? status;
    }
  } catch (thrown) {
    if (thrown instanceof UsageError) console.error(`${name}: ${thrown.message}\n\n${help}`);
    else console.error(thrown);
    process.exitCode = thrown instanceof UsageError ? 2 : 1;
  }
}
