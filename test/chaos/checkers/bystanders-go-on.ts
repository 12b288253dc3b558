/** I15: a group whose members nothing was done to goes on: its new keys reach every member in time. */
import type { Checker } from './checker.ts';

/** Its recovery point objective, and the time in which a busy site replicates. */
const REPLICATED_MS_MAX = 16_000;

export const bystandersGoOn = (): Checker => ({
  invariant: 'I15',
  name: 'bystanders-go-on',
  look: ({ kind }, facts) => {
    if (kind !== 'reported') return undefined;
    const { nowMs, bystanders } = facts;
    const late = bystanders.filter(
      ({ madeAtMs, missingAt }) => nowMs - madeAtMs > REPLICATED_MS_MAX && missingAt().length > 0,
    );
    return late.length === 0
      ? undefined
      : `the other group stands still: ${late.map(({ label, missingAt }) => `${label} is missing at ${missingAt().join(', ')}`).join('; ')}`;
  },
});
