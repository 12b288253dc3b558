import { expect, it } from 'vitest';
import { Line } from './line.ts';

/** Work that tells when it begins and ends, and waits for its gate in between. */
function worker(line: Line) {
  const told: string[] = [];
  const at = (name: string, gate: Promise<unknown>, isBeside = false): Promise<void> =>
    line.run(async (beside) => {
      told.push(`${name} begins`);
      if (isBeside) await beside(() => gate);
      else await gate;
      told.push(`${name} ends`);
    });
  return { told, at };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

it('runs one after the other, in order', async () => {
  const { told, at } = worker(new Line());
  const gate = Promise.withResolvers<void>();
  const all = [at('a', gate.promise), at('b', Promise.resolve())];
  await settled();
  expect(told).toEqual(['a begins']);
  gate.resolve();
  await Promise.all(all);
  expect(told).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
});

it('lets others run while one waits beside the line, and takes it back when they are done', async () => {
  const { told, at } = worker(new Line());
  const [outside, inside] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const all = [at('copy', outside.promise, true), at('b', inside.promise)];
  await settled();
  expect(told).toEqual(['copy begins', 'b begins']);
  outside.resolve();
  await settled();
  expect(told).toEqual(['copy begins', 'b begins']);
  inside.resolve();
  await Promise.all(all);
  expect(told).toEqual(['copy begins', 'b begins', 'b ends', 'copy ends']);
});

it('goes on after work that fails, in the line and beside it', async () => {
  const line = new Line();
  const { told, at } = worker(line);
  const failing = [at('a', Promise.reject(new Error('no'))), at('b', Promise.reject(new Error('no')), true)];
  for (const one of failing) await expect(one).rejects.toThrow('no');
  await at('c', Promise.resolve());
  expect(told.at(-1)).toBe('c ends');
});
