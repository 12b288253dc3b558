/** Work on many objects, cut to what one message to the worker, one call and one turn of the event loop may hold. */
import type { Entry } from '../model/generation.ts';
import { EncodedEntry } from '../model/manifest/encoded-entry.ts';
import type { Handle } from '../model/object.ts';
import type { PartitionReader } from '../provider/reader.ts';

/** At the 94 ms that one destroy takes among 10,000 objects, a call of this size ends in half a minute. */
export const BATCH = 256;

/** Bytes of the items in one message: a few objects of the largest size. More would be gigabytes in one piece. */
export const BATCH_BYTES = 16 * 1024 * 1024;

/**
 * A device of blobs finds what it has made by a search through its whole token: as few searches as messages of a moderate
 * size allow. A call takes a second or two.
 */
export const NATIVE_BATCH = 1_024;

export function* inBatches<T>(
  items: readonly T[],
  bytesOf: (item: T) => number = () => 0,
  countMax = BATCH,
): Generator<readonly T[]> {
  let batch: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const more = bytesOf(item);
    if (batch.length === countMax || (batch.length > 0 && bytes + more > BATCH_BYTES)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(item);
    bytes += more;
  }
  if (batch.length > 0) yield batch;
}

/** The bytes of all byte strings in a value, however deep they are. */
export function bytesIn(value: unknown): number {
  if (value instanceof Uint8Array) return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  let bytes = 0;
  for (const part of Object.values(value)) bytes += bytesIn(part);
  return bytes;
}

/** The bytes that an object takes on its way to the worker: its sealed form, and what the manifest has of it. */
export const entryBytes = (entry: Entry): number =>
  entry.blobSize + (EncodedEntry.encodingOf(entry)?.length ?? bytesIn(entry));

/**
 * Destroys token objects, asking before each batch. Returns those that are left: see {@link PartitionReader.destroy}.
 * @param options.readDigests what was read under each handle, where that counts
 */
export async function destroyAll(
  provider: Pick<PartitionReader, 'destroy'>,
  handles: readonly Handle[],
  { checkFence, readDigests = [] }: { checkFence: () => void; readDigests?: readonly string[] },
): Promise<Handle[]> {
  const kept: Handle[] = [];
  let done = 0;
  for (const batch of inBatches(handles)) {
    checkFence();
    kept.push(...(await provider.destroy(batch, readDigests.slice(done, done + batch.length))));
    done += batch.length;
  }
  return kept;
}
