/**
 * The cost of each test file, for whoever looks for slow ones: `ANTIPODE_COSTS=costs.tsv npm test` adds a line for each
 * file outside the unit tests. It has the seconds that passed, those of processor time of the test's own process, those
 * of the children that have ended, and the path.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { afterAll, expect } from 'vitest';

/** Of /proc/self/stat, which counts so on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** @returns seconds of this process, and of its children that it has waited for */
function processorTime(): [own: number, children: number] {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  // The name of the program is in parentheses and may have any character. utime, stime, cutime and cstime come later.
  const [user, system, childUser, childSystem] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .map((ticks) => Number(ticks) / TICKS_PER_SECOND);
  return [user! + system!, childUser! + childSystem!];
}

const { ANTIPODE_COSTS: file } = process.env;
if (file !== undefined) {
  // Each test file has a process of its own, so that everything before belongs to it.
  afterAll(() => {
    const seconds = [process.uptime(), ...processorTime()].map((one) => one.toFixed(1));
    const path = relative(process.cwd(), expect.getState().testPath ?? '');
    appendFileSync(file, `${[...seconds, path].join('\t')}\n`);
  });
}
