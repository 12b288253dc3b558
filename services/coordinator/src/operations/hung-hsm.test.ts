import { rejection } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import { EffectsBench, GROUP } from '../testing/effects-bench.ts';
import { unlessHung } from './hung-hsm.ts';

let bench: EffectsBench;
let stopped: boolean;
const never = (signal: AbortSignal): Promise<never> => {
  signal.addEventListener('abort', () => {
    stopped = true;
  });
  return new Promise(() => {});
};
const run = (excluded: string[] = []) =>
  rejection(unlessHung(bench.context, GROUP, { site: 'b', excluded }, never)).then((error) => error.code);
/** Whether it is given up within some beats. */
const isGivenUp = async (given: Promise<string>): Promise<boolean> => {
  let code = '';
  void given.then((ended) => {
    code = ended;
  });
  await bench.clock.advance(bench.context.ports.timings.heartbeatMs * 3);
  return code === 'HSM_WORKER_LOST';
};
const { hangMs } = new EffectsBench().context.ports.timings;
beforeEach(() => {
  bench = new EffectsBench();
  stopped = false;
  for (const site of ['a', 'b', 'c']) bench.partitions.set(site, { errorCode: '', unansweredMs: 0 });
});

it('gives a member up whose HSM does not answer, and cancels its order', async () => {
  bench.partitions.set('b', { errorCode: '', unansweredMs: hangMs + 1 });
  expect([await isGivenUp(run()), stopped]).toEqual([true, true]);
});

it('waits for an HSM that answers, however long the order takes', async () => {
  bench.partitions.set('b', { errorCode: '', unansweredMs: hangMs });
  expect([await isGivenUp(run()), stopped]).toEqual([false, false]);
});

it.each<[string, { excluded?: string[]; status?: 'down'; partition?: { errorCode?: string; unansweredMs?: number } }]>([
  ['has been left aside', { excluded: ['c'] }],
  ['is down', { status: 'down' }],
  ['cannot be used', { partition: { errorCode: 'HSM_UNAVAILABLE' } }],
  ['has hung too', { partition: { unansweredMs: hangMs + 1 } }],
])(
  'waits where the only other member %s: a slow one is better than none',
  async (_why, { excluded, status, partition }) => {
    bench.partitions.set('b', { errorCode: '', unansweredMs: hangMs + 1 });
    bench.partitions.set('c', { errorCode: '', unansweredMs: 0, ...partition });
    if (status !== undefined) bench.statuses.set('c', status);
    expect(await isGivenUp(run(excluded))).toBe(false);
  },
);

it('is over with the work', async () => {
  expect(await unlessHung(bench.context, GROUP, { site: 'b', excluded: [] }, async () => 7)).toBe(7);
});
