import { FakeClock } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { endDescendants, type ProcessStat } from './process-tree.ts';

/** No such processes: the numbers are above the highest one that Linux gives. */
const ROOT = 5_000_001;
const ORPHAN = 5_000_003;
const at = (pid: number, parent: number): ProcessStat => ({
  pid,
  parent,
  processGroup: pid,
  isOver: false,
  startedAt: '1',
});

it('waits for a process whose parent has ended while the processes were read', async () => {
  const looks = [[at(ORPHAN, 5_000_002)], [at(ORPHAN, ROOT)], [], []];
  const clock = new FakeClock();
  let isOver = false;
  const ended = endDescendants(ROOT, {
    clock,
    graceMs: 1_000,
    onRefused: () => {},
    look: () => looks.shift() ?? [],
  }).then(() => {
    isOver = true;
  });
  await clock.advance(40);
  expect([isOver, looks.length]).toEqual([false, 1]);
  await clock.advance(20);
  await ended;
});
