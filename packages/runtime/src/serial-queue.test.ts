import { expect, it } from 'vitest';
import { SerialQueue } from './serial-queue.ts';

it('runs one piece of work at a time, in the order asked, and goes on after a failure', async () => {
  const queue = new SerialQueue();
  const seen: string[] = [];
  const [a, b, c] = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const run = (name: string, gate: Promise<void>): Promise<string> =>
    queue.run(async () => {
      seen.push(`${name} begins`);
      await gate.finally(() => seen.push(`${name} ends`));
      return name;
    });
  const [first, second, third] = [run('a', a.promise), run('b', b.promise), run('c', c.promise)];
  c.resolve();
  b.reject(new Error('b fails'));
  a.resolve();
  await expect(second).rejects.toThrow('b fails');
  await expect(Promise.all([first, third])).resolves.toEqual(['a', 'c']);
  expect(seen).toEqual(['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`]));
});
