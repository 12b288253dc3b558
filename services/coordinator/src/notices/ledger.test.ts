import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Condition, declarationOf, NOTICES, type NoticeKind } from './causes.ts';
import { type Notice, nextOf, RESOLVED_AFTER_MS } from './ledger.ts';

const DOWN: Condition = { kind: 'site-down', labels: { site: 'b' } };
const WAIT_MS = declarationOf('site-down').waitMs;
const MINUTE_MS = 60_000;

/** The record after looks at these times, each of which sees the cause or does not. */
function after(looks: readonly (readonly [atMs: number, seen: boolean | 'unseen'])[], condition = DOWN): Notice[] {
  let notices: Notice[] = [];
  for (const [nowMs, seen] of looks) {
    const { put, drop } = nextOf(notices, seen === true ? [condition] : [], {
      nowMs,
      factor: 1,
      couldSee: () => seen !== 'unseen',
    });
    const changed = new Map(put.map((one) => [one.id, one]));
    notices = [...notices.filter(({ id }) => !changed.has(id)), ...put].filter(({ id }) => !drop.includes(id));
  }
  return notices;
}

describe('a cause', () => {
  it('is on record at once, and is raised when it has lasted for its wait', () => {
    expect(after([[0, true]])).toMatchObject([{ id: 'site-down/site=b@0', raisedMs: undefined }]);
    expect(
      after([
        [0, true],
        [WAIT_MS - 1, true],
      ]),
    ).toMatchObject([{ raisedMs: undefined }]);
    expect(
      after([
        [0, true],
        [WAIT_MS, true],
      ]),
    ).toMatchObject([{ raisedMs: WAIT_MS, text: 'Site b is down.' }]);
  });

  it('that heals by itself before its wait is over leaves no notice', () => {
    expect(
      after([
        [0, true],
        [1_000, false],
        [1_000 + RESOLVED_AFTER_MS, false],
      ]),
    ).toEqual([]);
  });

  it('that comes and goes is one notice, and is resolved when it has been gone for a while', () => {
    const flapping = Array.from({ length: 20 }, (_, at) => [at * MINUTE_MS, at % 2 === 0] as const);
    const [only, ...more] = after(flapping);
    expect(more).toEqual([]);
    expect(only).toMatchObject({ sinceMs: 0, raisedMs: WAIT_MS, resolvedMs: undefined });
    const lastMs = 19 * MINUTE_MS;
    expect(after([...flapping, [lastMs + RESOLVED_AFTER_MS, false]])).toMatchObject([
      { absentMs: lastMs, resolvedMs: lastMs + RESOLVED_AFTER_MS },
    ]);
  });

  it('that comes back after it was resolved is another notice', () => {
    const looks = [
      [0, true],
      [WAIT_MS, true],
      [WAIT_MS + 1, false],
      [WAIT_MS + 1 + RESOLVED_AFTER_MS, false],
    ] as const;
    const ids = after([...looks, [WAIT_MS * 10, true]]).map(({ id }) => id);
    expect(ids).toEqual(['site-down/site=b@0', `site-down/site=b@${WAIT_MS * 10}`]);
  });

  it('that a look cannot see stays as it is', () => {
    expect(
      after([
        [0, true],
        [WAIT_MS, true],
        [WAIT_MS * 100, 'unseen'],
      ]),
    ).toMatchObject([{ absentMs: undefined, resolvedMs: undefined }]);
  });

  it('is one for each site, whatever its words are', () => {
    const failing = (words: string): Condition => ({ kind: 'group-failing', labels: { group: 'payments', words } });
    const look = { nowMs: 0, factor: 1, couldSee: () => true };
    const { put } = nextOf([], [failing('capture')], look);
    expect(nextOf(put, [failing('capture, site')], look)).toEqual({ put: [], drop: [] });
    expect(nextOf(put, [{ ...DOWN, labels: { site: 'c' } }], look).put).toHaveLength(2);
  });
});

it('whoever looks, and however often: one open notice of a cause, raised once', () => {
  const look = fc.tuple(fc.integer({ min: 1, max: 4 * MINUTE_MS }), fc.constantFrom(true, false, 'unseen' as const));
  fc.assert(
    fc.property(fc.array(look, { maxLength: 60 }), (steps) => {
      let nowMs = 0;
      const looks = steps.map(([pauseMs, seen]) => {
        nowMs += pauseMs;
        return [nowMs, seen] as const;
      });
      const notices = after(looks);
      expect(notices.filter(({ resolvedMs }) => resolvedMs === undefined).length).toBeLessThan(2);
      expect(new Set(notices.map(({ id }) => id)).size).toBe(notices.length);
      for (const { raisedMs, sinceMs, resolvedMs } of notices.filter((one) => one.raisedMs !== undefined)) {
        expect(raisedMs! - sinceMs).toBeGreaterThanOrEqual(WAIT_MS);
        if (resolvedMs !== undefined) expect(resolvedMs).toBeGreaterThan(raisedMs!);
      }
    }),
  );
});

it.each(Object.keys(NOTICES) as NoticeKind[])('%s says a whole sentence, with labels only that it has', (kind) => {
  const { text, waitMs } = declarationOf(kind);
  expect(text).toMatch(/^[A-Z].*\.$/);
  expect(waitMs).toBeGreaterThanOrEqual(0);
});
