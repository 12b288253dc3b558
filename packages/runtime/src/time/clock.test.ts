import { expect, it, vi } from 'vitest';
import { systemClock } from './clock.ts';

it('ends a sleep at once, and without an error, when its signal aborts', async () => {
  const stop = new AbortController();
  const before = systemClock.sleep(3_600_000, stop.signal);
  stop.abort();
  await expect(before).resolves.toBeUndefined();
  await expect(systemClock.sleep(3_600_000, stop.signal)).resolves.toBeUndefined();
});

it('never goes back on its monotonic side', () => {
  let last = systemClock.monotonicMs();
  for (let look = 0; look < 1_000; look += 1) {
    const now = systemClock.monotonicMs();
    expect(now).toBeGreaterThanOrEqual(last);
    last = now;
  }
});

it.each([2_592_000_000, 2 ** 31, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY])(
  'sleeps for %d ms, which a timer of Node does not hold, and does not end at once',
  async (ms) => {
    const warned = vi.spyOn(process, 'emitWarning');
    const stop = new AbortController();
    let isOver = false;
    const sleep = systemClock.sleep(ms, stop.signal).then(() => {
      isOver = true;
    });
    await systemClock.sleep(2);
    expect([isOver, warned.mock.calls]).toEqual([false, []]);
    stop.abort();
    await sleep;
    warned.mockRestore();
  },
);

it('refuses to sleep for a length that is not a number', async () => {
  await expect(systemClock.sleep(Number.NaN)).rejects.toMatchObject({ code: 'INVARIANT_BROKEN' });
});
