import { DescribeResponseSchema } from '@antipode/protocol';
import { AntipodeError, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { PROFILES } from '../timings.ts';
import { Detector, mutenessesNow, stateWordOf } from './detector.ts';

const TIMINGS = PROFILES.default;
const LOST = new AntipodeError('SITE_UNREACHABLE', 'no connection');

let clock: FakeClock;
let detector: Detector;

beforeEach(() => {
  clock = new FakeClock();
  detector = new Detector({
    clock,
    log: silentLog,
    timings: TIMINGS,
    loopDelayMs: () => 0,
    probe: async () => undefined,
  });
  hear();
});

function hear(
  account: MessageInitShape<typeof DescribeResponseSchema> = {},
  { loopDelayMs = 0, address = 'a:1' }: { loopDelayMs?: number; address?: string } = {},
): void {
  detector.heard(create(DescribeResponseSchema, { site: 'a', instance: 'a-1', ...account }), { address, loopDelayMs });
}

const kinds = (): string[] => mutenessesNow(detector.view('a')).map(({ kind, errorCode }) => `${kind} ${errorCode}`);

describe('a site that is heard and not reached', () => {
  const calls = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at += 1) {
      detector.called('a', LOST);
      await clock.advance(TIMINGS.suspectMs);
      hear();
    }
  };

  it('is mute after two calls without an answer, for as long as a silent one is not suspect yet', async () => {
    detector.called('a', LOST);
    await clock.advance(TIMINGS.suspectMs - 1);
    detector.called('a', LOST);
    expect(kinds()).toEqual([]);
    await clock.advance(1);
    hear();
    expect(kinds()).toEqual(['calls SITE_UNREACHABLE']);
    expect(stateWordOf(detector.view('a'))).toBe('mute');
  });

  it('is not mute after one lost call, however long ago it was', async () => {
    await calls(1);
    await clock.advance(TIMINGS.suspectMs * 10);
    hear();
    expect(kinds()).toEqual([]);
  });

  it('is up again after the first answer', async () => {
    await calls(3);
    expect(kinds()).toHaveLength(1);
    detector.called('a', undefined);
    expect([kinds(), stateWordOf(detector.view('a'))]).toEqual([[], 'up']);
  });

  it('is tried afresh when it has another address or another process', async () => {
    await calls(3);
    hear({}, { address: 'a:2' });
    expect(kinds()).toEqual([]);
    await calls(3);
    hear({ instance: 'a-2' });
    expect(kinds()).toEqual([]);
  });

  it('keeps the time since when it is mute', async () => {
    const first = clock.monotonicMs();
    await calls(4);
    expect(mutenessesNow(detector.view('a'))[0]!.sinceMs).toBe(first);
  });

  it('says nothing of calls while it is silent: then its silence counts', async () => {
    await calls(3);
    await clock.advance(TIMINGS.suspectMs + 1);
    await detector.pass();
    expect([kinds(), stateWordOf(detector.view('a'))]).toEqual([[], 'suspect']);
  });
});

it('a call to a site that nobody knows is forgotten', () => {
  detector.called('nobody', LOST);
  expect(detector.view('nobody')).toBeUndefined();
});

it('an agent that cannot write its journal is mute, even without a partition, from the first report on', async () => {
  const since = clock.monotonicMs();
  const fault = { journalErrorCode: 'FILE_UNWRITABLE', journalErrorMessage: 'the disk is full' };
  hear(fault);
  await clock.advance(60_000);
  hear(fault);
  expect(kinds()).toEqual(['journal FILE_UNWRITABLE']);
  expect(mutenessesNow(detector.view('a'))[0]!.sinceMs).toBe(since);
  hear();
  expect(kinds()).toEqual([]);
});

it('a partition is mute when its HSM or the work in its turn stands still for longer than a call may take', () => {
  const partition = { name: 'main', serial: 's', ordersWaiting: 3 };
  const told = (of: object): string[] => {
    hear({ partitions: [{ ...partition, ...of }] });
    return kinds();
  };
  expect(told({ unansweredMs: TIMINGS.hangMs })).toEqual([]);
  expect(told({ unansweredMs: TIMINGS.hangMs + 1 })).toEqual(['hsm HSM_WORKER_LOST']);
  expect(told({ stalledMs: TIMINGS.hangMs })).toEqual([]);
  expect(told({ stalledMs: TIMINGS.hangMs + 1 })).toEqual(['turn PARTITION_STALLED']);
  expect(mutenessesNow(detector.view('a'))[0]).toMatchObject({
    partition: 'main',
    serial: 's',
    sinceMs: clock.monotonicMs() - TIMINGS.hangMs - 1,
    message: expect.stringContaining('3 orders wait'),
  });
});

it('an agent whose process is late for five heartbeats in a row is mute, and one that was late once is not', () => {
  const late = { loopDelayMs: TIMINGS.loopDelayMsMax + 1 };
  for (let beat = 1; beat < 5; beat += 1) hear({}, late);
  expect(kinds()).toEqual([]);
  hear({}, late);
  expect(mutenessesNow(detector.view('a'))).toEqual([
    expect.objectContaining({ kind: 'late', errorCode: 'PROCESS_LATE' }),
  ]);
  hear({}, { loopDelayMs: TIMINGS.loopDelayMsMax });
  expect(kinds()).toEqual([]);
});
