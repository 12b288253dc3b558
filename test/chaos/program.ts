/** How each chaos program starts and ends: help, wrong words, signals, exit status. */
import { constants } from 'node:os';

/** The words of the command line are wrong. */
export class UsageError extends Error {}

/**
 * Runs a program. `parse` gives undefined where help was asked for, and throws UsageError. Exit status: that of `run`, 2
 * for wrong words, 1 for anything else that is thrown, 128 and its number for a signal.
 */
export async function runProgram<Options>({
  name,
  help,
  parse,
  run,
}: {
  name: string;
  help: string;
  parse: (args: readonly string[]) => Options | undefined;
  run: (options: Options) => Promise<number>;
}): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      console.error(`interrupted by ${signal}`);
      process.exit(128 + constants.signals[signal]);
    });
  try {
    const options = parse(process.argv.slice(2));
    if (options === undefined) process.stdout.write(help);
    else process.exitCode = await run(options);
  } catch (thrown) {
    if (thrown instanceof UsageError) console.error(`${name}: ${thrown.message}\n\n${help}`);
    else console.error(thrown);
    process.exitCode = thrown instanceof UsageError ? 2 : 1;
  }
}
