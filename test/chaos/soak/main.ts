/** `npm run chaos:soak`: a whole system under random faults. One JSON line on standard output, the rest on standard error. */
import { constants } from 'node:os';
import { HELP, parseOptions, UsageError } from './options.ts';
import { soak } from './soak.ts';

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (options === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  const { isJson, ...rest } = options;
  const tell = (text: string): void => {
    if (!isJson || text.startsWith('VIOLATION')) console.error(text);
  };
  const { violations: _violations, ...line } = await soak({ ...rest, tell });
  process.stdout.write(`${JSON.stringify(line)}\n`);
  return line.lost + line.deletedAnswers + line.twoActives + line.unsettled === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    console.error(`interrupted by ${signal}`);
    process.exit(128 + constants.signals[signal]);
  });
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (thrown) {
  if (thrown instanceof UsageError) {
    console.error(`chaos:soak: ${thrown.message}\n\n${HELP}`);
    process.exitCode = 2;
  } else {
    console.error(thrown);
    process.exitCode = 1;
  }
}
