/** One run of each kind of `npm run chaos:live`. */
import { expect, it } from 'vitest';
import { distributionOf } from './campaign/distribution.ts';
import { parseOptions } from './campaign/options.ts';
import { loseSite } from './campaign/site-loss.ts';
import { switchOver } from './campaign/switchover.ts';

const violations: string[] = [];
const tell = (text: string): void => void violations.push(text);

it('a client goes on signing at another site when the active site is lost', async () => {
  const loss = await loseSite({ timings: 'fast', tell });
  expect(violations).toEqual([]);
  expect(loss).toMatchObject({ to: expect.stringMatching(/^[bc]$/), lost: 0, twoActives: 0 });
  expect(loss.acknowledged).toBeGreaterThan(2);
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

it.each([
  [['--runs', '0'], '--runs: expected a number above 0, found "0"'],
  [['--only', 'loss'], '--only: expected site-loss or switchover, found "loss"'],
  [['--profile', 'wan'], '--profile: expected fast or default, found "wan"'],
  [['--x'], "Unknown option '--x'"],
])('refuses %j', (args, message) => {
  expect(() => parseOptions(args)).toThrow(message);
});
