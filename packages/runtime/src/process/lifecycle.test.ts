import { describe, expect, it } from 'vitest';
import { Log } from '../log.ts';
import { FakeClock } from '../testing/index.ts';
import { type Closeable, closeAll, runUntilStopped, type Service, stopSignal } from './lifecycle.ts';

it('closes in order, one after another, each even if one before failed, and throws the first failure', async () => {
  const seen: string[] = [];
  const part = (name: string, failure?: Error): Closeable => ({
    close: async () => {
      seen.push(`${name} begins`);
      await Promise.resolve();
      seen.push(`${name} ends`);
      if (failure !== undefined) throw failure;
    },
  });
  const [first, second] = [new Error('first'), new Error('second')];
  const closing = closeAll([part('a'), undefined, part('b', first), part('c', second), part('d')]);
  await expect(closing).rejects.toBe(first);
  expect(seen).toEqual(['a', 'b', 'c', 'd'].flatMap((name) => [`${name} begins`, `${name} ends`]));
});

it('tells which signal asked it to stop', async () => {
  const stopped = stopSignal();
  process.emit('SIGTERM', 'SIGTERM');
  process.emit('SIGINT', 'SIGINT');
  await expect(stopped).resolves.toBe('SIGTERM');
});

describe('a service', () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const log = new Log({ level: 'info', format: 'text', write: (line) => lines.push(line) });
  const never = new Promise<never>(() => {});
  const run = (service: Partial<Service>, seen: string[]): Promise<void> =>
    runUntilStopped(
      {
        start: async () => void seen.push('start'),
        close: async () => void seen.push('close'),
        ...service,
      },
      { log, clock, onStarted: () => seen.push('started') },
    );

  it('runs until it is stopped, and is closed', async () => {
    const seen: string[] = [];
    const running = run({}, seen);
    await clock.advance(1);
    expect(seen).toEqual(['start', 'started']);
    process.emit('SIGTERM', 'SIGTERM');
    await running;
    expect(seen).toEqual(['start', 'started', 'close']);
  });

  it('that does not start throws why, at once', async () => {
    const failure = new Error('no address');
    await expect(run({ start: () => Promise.reject(failure) }, [])).rejects.toBe(failure);
    process.emit('SIGTERM', 'SIGTERM');
  });

  it('that does not come to the end of its start can be stopped all the same', async () => {
    const seen: string[] = [];
    const running = run({ start: () => never }, seen);
    process.emit('SIGTERM', 'SIGTERM');
    await running;
    expect(seen).toEqual(['close']);
  });

  it('of which something is stuck is waited for no longer than a supervisor waits', async () => {
    lines.length = 0;
    const running = run({ close: () => never }, []);
    await clock.advance(1);
    process.emit('SIGTERM', 'SIGTERM');
    await clock.advance(9_000);
    await running;
    expect(lines.join()).toContain('closing takes too long');
  });

  it('says what its close threw', async () => {
    const failure = new Error('half closed');
    const running = run({ close: () => Promise.reject(failure) }, []);
    await clock.advance(1);
    process.emit('SIGTERM', 'SIGTERM');
    await expect(running).rejects.toBe(failure);
  });
});
