/** Work that grows with a partition makes way for heartbeats, leases and keep-alives, which share its thread. */
import { systemClock } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { everyStep } from '../../bench/measures/stretches.ts';

const OBJECTS = 300;

it('every step that grows with a partition makes way again and again', async () => {
  const few = await turnsOf(OBJECTS);
  const twice = await turnsOf(2 * OBJECTS);
  const more = (step: string): number => twice[step]! - few[step]!;
  // Turns for each object more: a loop that no longer makes way is missing here.
  const byObject = ['first capture', 'capture after a restart', 'recognise a replica', 'capture after a deletion'];
  expect(byObject.map((step) => [step, Math.floor(more(step) / OBJECTS)])).toEqual([
    ['first capture', 4],
    ['capture after a restart', 4],
    ['recognise a replica', 3],
    ['capture after a deletion', 3],
  ]);
  // The store works in batches of some hundred.
  const byBatch = ['store blobs', 'store generation', 'open generation', 'blobs of generation', 'check blobs'];
  expect(byBatch.filter((step) => more(step) < 1)).toEqual([]);
});

/** How often each step makes way on a clock whose every slice is over at once: after each object of each of its passes. */
async function turnsOf(count: number): Promise<Record<string, number>> {
  let turns = 0;
  const clock = {
    ...systemClock,
    isSliceOver: () => true,
    makeWay: () => {
      turns += 1;
      return systemClock.makeWay();
    },
  };
  const found: Record<string, number> = {};
  await everyStep(count, {
    clock,
    during: async (step, work) => {
      const before = turns;
      const result = await work();
      found[step] = turns - before;
      return result;
    },
  });
  return found;
}
