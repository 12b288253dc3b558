/**
 * I13: the time by which the coordinators count does not run ahead of time itself. Otherwise ages are too great, and an
 * hour between two automatic moves ends early.
 */
import type { Checker } from './checker.ts';

/** Clocks differ a little, and each takeover may count one look of the next leader too much. */
const AHEAD_MS_MAX = 30_000;

export const timePasses = (): Checker => {
  let first: { readonly markMs: number; readonly nowMs: number } | undefined;
  return {
    invariant: 'I13',
    name: 'time-passes',
    look: (change, { nowMs, areWallClocksTrusted }) => {
      if (change.kind !== 'mark' || areWallClocksTrusted) return undefined;
      first ??= { markMs: change.markMs, nowMs };
      const aheadMs = change.markMs - first.markMs - (nowMs - first.nowMs);
      if (aheadMs <= AHEAD_MS_MAX) return undefined;
      return `the timeline has gained ${Math.round(aheadMs / 1_000)} s in ${Math.round((nowMs - first.nowMs) / 1_000)} s`;
    },
  };
};
