import { FakeClock } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import { IdleCollection } from './idle-collection.ts';

let clock: FakeClock;
let collected: number;
let idle: IdleCollection;

beforeEach(() => {
  clock = new FakeClock();
  collected = 0;
  idle = new IdleCollection({ clock, collect: () => (collected += 1) });
});

it('collects once, a while after the last order, whether that succeeded or not', async () => {
  expect(await idle.after(async () => 'done')).toBe('done');
  await clock.advance(1_000);
  await expect(idle.after(() => Promise.reject(new RangeError('no')))).rejects.toBeInstanceOf(RangeError);
  await clock.advance(1_999);
  expect(collected).toBe(0);
  await clock.advance(1);
  expect(collected).toBe(1);
  await clock.advance(60_000);
  expect(collected).toBe(1);
});

it('never collects while an order runs, nor while a stream is read', async () => {
  const order = Promise.withResolvers<void>();
  const running = idle.after(() => order.promise);
  const stream = idle.afterAll(
    (async function* () {
      yield 1;
      yield 2;
    })(),
  );
  expect(await stream.next()).toEqual({ value: 1, done: false });
  order.resolve();
  await running;
  await clock.advance(60_000);
  expect(collected).toBe(0);
  await stream.return(undefined);
  await clock.advance(2_000);
  expect(collected).toBe(1);
});

it('does not collect any more once it is closed', async () => {
  await idle.after(async () => {});
  await idle.close();
  await idle.after(async () => {});
  expect(clock.sleeperCount).toBe(0);
  await clock.advance(60_000);
  expect(collected).toBe(0);
});
