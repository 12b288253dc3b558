/** A sample of the campaign in `test/chaos/luna`, which takes as many seeds as are asked for. */
import { expect, it } from 'vitest';
import { runTrial } from '../../chaos/luna/trial.ts';

const SEEDS = 30;

it('claims no success that the devices do not have, whatever goes wrong', async () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed += 1) {
    const result = await runTrial(`luna-${seed}`);
    expect(result).toMatchObject({ violations: [] });
    for (const outcome of Object.keys(result.outcomes)) outcomes.add(outcome);
  }
  // A sample without these would show nothing.
  for (const outcome of ['backup: complete', 'backup: partial', 'backup: unknown', 'clear: gone', 'restore: complete'])
    expect(outcomes).toContain(outcome);
});
