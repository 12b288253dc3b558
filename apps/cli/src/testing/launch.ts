/** A process that runs a program as `antipode run` does. Arguments: a file with the site that is active, and the command. */
import { readFileSync } from 'node:fs';
import { launchHere } from '../place/launch-here.ts';

const [file = '', program = '', ...args] = process.argv.slice(2);
const site = (): string => readFileSync(file, 'utf8').trim();

process.exitCode = await launchHere({
  command: [program, ...args],
  find: async () => ({
    group: 'payments',
    site: site(),
    module: '/m.so',
    tokenLabel: 'payments',
    serial: site(),
    epoch: 1n,
    siteState: 'up',
    partitionErrorCode: '',
    answeredBy: 'coordinator main',
    isLeader: true,
    ageMs: 0,
  }),
  isPassing: () => true,
  everyMs: 10,
  graceMs: 50,
});
