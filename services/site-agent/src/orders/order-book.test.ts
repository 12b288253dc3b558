import { type CaptureRequest, CaptureRequestSchema, FenceSchema } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KEPT_MAX, KEPT_MS, OrderBook, RUNNING_MAX, UNASKED_MS_MAX } from './order-book.ts';

const WAIT_MS = 20_000;
const FENCE = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'r' };

let clock: FakeClock;
let book: OrderBook;
let mark: { id: string; run: string; writes: bigint } | undefined;
/** The orders that began, in order, with what ends them. */
let begun: { signal: AbortSignal; end: (answer: number | AntipodeError) => void }[];

beforeEach(() => {
  clock = new FakeClock();
  mark = undefined;
  book = new OrderBook({ clock, mark: () => mark });
  begun = [];
});
afterEach(async () => {
  for (const { end } of begun) end(0);
  await book.close();
});

type Said = Partial<Pick<CaptureRequest, 'waitMs' | 'domainKeyVersion' | 'aboveGeneration' | 'reservedGeneration'>> & {
  fence?: typeof FENCE;
};
const ask = (said: Said = {}, call = new AbortController()) =>
  book.run(
    {
      method: 'capture',
      schema: CaptureRequestSchema,
      request: create(CaptureRequestSchema, {
        waitMs: WAIT_MS,
        ...said,
        fence: create(FenceSchema, said.fence ?? FENCE),
      }),
      signal: call.signal,
    },
    (signal) =>
      new Promise<{ value: number }>((resolve, reject) => {
        begun.push({
          signal,
          end: (answer) => (typeof answer === 'number' ? resolve({ value: answer }) : reject(answer)),
        });
      }),
  );
const failure = (): AntipodeError => new AntipodeError('HSM_UNAVAILABLE', 'no');

describe('an order', () => {
  it('goes on after each answer, and is joined by the same request until it ends', async () => {
    const first = ask();
    await clock.advance(WAIT_MS);
    expect(await first).toEqual({ order: { running: true, ageMs: 0n } });
    const second = ask();
    await clock.advance(5_000);
    begun[0]!.end(7);
    expect(await second).toEqual({ value: 7, order: { running: false, ageMs: BigInt(WAIT_MS) } });
    expect(begun).toHaveLength(1);
  });

  it('is joined by the leader that follows, in its own term', async () => {
    const first = ask();
    const second = ask({ fence: { ...FENCE, term: 5n } as typeof FENCE });
    begun[0]!.end(7);
    expect([await first, await second]).toMatchObject([{ value: 7 }, { value: 7 }]);
    expect(begun).toHaveLength(1);
  });

  it('outlives the call that started it', async () => {
    const call = new AbortController();
    const lost = rejection(ask({}, call));
    call.abort();
    expect((await lost).code).toBe('TIMED_OUT');
    expect(begun[0]!.signal.aborted).toBe(false);
    begun[0]!.end(3);
    await clock.advance(0);
    expect(await ask()).toMatchObject({ value: 3 });
    expect(begun).toHaveLength(1);
  });

  it('that has ended says how far the journal has come in which its outcome is on record', async () => {
    mark = { id: 'j', run: 'r1', writes: 1n };
    const running = ask();
    await clock.advance(WAIT_MS);
    expect((await running).order.journal).toBeUndefined();
    const asked = ask();
    mark = { ...mark, writes: 5n };
    begun[0]!.end(1);
    expect((await asked).order.journal).toEqual(mark);
  });

  it('keeps its result for whoever asks again, for a while', async () => {
    const asked = ask();
    begun[0]!.end(1);
    await asked;
    await clock.advance(KEPT_MS);
    expect(await ask()).toEqual({ value: 1, order: { running: false, ageMs: BigInt(KEPT_MS) } });
    await clock.advance(1);
    void ask();
    expect(begun).toHaveLength(2);
  });

  it('tells a failure once, and runs again for whoever asks then', async () => {
    const asked = ask();
    await clock.advance(WAIT_MS);
    await asked;
    begun[0]!.end(failure());
    await clock.advance(0);
    expect((await rejection(ask())).code).toBe('HSM_UNAVAILABLE');
    void ask();
    expect(begun).toHaveLength(2);
  });

  it('is joined by the next leader, which has reserved another number for it', async () => {
    void ask({ reservedGeneration: 7n });
    const next = ask({ reservedGeneration: 8n });
    begun[0]!.end(7);
    expect(await next).toMatchObject({ value: 7 });
    expect(begun).toHaveLength(1);
  });

  it.each([
    ['another request id', { fence: { ...FENCE, requestId: 's' } }],
    ['another epoch', { fence: { ...FENCE, epoch: 2n } }],
    ['other contents', { domainKeyVersion: 2 }],
  ])('of %s is another order', (_what, said) => {
    void ask();
    void ask(said);
    expect(begun).toHaveLength(2);
  });

  it('learns that nobody wants it when nobody has asked for a while, and not before', async () => {
    const asked = ask();
    await clock.advance(WAIT_MS);
    await asked;
    await clock.advance(UNASKED_MS_MAX - 1);
    const again = ask();
    await clock.advance(WAIT_MS);
    await again;
    await clock.advance(UNASKED_MS_MAX - 1);
    expect(begun[0]!.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(begun[0]!.signal.reason).toMatchObject({ code: 'TIMED_OUT' });
  });

  it('of a call that is held to the end is not wanted any more when that call is gone', async () => {
    const call = new AbortController();
    const held = ask({ waitMs: 0 }, call);
    await clock.advance(UNASKED_MS_MAX * 10);
    expect(begun[0]!.signal.aborted).toBe(false);
    call.abort();
    expect(begun[0]!.signal.aborted).toBe(true);
    begun[0]!.end(1);
    expect(await held).toMatchObject({ value: 1 });
  });

  it('of a call that is held to the end joins nothing and leaves nothing behind', async () => {
    void ask();
    const held = [ask({ waitMs: 0 }), ask({ waitMs: 0 })];
    expect(begun).toHaveLength(3);
    for (const { end } of begun.slice(1)) end(1);
    await Promise.all(held);
    void ask({ waitMs: 0 });
    expect(begun).toHaveLength(4);
  });

  it('is stopped when its epoch is overtaken, and goes on under the same or another group', async () => {
    void ask();
    void ask({ fence: { ...FENCE, group: 'other' } });
    void ask({ fence: { ...FENCE, epoch: 2n } });
    book.overtaken({ group: 'payments', epoch: 2n });
    expect(begun.map(({ signal }) => signal.aborted)).toEqual([true, false, false]);
    expect(begun[0]!.signal.reason).toMatchObject({ code: 'EPOCH_STALE' });
  });

  it('is cancelled by its name', () => {
    void ask();
    expect(book.cancel({ ...FENCE, requestId: 's' })).toBe(false);
    expect(begun[0]!.signal.aborted).toBe(false);
    expect(book.cancel(FENCE)).toBe(true);
    expect(begun[0]!.signal.aborted).toBe(true);
  });
});

it('runs so many orders at most', async () => {
  for (let index = 0; index < RUNNING_MAX; index += 1) void ask({ aboveGeneration: BigInt(index) });
  expect((await rejection(Promise.resolve().then(() => ask({ aboveGeneration: 999n })))).code).toBe('HSM_UNAVAILABLE');
  begun[0]!.end(1);
  await clock.advance(0);
  void ask({ aboveGeneration: 999n });
  expect(begun).toHaveLength(RUNNING_MAX + 1);
});

it('keeps so many results at most, the newest', async () => {
  for (let index = 0; index <= KEPT_MAX; index += 1) {
    const asked = ask({ aboveGeneration: BigInt(index) });
    begun[index]!.end(index);
    await asked;
    await clock.advance(1);
  }
  expect(await ask({ aboveGeneration: 1n })).toMatchObject({ value: 1 });
  void ask({ aboveGeneration: 0n });
  expect(begun).toHaveLength(KEPT_MAX + 2);
});

it('takes no order when it is closed, and closes when all have ended', async () => {
  const asked = rejection(ask());
  let isClosed = false;
  const closing = book.close().then(() => {
    isClosed = true;
  });
  await clock.advance(0);
  expect([begun[0]!.signal.aborted, isClosed]).toEqual([true, false]);
  begun[0]!.end(failure());
  await closing;
  expect((await asked).code).toBe('HSM_UNAVAILABLE');
  expect((await rejection(Promise.resolve().then(() => ask({ domainKeyVersion: 9 })))).code).toBe('HSM_UNAVAILABLE');
});
