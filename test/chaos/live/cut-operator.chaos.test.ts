/** The way to the coordinator is cut, and nobody says so: what an operator or a script asks ends in time all the same. */
import { spawnSync } from 'node:child_process';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, type CommandOptions, operatorConfigAt, operatorConfigOf, STOPPED } from '../../support/command.ts';
import { openLink, type TestLink } from '../../support/proxy.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

/** A command of the same kind with this time is still waiting when one with its default of 5 s has ended, on any machine. */
const LONG_S = '45';
let system: TestSystem;
let link: TestLink;
let cut: string;

beforeAll(async () => {
  system = await TestSystem.start();
  const { port, file } = operatorConfigOf(system.folder);
  link = await openLink(port);
  system.links.push(link);
  cut = operatorConfigAt(system.folder, link.address, 'cut');
  await system.until('the operator reaches it', async () => {
    const { code } = await antipode(['resolve', GROUP], { configFile: file });
    return code === 0;
  });
});
afterAll(() => system?.close());

const COMMANDS: readonly [string, readonly string[]][] = [
  ['status', ['status']],
  ['resolve', ['resolve', GROUP]],
];
/** An interface of a network of its own that takes every packet and drops it. */
const DROPPING = [
  'unshare',
  '-n',
  'sh',
  '-c',
  'ip link set lo up && tc qdisc add dev lo root blackhole && exec "$@"',
  'sh',
];
const canDrop = spawnSync(DROPPING[0]!, [...DROPPING.slice(1), 'true']).status === 0;

const DEFAULT_END = /no answer from coordinator .* in 5 s/;
const SHORT_END = /no answer from coordinator .* in 1 s/;

it.skipIf(!canDrop).each(COMMANDS)(
  '%s ends where every packet is dropped, from the first on',
  async (_name, command) => {
    const { file } = operatorConfigOf(system.folder);
    await endInTime((...more) => ({
      args: [...command, ...more],
      options: { configFile: file, within: DROPPING },
    }));
  },
);

it.each(COMMANDS)('%s ends where the link swallows everything that it takes', async (_name, command) => {
  link.blackHole();
  try {
    await endInTime((...more) => ({ args: [...command, ...more], options: { configFile: cut } }));
  } finally {
    link.heal();
  }
});

it.each(COMMANDS)('%s ends where the link is cut right after it was connected', async (_name, command) => {
  const before = link.accepted;
  const running = antipode(command, { configFile: cut });
  while (link.accepted === before) await systemClock.sleep(1);
  link.blackHole();
  const patient = waiting([...command, '--timeout', LONG_S], { configFile: cut });
  const { code, stderr } = await running;
  expect([code, await patient.isOver()]).toEqual([7, false]);
  expect(stderr).toMatch(DEFAULT_END);
  link.heal();
});

/** With the default and with a second, while a patient command of the same kind still waits. */
async function endInTime(
  command: (...more: string[]) => { args: readonly string[]; options: CommandOptions },
): Promise<void> {
  const [byDefault, short, long] = [command(), command('--timeout', '1'), command('--timeout', LONG_S)];
  const patient = waiting(long.args, long.options);
  const runs = await Promise.all([byDefault, short].map(({ args, options }) => antipode(args, options)));
  expect([...runs.map(({ code }) => code), await patient.isOver()]).toEqual([7, 7, false]);
  expect(runs[0]?.stderr).toMatch(DEFAULT_END);
  expect(runs[1]?.stderr).toMatch(SHORT_END);
}

/** A command that is expected to be under way when it is asked about, which also ends it. */
function waiting(args: readonly string[], options: CommandOptions): { isOver(): Promise<boolean> } {
  const stop = new AbortController();
  const ended = antipode(args, { ...options, signal: stop.signal });
  return {
    isOver: async () => {
      stop.abort();
      return (await ended).code !== STOPPED;
    },
  };
}
