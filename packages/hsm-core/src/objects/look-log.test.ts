import { describe, expect, it } from 'vitest';
import { LookLog } from './look-log.ts';

describe('what has changed since a look', () => {
  const [A, B] = [1n, 2n];

  it('is what was new or read otherwise in any look behind it, whoever asked meanwhile', () => {
    const log = new LookLog();
    const first = log.begin();
    log.hasChanged(A, 'a');
    const second = log.begin();
    log.hasChanged(A, 'a', first);
    log.hasChanged(B, 'b', first);
    log.begin();
    expect([log.hasChanged(A, 'a', first), log.hasChanged(B, 'b', first)]).toEqual([false, true]);
    expect([log.hasChanged(A, 'a', second), log.hasChanged(B, 'b', second)]).toEqual([false, false]);
  });

  it('holds what changed and changed back', () => {
    const log = new LookLog();
    const first = log.begin();
    for (const digest of ['a', 'other', 'a']) {
      log.hasChanged(A, digest);
      log.begin();
    }
    expect(log.hasChanged(A, 'a', first)).toBe(true);
  });

  it('is everything for whoever names no look, or one that this log never had', () => {
    const log = new LookLog();
    log.begin();
    log.hasChanged(A, 'a');
    const last = log.begin();
    expect([undefined, 0, -1, last, last + 1, 1].map((since) => log.hasChanged(A, 'a', since))).toEqual([
      true,
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  it('holds what was away and is back under its handle, missed by a whole look or reported gone', () => {
    const log = new LookLog();
    const first = log.begin();
    for (const handle of [A, B]) log.hasChanged(handle, 'same');
    log.begin();
    log.hasChanged(A, 'same', first);
    expect(log.endWhole()).toEqual([B]);
    log.forget(A);
    log.begin();
    expect([A, B].map((handle) => log.hasChanged(handle, 'same', first))).toEqual([true, true]);
  });
});
