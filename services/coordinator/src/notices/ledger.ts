/**
 * From the causes of this moment to the notices on record. A cause that begins is on record at once, and is raised when it
 * has lasted for its wait. One that ends is resolved when it has been gone for a while: a site that comes and goes is one
 * notice. The times are on record, so a takeover neither begins a wait again nor forgets one. Pure.
 */
import { type Condition, declarationOf, keyOf, type NoticeKind, textOf } from './causes.ts';

export interface Notice {
  /** Of this occurrence. */
  readonly id: string;
  readonly kind: NoticeKind;
  readonly group: string;
  readonly site: string;
  readonly text: string;
  /** When the cause was seen first, on the timeline. */
  readonly sinceMs: number;
  /** Absent while it waits: nobody hears of it yet. */
  readonly raisedMs?: number | undefined;
  /** The cause is gone since; absent while it lasts. */
  readonly absentMs?: number | undefined;
  readonly resolvedMs?: number | undefined;
}

export interface Step {
  readonly put: readonly Notice[];
  /** Ids of those that nobody has heard of, and nobody will. */
  readonly drop: readonly string[];
}

/** Longer than a site needs that flaps. */
export const RESOLVED_AFTER_MS = 5 * 60_000;

export interface Look {
  readonly nowMs: number;
  /** For all waits: tests and demonstrations take a small one. */
  readonly factor: number;
  /** Whether this look could see if the cause of a notice lasts. Anything else stays as it is. */
  readonly couldSee: (notice: Notice) => boolean;
}

export function nextOf(live: readonly Notice[], seen: readonly Condition[], { nowMs, factor, couldSee }: Look): Step {
  const put: Notice[] = [];
  const drop: string[] = [];
  const known = new Map(live.filter(({ resolvedMs }) => resolvedMs === undefined).map((one) => [keyIn(one.id), one]));
  const present = new Map(seen.map((one) => [keyOf(one), one]));
  for (const [key, condition] of present) {
    const before = known.get(key) ?? begun(key, condition, nowMs);
    const { waitMs } = declarationOf(condition.kind);
    const isDue = before.raisedMs === undefined && nowMs - before.sinceMs >= waitMs * factor;
    const next: Notice = {
      ...before,
      ...(isDue ? { raisedMs: nowMs, text: textOf(condition) } : {}),
      absentMs: undefined,
    };
    if (!known.has(key) || isDue || before.absentMs !== undefined) put.push(next);
  }
  for (const [key, notice] of known) {
    if (present.has(key) || !couldSee(notice)) continue;
    const { isEvent = false } = declarationOf(notice.kind);
    const afterMs = isEvent ? 0 : RESOLVED_AFTER_MS * factor;
    if (notice.absentMs === undefined) put.push({ ...notice, absentMs: nowMs });
    else if (nowMs - notice.absentMs >= afterMs) {
      if (notice.raisedMs === undefined) drop.push(notice.id);
      else put.push({ ...notice, resolvedMs: nowMs });
    }
  }
  return { put, drop };
}

const begun = (key: string, condition: Condition, nowMs: number): Notice => ({
  id: `${key}@${Math.round(nowMs)}`,
  kind: condition.kind,
  group: condition.labels.group ?? '',
  site: condition.labels.site ?? '',
  text: textOf(condition),
  sinceMs: Math.round(nowMs),
  raisedMs: undefined,
  absentMs: undefined,
  resolvedMs: undefined,
});

const keyIn = (id: string): string => id.slice(0, id.lastIndexOf('@'));
