/** `npm run chaos:hsm`: kill -9 at every step of an apply. One JSON line on standard output, the rest on standard error. */

import { runProgram } from '../program.ts';
import { run } from './campaign.ts';
import { HELP, type Options, parseOptions } from './options.ts';

async function main(options: Options): Promise<number> {
  const { isJson, replay, ...rest } = options;
  const tell = (text: string): void => {
    if (!isJson || text.startsWith('VIOLATION')) console.error(text);
  };
  const outcome = await run({ ...rest, steps: 'all', tell, ...(replay === undefined ? {} : { replay }) });
  const { kills, harms, seconds, stepsHit, stepsAll, halfKeysLeft, readerCrashes, kinds } = outcome;
  tell(
    `${kills} kills in ${seconds.toFixed(0)} s (${(kills / seconds).toFixed(2)} a second), at ${stepsHit} of ${stepsAll} recorded steps; ${halfKeysLeft} left a half key; ${readerCrashes} looks crashed the PKCS#11 library`,
  );
  for (const [phase, { points, kills: hits }] of Object.entries(outcome.phases))
    tell(`  ${hits} kills in the ${phase}, at ${points} points that a life has`);
  for (const [point, count] of Object.entries(outcome.pointNames).sort()) tell(`    ${count} ${point}`);
  for (const [kind, count] of Object.entries(kinds).sort(([, a], [, b]) => b - a)) tell(`  ${count} ${kind}`);
  const { lost, halfKeys, foreignDestroyed } = harms;
  process.stdout.write(`${JSON.stringify({ kills, lost, halfKeys, foreignDestroyed })}\n`);
  return outcome.violations.length === 0 ? 0 : 1;
}

await runProgram({ name: 'chaos:hsm', help: HELP, parse: parseOptions, run: main });
