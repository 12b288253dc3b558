import { silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { DeviceCopies } from './device-copies.ts';

const SEAT = { group: 'payments', serial: 's' };

function copies() {
  const watchers = new Set<(persisted: { group: string; epoch: bigint }) => void>();
  const clock = new FakeClock();
  const made = new DeviceCopies({
    tenure: {
      watch: (watcher) => {
        watchers.add(watcher);
        return () => watchers.delete(watcher);
      },
    },
    clock,
    log: silentLog,
  });
  const persist = (group: string, epoch: bigint): void => {
    for (const watcher of watchers) watcher({ group, epoch });
  };
  return { made, persist, watchers, clock };
}

/** A copy that ends when its signal says so. */
const untilEnded = (signal: AbortSignal): Promise<string> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve('ended'), { once: true }));

const isOver = async (promise: Promise<unknown>): Promise<boolean> => {
  const open = Symbol('open');
  await new Promise((resolve) => setImmediate(resolve));
  return (await Promise.race([promise, Promise.resolve(open)])) !== open;
};

it('ends a copy when a higher epoch of its group is persisted, and at no other epoch', async () => {
  const { made, persist, watchers } = copies();
  const copy = made.run({ seat: SEAT, epoch: 3n }, untilEnded);
  await isOver(copy);
  persist('payments', 3n);
  persist('others', 9n);
  expect(await isOver(copy)).toBe(false);
  persist('payments', 4n);
  expect(await copy).toBe('ended');
  expect(watchers.size).toBe(0);
});

it('ends a copy when its caller gives up, or another one for the same member begins', async () => {
  const { made } = copies();
  const caller = new AbortController();
  const copy = made.run({ seat: SEAT, epoch: 3n }, untilEnded, caller.signal);
  await isOver(copy);
  caller.abort();
  expect(await copy).toBe('ended');
  const older = made.run({ seat: SEAT, epoch: 3n }, untilEnded);
  await isOver(older);
  expect(await made.run({ seat: SEAT, epoch: 3n }, async () => 'newer')).toBe('newer');
  expect(await older).toBe('ended');
});

it('ends a copy for a member that is about to serve, and leaves those of other groups alone', async () => {
  const { made } = copies();
  const copy = made.run({ seat: SEAT, epoch: 3n }, untilEnded);
  const other = made.run({ seat: { ...SEAT, group: 'others' }, epoch: 1n }, untilEnded);
  await isOver(copy);
  await made.untilOver(SEAT);
  expect([await copy, await isOver(other)]).toEqual(['ended', false]);
});

it('waits ten seconds, and no longer, for a tool that does not end', async () => {
  const { made, clock } = copies();
  void made.run({ seat: SEAT, epoch: 3n }, () => new Promise(() => {}));
  await isOver(Promise.resolve());
  const waiting = made.untilOver(SEAT);
  expect(await isOver(waiting)).toBe(false);
  await clock.advance(10_000);
  expect(await isOver(waiting)).toBe(true);
});
