/** The format of a manifest follows from its content, so that a generation has one encoding. */
import { type Entry, type Generation, hasClone, isByDevice, isExact, isNative } from '../generation.ts';
import { FORMAT_2, FORMAT_3, FORMAT_4, FORMAT_5, FORMAT_6 } from './manifest-fields.ts';

export function formatOf({ entries, tombstones }: Pick<Generation, 'entries' | 'tombstones'>): number {
  const isAny = (has: (entry: Entry) => boolean): boolean =>
    entries.some((entry) => has(entry)) || tombstones.some(({ entry }) => has(entry));
  if (isAny(hasClone)) return FORMAT_6;
  if (isAny(isByDevice)) return FORMAT_5;
  if (isAny(isNative)) return FORMAT_4;
  return isAny(isExact) ? FORMAT_3 : FORMAT_2;
}
