/** The way to the coordinator is cut, and nobody says so: what an operator or a script asks ends in time all the same. */
import { spawnSync } from 'node:child_process';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, type CommandOptions, operatorConfigAt, operatorConfigOf, STOPPED } from '../../support/command.ts';
import { openLink, type TestLink } from '../../support/proxy.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

/** A command with this time is still waiting when one with the default of 5 s has ended, on any machine. */
const PATIENT = ['status', '--timeout', '45'];
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

const TOLD = /no answer from coordinator main/;

it.skipIf(!canDrop).each(COMMANDS)(
  '%s ends where every packet is dropped, from the first on',
  async (_name, command) => {
    const { file } = operatorConfigOf(system.folder);
    await endInTime(command, { configFile: file, within: DROPPING });
  },
);

it.each(COMMANDS)('%s ends where the link swallows everything that it takes', async (_name, command) => {
  link.blackHole();
  try {
    await endInTime(command, { configFile: cut });
  } finally {
    link.heal();
  }
});

it.each(COMMANDS)('%s ends where the link is cut right after it was connected', async (_name, command) => {
  const before = link.accepted;
  const running = antipode(command, { configFile: cut });
  while (link.accepted === before) await systemClock.sleep(1);
  link.blackHole();
  const patient = waiting({ configFile: cut });
  const { code, stderr } = await running;
  expect([code, await patient.isOver()]).toEqual([7, false]);
  expect(stderr).toMatch(TOLD);
  link.heal();
});

/** With a second and with the default, in this order, while a patient command still waits. */
async function endInTime(command: readonly string[], options: CommandOptions): Promise<void> {
  const order: string[] = [];
  const run = async (name: string, ...more: string[]) => {
    const ended = await antipode([...command, ...more], options);
    order.push(name);
    return ended;
  };
  const patient = waiting(options);
  const runs = await Promise.all([run('short', '--timeout', '1'), run('default')]);
  expect([order, await patient.isOver()]).toEqual([['short', 'default'], false]);
  for (const { code, stderr } of runs) expect([code, stderr]).toEqual([7, expect.stringMatching(TOLD)]);
}

/** A command that is expected to be under way when it is asked about, which also ends it. */
function waiting(options: CommandOptions): { isOver(): Promise<boolean> } {
  const stop = new AbortController();
  const ended = antipode(PATIENT, { ...options, signal: stop.signal });
  return {
    isOver: async () => {
      stop.abort();
      return (await ended).code !== STOPPED;
    },
  };
}
