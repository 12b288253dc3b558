import { FakeClock } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { Changes } from './changes.ts';

/** Collects the names of waiters in the order in which they resolve. */
function waiters(changes: Changes, clock: FakeClock) {
  const woken: string[] = [];
  return {
    woken,
    wait: (name: string, id: string, signal?: AbortSignal): Promise<void> =>
      changes
        .next(id, { clock, timeoutMs: 1_000, ...(signal === undefined ? {} : { signal }) })
        .then(() => void woken.push(name)),
  };
}

it('wakes everybody who waits for an operation, and nobody else', async () => {
  const clock = new FakeClock();
  const changes = new Changes();
  const { woken, wait } = waiters(changes, clock);
  void wait('first', 'a');
  void wait('second', 'a');
  void wait('other', 'b');
  changes.announce('a');
  await clock.advance(0);
  expect(woken).toEqual(['first', 'second']);
  expect(clock.sleeperCount).toBe(1);
});

it('wakes by itself when no news comes', async () => {
  const clock = new FakeClock();
  const { woken, wait } = waiters(new Changes(), clock);
  void wait('patient', 'a');
  await clock.advance(999);
  expect(woken).toEqual([]);
  await clock.advance(1);
  expect(woken).toEqual(['patient']);
});

it('lets go of one whose caller has left, and of no other', async () => {
  const clock = new FakeClock();
  const changes = new Changes();
  const left = new AbortController();
  const { woken, wait } = waiters(changes, clock);
  void wait('leaver', 'a', left.signal);
  void wait('stayer', 'a');
  left.abort();
  await clock.advance(0);
  expect(woken).toEqual(['leaver']);
  changes.announce('a');
  await clock.advance(0);
  expect(woken).toEqual(['leaver', 'stayer']);
});

it('hears news that comes while the last is still being told', async () => {
  const clock = new FakeClock();
  const changes = new Changes();
  const { woken, wait } = waiters(changes, clock);
  void wait('first', 'a').then(() => wait('again', 'a'));
  void wait('second', 'a');
  changes.announce('a');
  await clock.advance(0);
  changes.announce('a');
  await clock.advance(0);
  expect(woken).toEqual(['first', 'second', 'again']);
});

it('says nothing where nobody waits', () => {
  expect(() => new Changes().announce('a')).not.toThrow();
});
