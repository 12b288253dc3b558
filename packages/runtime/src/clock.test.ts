import { expect, it } from 'vitest';
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
