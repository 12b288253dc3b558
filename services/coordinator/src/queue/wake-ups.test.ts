import { silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { BullWakeUps } from './wake-ups.ts';

it('says that the queue is away where there is no Redis, and closes all the same', async () => {
  const clock = new FakeClock();
  const wakeUps = new BullWakeUps({
    connection: { path: '/nonexistent/redis.sock' },
    clock,
    log: silentLog,
    run: async () => {},
    onDefect: () => {},
  });
  expect(wakeUps.isUp()).toBe(false);
  expect((await rejection(wakeUps.enqueue('i', 'a'))).code).toBe('QUEUE_UNAVAILABLE');
  let isChecked = false;
  const check = wakeUps.start().then(() => {
    isChecked = true;
  });
  await clock.advance(1_999);
  expect(isChecked).toBe(false);
  await clock.advance(1);
  await check;
  expect(wakeUps.isUp()).toBe(false);
  expect((await rejection(wakeUps.enqueue('i', 'a'))).code).toBe('QUEUE_UNAVAILABLE');
  await wakeUps.close();
  await wakeUps.close();
  await wakeUps.enqueue('i', 'a');
});
