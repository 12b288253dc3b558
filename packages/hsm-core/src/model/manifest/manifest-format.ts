/** The format of a manifest follows from its content, so that a generation has one encoding. */
import { type Generation, isExact } from '../generation.ts';
import { FORMAT_2, FORMAT_3 } from './manifest-fields.ts';

export function formatOf({ entries, tombstones }: Pick<Generation, 'entries' | 'tombstones'>): number {
  const hasExact = entries.some(isExact) || tombstones.some(({ entry }) => isExact(entry));
  return hasExact ? FORMAT_3 : FORMAT_2;
}
