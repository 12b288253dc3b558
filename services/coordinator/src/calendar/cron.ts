/**
 * Cron expressions of five fields, in UTC: minute, hour, day of the month, month, day of the week. If both day fields
 * are restricted, a day matches when either of them does. If one begins with a star, both must match, as in cron. Pure:
 * this module says which minutes match, and reads no clock.
 */

interface Field {
  readonly values: ReadonlySet<number>;
  /** Begins with a star: says nothing of days by itself. */
  readonly isStar: boolean;
}

export interface Cron {
  readonly minute: Field;
  readonly hour: Field;
  readonly day: Field;
  readonly month: Field;
  readonly weekday: Field;
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** A leap day comes every four years, now and then every eight. */
const DAYS_MAX = 8 * 366 + 1;

/** Returns undefined if the text is not an expression of five fields. */
export function parseCron(text: string): Cron | undefined {
  const fields = text.trim().split(/\s+/);
  if (fields.length !== 5) return undefined;
  const minute = parseField(fields[0]!, { min: 0, max: 59 });
  const hour = parseField(fields[1]!, { min: 0, max: 23 });
  const day = parseField(fields[2]!, { min: 1, max: 31 });
  const month = parseField(fields[3]!, { min: 1, max: 12, names: MONTHS });
  // Sunday is 0, and 7 too.
  const weekday = parseField(fields[4]!, { min: 0, max: 7, names: WEEKDAYS });
  if (!minute || !hour || !day || !month || !weekday) return undefined;
  if (weekday.values.has(7)) return { minute, hour, day, month, weekday: withSunday(weekday) };
  return { minute, hour, day, month, weekday };
}

/** The last minute in (afterMs, untilMs] that matches; undefined where none does. */
export function latestMatch(
  cron: Cron,
  { afterMs, untilMs }: { afterMs: number; untilMs: number },
): number | undefined {
  const firstDayMs = Math.max(startOfDay(afterMs), startOfDay(untilMs) - DAYS_MAX * DAY_MS);
  for (let dayMs = startOfDay(untilMs); dayMs >= firstDayMs; dayMs -= DAY_MS) {
    if (!matchesDay(cron, new Date(dayMs))) continue;
    const lastMs = Math.min(dayMs + DAY_MS - MINUTE_MS, Math.floor(untilMs / MINUTE_MS) * MINUTE_MS);
    for (let atMs = lastMs; atMs >= dayMs && atMs > afterMs; atMs -= MINUTE_MS) {
      const minutes = (atMs - dayMs) / MINUTE_MS;
      if (cron.hour.values.has(Math.floor(minutes / 60)) && cron.minute.values.has(minutes % 60)) return atMs;
    }
  }
  return undefined;
}

function matchesDay({ day, month, weekday }: Cron, date: Date): boolean {
  if (!month.values.has(date.getUTCMonth() + 1)) return false;
  const isDay = day.values.has(date.getUTCDate());
  const isWeekday = weekday.values.has(date.getUTCDay());
  return day.isStar || weekday.isStar ? isDay && isWeekday : isDay || isWeekday;
}

const startOfDay = (ms: number): number => Math.floor(ms / DAY_MS) * DAY_MS;

const withSunday = ({ values, isStar }: Field): Field => ({ values: new Set([...values, 0]), isStar });

function parseField(
  text: string,
  { min, max, names = [] }: { min: number; max: number; names?: readonly string[] },
): Field | undefined {
  const values = new Set<number>();
  for (const part of text.toLowerCase().split(',')) {
    const [, range = '', step] = /^([^/]+)(?:\/(\d{1,4}))?$/.exec(part) ?? [];
    const bounds = range === '*' ? [min, max] : range.split('-').map((one) => numberOf(one, { min, names }));
    const [from, to = step === undefined ? from : max] = bounds;
    const by = step === undefined ? 1 : Number(step);
    if (from === undefined || to === undefined || bounds.length > 2 || by === 0) return undefined;
    if (!(from >= min && to <= max && from <= to)) return undefined;
    for (let value = from; value <= to; value += by) values.add(value);
  }
  return { values, isStar: text.startsWith('*') };
}

/** NaN for what is neither a number nor a name, which no comparison lets pass. */
function numberOf(text: string, { min, names }: { min: number; names: readonly string[] }): number {
  const named = names.indexOf(text);
  if (named >= 0) return named + min;
  return /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
}
