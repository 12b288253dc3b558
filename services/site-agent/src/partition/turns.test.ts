import { rejection } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import { Turns, WAITING_MAX, yielding } from './turns.ts';

let turns: Turns;
let seen: string[];

beforeEach(() => {
  turns = new Turns();
  seen = [];
});

const take = (name: string, { gate, signal }: { gate?: Promise<void>; signal?: AbortSignal } = {}): Promise<string> =>
  turns.take(async () => {
    seen.push(name);
    await gate;
    return name;
  }, signal);

it('run one at a time in the order asked, also after one has failed', async () => {
  const gate = Promise.withResolvers<void>();
  const [first, second, third] = [take('a', { gate: gate.promise }), take('b'), take('c')];
  await Promise.resolve();
  expect(seen).toEqual(['a']);
  gate.reject(new Error('a fails'));
  await expect(first).rejects.toThrow('a fails');
  expect(await Promise.all([second, third])).toEqual(['b', 'c']);
  expect(seen).toEqual(['a', 'b', 'c']);
});

it('are refused as unavailable above a limit, until one of those that wait has begun', async () => {
  const gate = Promise.withResolvers<void>();
  const all = [take('running', { gate: gate.promise })];
  await Promise.resolve();
  for (let index = 0; index < WAITING_MAX; index += 1) all.push(take(`${index}`));
  expect(await rejection(take('late'))).toMatchObject({ code: 'HSM_UNAVAILABLE', details: { waiting: WAITING_MAX } });
  gate.resolve();
  await all[1];
  await take('late');
  expect(seen.at(-1)).toBe('late');
  expect(seen.filter((name) => name === 'late')).toHaveLength(1);
});

it('are skipped when the caller gives up before, which frees their place and is said at once', async () => {
  const gate = Promise.withResolvers<void>();
  const running = take('running', { gate: gate.promise });
  await Promise.resolve();
  const giveUp = new AbortController();
  const waiting = Array.from({ length: WAITING_MAX }, (_, index) =>
    rejection(take(`${index}`, { signal: giveUp.signal })),
  );
  await Promise.resolve();
  giveUp.abort();
  expect(new Set((await Promise.all(waiting)).map(({ code }) => code))).toEqual(new Set(['TIMED_OUT']));
  expect((await rejection(take('gone already', { signal: giveUp.signal }))).code).toBe('TIMED_OUT');
  const next = take('next');
  gate.resolve();
  await Promise.all([running, next]);
  expect(seen).toEqual(['running', 'next']);
});

it('go to their end once they have begun, whatever the caller does', async () => {
  const giveUp = new AbortController();
  const gate = Promise.withResolvers<void>();
  const running = take('a', { gate: gate.promise, signal: giveUp.signal });
  await Promise.resolve();
  giveUp.abort();
  gate.resolve();
  expect(await running).toBe('a');
});

it('end with a last one, after which nothing is taken', async () => {
  const [first, last] = [take('a'), turns.close(async () => void seen.push('last'))];
  expect((await rejection(take('late'))).code).toBe('HSM_UNAVAILABLE');
  await Promise.all([first, last]);
  expect(seen).toEqual(['a', 'last']);
});

it('of work that yields make way for an urgent one, and so does one that begins while it waits', async () => {
  const gate = Promise.withResolvers<void>();
  const told: boolean[] = [];
  const scrub = (): Promise<void> =>
    turns.take(
      async (makeWay) => {
        await gate.promise;
        told.push(makeWay.aborted);
      },
      undefined,
      'yielding',
    );
  const first = scrub();
  await Promise.resolve();
  const [second, urgent] = [scrub(), turns.take(async () => void seen.push('urgent'), undefined, 'urgent')];
  gate.resolve();
  await Promise.all([first, second, urgent]);
  await scrub();
  expect([told, seen]).toEqual([[true, true, false], ['urgent']]);
});

it('of normal work are never told to make way', async () => {
  const gate = Promise.withResolvers<void>();
  const told: boolean[] = [];
  const apply = turns.take(async (makeWay) => {
    await gate.promise;
    told.push(makeWay.aborted);
  });
  await Promise.resolve();
  const urgent = turns.take(async () => {}, undefined, 'urgent');
  gate.resolve();
  await Promise.all([apply, urgent]);
  expect(told).toEqual([false]);
});

it('refuse the calls of a provider that should make way, and pass on everything else', async () => {
  const makeWay = new AbortController();
  const provider = yielding({ count: 3, read: async (handles: number[]) => handles.length }, makeWay.signal);
  expect([provider.count, await provider.read([1, 2])]).toEqual([3, 2]);
  makeWay.abort();
  expect((await rejection((async () => provider.read([1]))())).code).toBe('GROUP_BUSY');
});
