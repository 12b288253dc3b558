/** Work on many objects, cut to what one message to the worker, one call and one turn of the event loop may hold. */
import type { Handle } from './model/object.ts';
import type { HsmProvider } from './provider.ts';

/** At the 94 ms that one destroy takes among 10,000 objects, a call of this size ends in half a minute. */
export const BATCH = 256;

export function* inBatches<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += BATCH) yield items.slice(start, start + BATCH);
}

/** Destroys token objects, asking before each batch. Returns those that the token keeps (CKA_DESTROYABLE is false). */
export async function destroyAll(
  provider: HsmProvider,
  handles: readonly Handle[],
  { checkFence }: { checkFence: () => void },
): Promise<Handle[]> {
  const kept: Handle[] = [];
  for (const batch of inBatches(handles)) {
    checkFence();
    kept.push(...(await provider.destroy(batch)));
  }
  return kept;
}
