/** A sample of the campaign in `test/chaos/luna`, which takes as many seeds as are asked for. */
import { expect, it } from 'vitest';
import { runTrial } from '../../chaos/luna/trial.ts';

const SEEDS = 30;
const VAULT_SEEDS = 12;

const seedsOf = (name: string, count: number): string[] => Array.from({ length: count }, (_, at) => `${name}-${at}`);

it('claims no success that the devices do not have, whatever goes wrong', async () => {
  const outcomes = new Set<string>();
  for (const seed of [...seedsOf('luna', SEEDS), ...seedsOf('vault', VAULT_SEEDS)]) {
    const result = await runTrial(seed);
    expect(result).toMatchObject({ violations: [] });
    for (const outcome of Object.keys(result.outcomes)) outcomes.add(outcome);
  }
  // A sample without these would show nothing.
  for (const outcome of [
    'backup: complete',
    'backup: partial',
    'backup: unknown',
    'clear: gone',
    'restore: complete',
    'keep: complete',
    'prepare: ready',
  ])
    expect(outcomes).toContain(outcome);
});
