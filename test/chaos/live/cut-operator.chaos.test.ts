/** The way to the coordinator is cut, and nobody says so: what an operator or a script asks ends in time all the same. */
import { spawnSync } from 'node:child_process';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, operatorConfigAt, operatorConfigOf } from '../../support/command.ts';
import { openLink, type TestLink } from '../../support/proxy.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

/** The promises of the commands without options. */
const DEFAULT_MS = 5_000;
/** For the start of the process, on a machine that may be busy: measured, and some more. */
let startMs = 0;
let system: TestSystem;
let link: TestLink;
let cut: string;

beforeAll(async () => {
  system = await TestSystem.start();
  const { port, file } = operatorConfigOf(system.folder);
  link = await openLink(port);
  system.links.push(link);
  cut = operatorConfigAt(system.folder, link.address, 'cut');
  const { code, tookMs } = await antipode(['resolve', GROUP], { configFile: file });
  expect(code).toBe(0);
  startMs = tookMs * 2 + 1_000;
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

it.skipIf(!canDrop).each(COMMANDS)(
  '%s ends where every packet is dropped, from the first on',
  async (_name, command) => {
    const { file } = operatorConfigOf(system.folder);
    const runs = await Promise.all([
      antipode(command, { configFile: file, within: DROPPING }),
      antipode([...command, '--timeout', '1'], { configFile: file, within: DROPPING }),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([7, 7]);
    expect(runs[0].tookMs).toBeLessThan(DEFAULT_MS + startMs);
    expect(runs[1].tookMs).toBeLessThan(1_000 + startMs);
  },
);

it.each(COMMANDS)('%s ends where the link swallows everything that it takes', async (_name, command) => {
  link.blackHole();
  try {
    const runs = await Promise.all([
      antipode(command, { configFile: cut }),
      antipode([...command, '--timeout', '1'], { configFile: cut }),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([7, 7]);
    expect(runs[0].tookMs).toBeLessThan(DEFAULT_MS + startMs);
    expect(runs[1].tookMs).toBeLessThan(1_000 + startMs);
  } finally {
    link.heal();
  }
});

it.each(COMMANDS)('%s ends where the link is cut right after it was connected', async (_name, command) => {
  const before = link.accepted;
  const running = antipode(command, { configFile: cut });
  while (link.accepted === before) await systemClock.sleep(1);
  link.blackHole();
  const { code, tookMs } = await running;
  link.heal();
  expect(code).toBe(7);
  expect(tookMs).toBeLessThan(DEFAULT_MS + startMs);
});
