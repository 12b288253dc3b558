/** `npm run chaos:soak`: a whole system under random faults. One JSON line on standard output, the rest on standard error. */

import { runProgram } from '../program.ts';
import { HELP, type Options, parseOptions } from './options.ts';
import { soak } from './soak.ts';

async function main(options: Options): Promise<number> {
  const { isJson, ...rest } = options;
  const tell = (text: string): void => {
    if (!isJson || text.startsWith('VIOLATION')) console.error(text);
  };
  const { violations: _violations, ...line } = await soak({ ...rest, tell });
  process.stdout.write(`${JSON.stringify(line)}\n`);
  return line.lost + line.deletedAnswers + line.twoActives + line.unsettled === 0 ? 0 : 1;
}

await runProgram({ name: 'chaos:soak', help: HELP, parse: parseOptions, run: main });
