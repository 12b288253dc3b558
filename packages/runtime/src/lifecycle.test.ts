import { expect, it } from 'vitest';
import { type Closeable, closeAll, stopSignal } from './lifecycle.ts';

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
