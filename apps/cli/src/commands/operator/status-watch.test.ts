import { GetStatusResponseSchema } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { LATE_MS, watchStatus } from './status-watch.ts';

type Said = MessageInitShape<typeof GetStatusResponseSchema> | AntipodeError;

/** The output while these are the answers, one after another. `lateTimes` says how often each of them is awaited. */
async function watched(
  answers: readonly Said[],
  {
    isTTY = false,
    json = false,
    rows = 24,
    columns = 400,
    lateTimes = [],
  }: { isTTY?: boolean; json?: boolean; rows?: number; columns?: number; lateTimes?: readonly number[] } = {},
): Promise<string[]> {
  const stop = new AbortController();
  const written: string[] = [];
  let answered = (): void => {};
  let at = 0;
  let late = 0;
  await watchStatus({
    read: async () => {
      const answer = answers[at++]!;
      late = lateTimes[at - 1] ?? 0;
      await new Promise<void>((resolve) => {
        answered = resolve;
        if (late === 0) resolve();
      });
      if (answer instanceof AntipodeError) throw answer;
      return create(GetStatusResponseSchema, { isLeader: true, coordinator: 'main', ...answer });
    },
    screen: { isTTY, rows, columns, write: (text) => written.push(text) },
    clock: {
      wallMs: () => at * 1_000,
      sleep: (ms, signal) => {
        if (ms !== LATE_MS) {
          if (at === answers.length) stop.abort();
          return Promise.resolve();
        }
        if (late > 0) {
          late -= 1;
          return Promise.resolve();
        }
        answered();
        return new Promise((resolve) => void signal?.addEventListener('abort', () => resolve()));
      },
    },
    everyMs: 1_000,
    signal: stop.signal,
    json,
  });
  return written;
}
const group = (protection: string) => ({
  groups: [{ spec: { name: 'payments' }, protection, activeSite: 'a', epoch: 1n }],
});

describe('a status that is watched', () => {
  it('is drawn over in place, and the terminal is as before at the end', async () => {
    const written = await watched([group('protected'), group('lagging')], { isTTY: true });
    expect(written[0]).toBe('\u001b[?1049h\u001b[?25l');
    expect(written.at(-1)).toBe('\u001b[?25h\u001b[?1049l');
    const frames = written.slice(1, -1);
    expect(frames).toHaveLength(2);
    // Each line is written over the one before it. Nothing is cleared first: that would flicker.
    for (const frame of frames) {
      expect(frame.startsWith('\u001b[H')).toBe(true);
      expect(frame.endsWith('\u001b[J')).toBe(true);
      expect(frame).not.toContain('\u001b[2J');
    }
    expect(frames[1]).toContain('lagging');
  });

  it('counts lines as a narrow terminal wraps them', async () => {
    const many = {
      sites: Array.from({ length: 9 }, (_, at) => ({ site: `s${at}`, state: 'up', reason: 'x'.repeat(99) })),
    };
    const [, frame] = await watched([many], { isTTY: true, rows: 20, columns: 40 });
    const lines = frame!.replace('\u001b[H', '').replace('\u001b[J', '').replaceAll('\u001b[K', '').split('\n');
    expect([lines.length, Math.max(...lines.map((line) => line.length))]).toEqual([19, 39]);
  });

  it('is not longer than the terminal', async () => {
    const many = { sites: Array.from({ length: 60 }, (_, at) => ({ site: `s${at}`, state: 'up' })) };
    const [, frame] = await watched([many], { isTTY: true, rows: 20 });
    expect(frame!.split('\n')).toHaveLength(19);
    expect(frame).toContain('more lines');
  });

  it('is whole on a terminal that does not know its size', async () => {
    const [, frame] = await watched([group('protected')], { isTTY: true, rows: 0, columns: 0 });
    expect(frame).toContain('payments');
    expect(frame).not.toContain('more lines');
  });

  it('is a line for each change where there is no terminal', async () => {
    const written = await watched([group('protected'), group('protected'), group('lagging')]);
    expect(written.join('').trimEnd().split('\n')).toEqual([
      '1970-01-01T00:00:01.000Z coordinator main leads; all is well',
      '1970-01-01T00:00:01.000Z group payments protected, active at a in epoch 1',
      '1970-01-01T00:00:03.000Z coordinator main leads; something needs a look',
      '1970-01-01T00:00:03.000Z group payments lagging, active at a in epoch 1',
    ]);
    const lines = await watched([group('protected'), group('lagging')], { json: true, isTTY: true });
    expect(lines.map((line) => JSON.parse(line).status.groups[0].protection)).toEqual(['protected', 'lagging']);
  });

  it('says above the last picture that it is not the present one, as soon as an answer is late', async () => {
    const written = await watched([group('protected'), group('lagging')], { isTTY: true, lateTimes: [0, 2] });
    const heads = written.slice(1, -1).map((frame) => frame.replace('\u001b[H', '').split('\u001b[K')[0]);
    expect(heads).toEqual([
      '1970-01-01T00:00:01.000Z  Ctrl-C ends',
      ...[2, 4].map(
        (seconds) =>
          `1970-01-01T00:00:02.000Z  no answer for ${seconds} s; the state below is that of 1970-01-01T00:00:01.000Z  Ctrl-C ends`,
      ),
      '1970-01-01T00:00:02.000Z  Ctrl-C ends',
    ]);
    const [, first] = await watched([group('protected')], { isTTY: true, lateTimes: [1] });
    expect(first).toContain('no answer for 2 s  Ctrl-C ends');
  });

  it('does not say that a coordinator leads that does not', async () => {
    const written = await watched([{ ...group('protected'), isLeader: false }, group('protected')]);
    expect(written.join('')).toMatch(
      /coordinator main does not lead; its view .*\n.*payments.*\n\S+ coordinator main leads; all is well\n$/,
    );
  });

  it('goes on while a coordinator is away, and ends with what no wait mends', async () => {
    const away = new AntipodeError('TIMED_OUT', 'away');
    expect((await watched([away, away, group('protected')])).join('')).toMatch(/^\S+ no answer: TIMED_OUT\n\S+ coord/);
    const deposed = [new AntipodeError('LEADERSHIP_LOST', 'deposed'), group('protected')];
    expect((await watched(deposed)).join('')).toContain('all is well');
    const error = await rejection(watched([new AntipodeError('PEER_REFUSED', 'no')], { isTTY: true }));
    expect(error).toMatchObject({ code: 'PEER_REFUSED' });
  });
});
