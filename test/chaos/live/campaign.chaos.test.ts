/** One run of some kinds of `npm run chaos:live`. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { whyNoPrivateNetwork } from '../../support/private-network.ts';
import { distributionOf } from './campaign/distribution.ts';
import { KINDS, parseOptions } from './campaign/options.ts';
import { type Performance, summed } from './campaign/play.ts';
import { switchOver } from './campaign/stories/switchover.ts';

const PROGRAM = fileURLToPath(new URL('./campaign/main.ts', import.meta.url));
const run = promisify(execFile);

it('a client goes on signing when the active site is lost, and when its link goes down and comes back', async () => {
  // A program of its own: it takes itself into a network of its own.
  const { stdout, stderr } = await run(process.execPath, [
    PROGRAM,
    '--only',
    'site-loss,site-cut',
    '--runs',
    '1',
    '--json',
  ]);
  const { skipped = [], network, ...line } = JSON.parse(stdout) as Record<string, unknown>;
  const isNetworked = whyNoPrivateNetwork() === undefined;
  expect([stderr, skipped, network]).toEqual(['', ...(isNetworked ? [[], 'namespaces'] : [['site-cut'], 'loopback'])]);
  for (const name of isNetworked ? ['site-loss', 'site-cut'] : ['site-loss']) {
    const performance = line[name] as Performance;
    expect(performance).toMatchObject({ runs: 1, lost: 0, twoActives: 0, notServed: 0, failed: 0 });
    expect(performance.acknowledged).toBeGreaterThan(2);
  }
});

it('a client goes on signing at another site after a planned move, and after the way back', async () => {
  const moves = await switchOver({ keys: 20, moves: 2 });
  expect(moves.map(({ to }) => to)).toEqual(['b', 'a']);
  for (const { clientGapMs } of moves) expect(clientGapMs).toBeGreaterThan(0);
});

it('a distribution goes by the nearest rank', () => {
  expect(distributionOf([5, 1, 4, 2, 3])).toEqual({ count: 5, min: 1, median: 3, p90: 5, max: 5 });
  expect(distributionOf([7.4])).toEqual({ count: 1, min: 7, median: 7, p90: 7, max: 7 });
});

it('a run that did not come to its end, and one whose client does not sign, are counted', () => {
  const run = { outageMs: 9, settledMs: undefined, recoveryTimeMs: 0, acknowledged: 4, lost: 1, twoActives: 2 };
  const served = { ...run, site: 'b', servingMs: 7, lost: 0, twoActives: 0 };
  expect(summed([{ ...run, site: '', servingMs: undefined }, served], 3)).toEqual({
    runs: 3,
    servingMs: { count: 1, min: 7, median: 7, p90: 7, max: 7 },
    outageMs: { count: 2, min: 9, median: 9, p90: 9, max: 9 },
    recoveryTimeMs: null,
    acknowledged: 8,
    lost: 1,
    twoActives: 2,
    notServed: 1,
    failed: 1,
  });
});

it.each([
  [['--runs', '0'], '--runs: expected a number above 0, found "0"'],
  [['--only', 'site-loss,loss'], `--only: expected ${KINDS.join(', ')}, found "loss"`],
  [['--profile', 'wan'], '--profile: expected fast or default, found "wan"'],
  [['--x'], "Unknown option '--x'"],
])('refuses %j', (args, message) => {
  expect(() => parseOptions(args)).toThrow(message);
});
