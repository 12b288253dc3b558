/** `npm run chaos:hsm`: kill -9 at every step of an apply. One JSON line on standard output, the rest on standard error. */
import { constants } from 'node:os';
import { run } from './campaign.ts';
import { HELP, parseOptions, UsageError } from './options.ts';

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (options === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  const { isJson, replay, ...rest } = options;
  const tell = (text: string): void => {
    if (!isJson || text.startsWith('VIOLATION')) console.error(text);
  };
  const outcome = await run({ ...rest, steps: 'all', tell, ...(replay === undefined ? {} : { replay }) });
  const { kills, harms, seconds, stepsHit, stepsAll, halfKeysLeft, readerCrashes, kinds } = outcome;
  tell(
    `${kills} kills in ${seconds.toFixed(0)} s (${(kills / seconds).toFixed(2)} a second), at ${stepsHit} of ${stepsAll} recorded steps; ${halfKeysLeft} left a half key; ${readerCrashes} looks crashed the PKCS#11 library`,
  );
  for (const [kind, count] of Object.entries(kinds).sort(([, a], [, b]) => b - a)) tell(`  ${count} ${kind}`);
  const { lost, halfKeys, foreignDestroyed } = harms;
  process.stdout.write(`${JSON.stringify({ kills, lost, halfKeys, foreignDestroyed })}\n`);
  return outcome.violations.length === 0 ? 0 : 1;
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
    console.error(`chaos:hsm: ${thrown.message}\n\n${HELP}`);
    process.exitCode = 2;
  } else {
    console.error(thrown);
    process.exitCode = 1;
  }
}
