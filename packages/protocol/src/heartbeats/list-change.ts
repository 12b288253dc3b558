/** The difference between a list and an earlier one. The receiver puts exactly the same list together again. Pure. */
import { AntipodeError } from '@antipode/runtime';

/** Neighbouring items: of the earlier list from a position on, or the next ones that are not in it. */
export interface ListPart {
  readonly from?: number | undefined;
  readonly count: number;
}

export interface ToldList<T> {
  readonly parts: readonly ListPart[];
  /** Those that are not in the earlier list. */
  readonly items: readonly T[];
}

export interface Likeness<T> {
  /** Finds the item in the earlier list. If two items share a key, one of them counts as new. */
  readonly keyOf: (item: T) => string;
  readonly isSame: (one: T, other: T) => boolean;
}

/** No site has so many seats. Parts of a few bytes must not make a list that fills the memory. */
export const LIST_MAX = 20_000;

export function toldSince<T>(now: readonly T[], earlier: readonly T[], { keyOf, isSame }: Likeness<T>): ToldList<T> {
  const parts: { from?: number; count: number }[] = [];
  const items: T[] = [];
  let places: Map<string, number> | undefined;
  // Mostly the lists are the same but for some items, so each item is first looked for where the last one ended.
  let next = 0;
  for (const item of now) {
    let at: number | undefined = next;
    if (at >= earlier.length || !isSame(earlier[at]!, item)) {
      places ??= new Map(earlier.map((one, place) => [keyOf(one), place]));
      const place = places.get(keyOf(item));
      if (place !== undefined) next = place + 1;
      at = place !== undefined && isSame(earlier[place]!, item) ? place : undefined;
    } else next += 1;
    if (at === undefined) items.push(item);
    const last = parts.at(-1);
    const goesOn = last !== undefined && (last.from === undefined ? at === undefined : last.from + last.count === at);
    if (goesOn) last.count += 1;
    else parts.push(at === undefined ? { count: 1 } : { from: at, count: 1 });
  }
  return { parts, items };
}

/**
 * The earlier list itself if nothing has changed: indexes that were made of it still serve.
 * @throws REQUEST_INVALID where the parts name what is not there, or leave out what is
 */
export function putTogether<T>({ parts, items }: ToldList<T>, earlier: readonly T[], name: string): readonly T[] {
  const all: T[] = [];
  let taken = 0;
  for (const { from, count } of parts) {
    const [source, at] = from === undefined ? [items, taken] : [earlier, from];
    if (at + count > source.length) throw invalid(name, `has no item ${at + count - 1} to take`);
    if (all.length + count > LIST_MAX) throw invalid(name, `has more than ${LIST_MAX} items`);
    for (let place = at; place < at + count; place += 1) all.push(source[place]!);
    if (from === undefined) taken += count;
  }
  if (taken !== items.length) throw invalid(name, `has ${items.length} new items, and takes ${taken} of them`);
  const isWhole = parts.every(({ from }) => from !== undefined) && all.length === earlier.length;
  return isWhole && all.every((item, at) => item === earlier[at]) ? earlier : all;
}

const invalid = (field: string, why: string): AntipodeError =>
  new AntipodeError('REQUEST_INVALID', `the list ${field} of a heartbeat ${why}`, { details: { field } });
