/** A bounded sample of `npm run chaos:hsm`: every distinct step of a first apply, and some kills wherever the seed says. */
import { expect, it } from 'vitest';
import { run } from './campaign.ts';

const RANDOM_KILLS = 12;
/** Against hanging: some ninety seconds of processor time, on a machine that may be busy. */
const LIMIT_MS = 420_000;

it(
  'a standby that is killed at any step of an apply loses no key, keeps no half key, and touches no foreign object',
  async () => {
    const outcome = await run({
      seed: '1',
      kills: RANDOM_KILLS,
      steps: 'first-apply',
      isOnDisk: false,
      movement: 'sealed',
      tell: () => {},
    });
    expect(outcome.violations).toEqual([]);
    expect(outcome.stepsHit).toBe(outcome.stepsAll);
    expect(outcome.stepsAll).toBeGreaterThan(15);
    // The steps of secrets that are sealed exactly are among them.
    for (const call of ['openExactKey', 'unwrapSecrets', 'forget'])
      expect(outcome.stepNames).toContain(`after provider.${call}`);
    expect(outcome.kills).toBe(outcome.stepsAll + RANDOM_KILLS);
  },
  LIMIT_MS,
);
