import { seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { BullWakeUps } from './wake-ups.ts';

it('says that the queue is away where there is no Redis, and closes all the same', async () => {
  const wakeUps = new BullWakeUps({
    connection: { path: '/nonexistent/redis.sock' },
    clock: new FakeClock(),
    prng: seededPrng('queue'),
    log: silentLog,
    run: async () => {},
  });
  expect(wakeUps.isUp()).toBe(false);
  expect((await rejection(wakeUps.enqueue('i', 'a'))).code).toBe('QUEUE_UNAVAILABLE');
  await wakeUps.close();
  await wakeUps.close();
  await wakeUps.enqueue('i', 'a');
});
