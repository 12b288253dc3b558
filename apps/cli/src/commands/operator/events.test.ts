import {
  EventSchema,
  type ListEventsRequestSchema,
  type ListEventsResponse,
  ListEventsResponseSchema,
} from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { followEvents, tellEvents } from './event-feed.ts';
import { eventText, moment } from './events.ts';

type Request = MessageInitShape<typeof ListEventsRequestSchema>;

/** A log whose coordinator answers so many events at a time, and is away where the test says so. */
class FakeLog {
  readonly kinds: string[] = [];
  readonly troubles = new Map<number, AntipodeError>();
  readonly told: string[] = [];
  readonly notes: string[] = [];
  readonly stop = new AbortController();
  calls = 0;
  /** Called while the follower waits. */
  meanwhile: () => void = () => this.stop.abort();

  readonly ports = {
    list: async ({ cursor = '' }: Request): Promise<ListEventsResponse> => {
      this.calls += 1;
      const trouble = this.troubles.get(this.calls);
      if (trouble !== undefined) throw trouble;
      const from = Number(cursor);
      const events = this.kinds.slice(from, from + 2).map((kind, at) => ({ id: BigInt(from + at + 1), kind }));
      const end = from + events.length;
      return create(ListEventsResponseSchema, { events, cursor: String(end), hasMore: end < this.kinds.length });
    },
    clock: { sleep: async () => this.meanwhile() },
    tell: ({ kind }: { kind: string }) => void this.told.push(kind),
    note: (text: string) => void this.notes.push(text),
    signal: this.stop.signal,
  };
}

const away = new AntipodeError('SITE_UNREACHABLE', 'no answer from coordinator main');

it('tells all pages once', async () => {
  const log = new FakeLog();
  log.kinds.push('a', 'b', 'c', 'd', 'e');
  expect(await tellEvents({}, log.ports)).toBe(5);
  expect([log.told, log.calls]).toEqual([['a', 'b', 'c', 'd', 'e'], 3]);
});

describe('a follower', () => {
  it('tells what comes, and ends by its signal', async () => {
    const log = new FakeLog();
    log.kinds.push('a');
    log.meanwhile = () => {
      if (log.kinds.length > 3) log.stop.abort();
      log.kinds.push(`later-${log.kinds.length}`);
    };
    await followEvents({}, log.ports);
    expect(log.told).toEqual(['a', 'later-1', 'later-2', 'later-3']);
  });

  it.each([1, 2, 3, 4])('tells nothing twice and leaves nothing out when answer %i is lost', async (call) => {
    const log = new FakeLog();
    log.kinds.push('a', 'b', 'c', 'd', 'e');
    for (const at of [call, call + 1, call + 2]) log.troubles.set(at, away);
    log.meanwhile = () => {
      if (log.calls > 8) log.stop.abort();
    };
    await followEvents({}, log.ports);
    expect(log.told).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(log.notes).toEqual([
      expect.stringContaining('SITE_UNREACHABLE'),
      'A coordinator answers again. No event is left out.',
    ]);
  });

  it('ends with an error that does not pass', async () => {
    const log = new FakeLog();
    log.troubles.set(2, new AntipodeError('PEER_REFUSED', 'not for this certificate'));
    log.meanwhile = () => {};
    expect((await rejection(followEvents({}, log.ports))).code).toBe('PEER_REFUSED');
  });

  it('whose reader leaves in the middle of a page tells no more of it', async () => {
    const log = new FakeLog();
    log.kinds.push('a', 'b', 'c');
    log.ports.tell = ({ kind }) => {
      log.told.push(kind);
      log.stop.abort();
    };
    await followEvents({}, log.ports);
    expect(log.told).toEqual(['a']);
  });
});

describe('a time', () => {
  const nowMs = Date.UTC(2026, 10, 29, 12);
  it.each([
    ['90s', nowMs - 90_000],
    ['30m', nowMs - 1_800_000],
    ['2d', nowMs - 172_800_000],
    ['999999999d', 0],
    ['2026-11-01', Date.UTC(2026, 10, 1)],
    ['2026-11-01T12:00Z', Date.UTC(2026, 10, 1, 12)],
    ['2026-11-01T12:00:30.5+02:00', Date.UTC(2026, 10, 1, 10, 0, 30, 500)],
  ])('may be %s', (text, expected) => {
    expect(moment(text, undefined, nowMs)).toBe(expected);
  });

  it.each(['', 'yesterday', '5', '-1h', '1.5h', '2026-11-01T12:00', '2026-13-01', '1h; rm', '1969-01-01'])(
    'must not be %j',
    (text) => {
      expect(() => moment(text, undefined, nowMs)).toThrow('must be like');
    },
  );
});

it('an event is one line, whatever its details are', () => {
  const event = create(EventSchema, {
    atMs: 0n,
    kind: 'failover-complete',
    group: 'payments',
    details: { b: 'two words\nand a line', a: '7', c: '\u001b[2J' },
  });
  expect(eventText(event)).toBe(
    '1970-01-01T00:00:00.000Z  failover-complete             group payments  a=7  b="two words\\u000aand a line"  c=\\u001b[2J',
  );
});
