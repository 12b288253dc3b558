/** Encrypts the values of data objects in the token, under one data key. */
import { type Clock, hex, Pace, type Prng, sha256Hex } from '@antipode/runtime';
import { type Handle, OBJECT_ID_BYTES, type ObjectId, type UncapturedReason } from '../model/object.ts';
import { inBatches } from '../objects/batches.ts';
import { aadOf } from '../objects/recognise.ts';
import type { HsmProvider } from '../provider/provider.ts';
import type { Sealed } from './entry.ts';
import type { SealedValues } from './exact-sealing.ts';

export interface SealableData {
  readonly handle: Handle;
  readonly objectId: ObjectId;
  readonly bytes: number;
}

export async function sealData(
  {
    provider,
    clock,
    prng,
    group,
    domainKey,
  }: { provider: HsmProvider; clock: Clock; prng: Prng; group: string; domainKey: Handle },
  objects: readonly SealableData[],
): Promise<SealedValues> {
  const sealed = new Map<Handle, Sealed>();
  const refused = new Map<Handle, UncapturedReason>();
  const blobs = new Map<string, Uint8Array>();
  if (objects.length === 0) return { sealed, refused, dataKeys: [], blobs };
  const keep = (blob: Uint8Array): { blobSha256: string; blobSize: number } => {
    const blobSha256 = sha256Hex(blob);
    blobs.set(blobSha256, blob);
    return { blobSha256, blobSize: blob.length };
  };
  const dataKey = await provider.generateDataKey(domainKey);
  const id = hex(prng.bytes(OBJECT_ID_BYTES));
  const pace = new Pace(clock);
  try {
    for (const batch of inBatches(objects, ({ bytes }) => bytes)) {
      const items = batch.map(({ handle, objectId }) => ({ handle, aad: aadOf(group, objectId) }));
      for (const outcome of await provider.sealData({ domainKey, dataKey: dataKey.handle, items })) {
        if (pace.isDue()) await pace.makeWay();
        if ('reason' in outcome) refused.set(outcome.handle, outcome.reason);
        else sealed.set(outcome.handle, { ...keep(outcome.ciphertext), dataKeyId: id, valueTag: outcome.valueTag });
      }
    }
  } finally {
    await provider.forget([dataKey.handle]);
  }
  const dataKeys = sealed.size === 0 ? [] : [{ id, ...keep(dataKey.blob) }];
  return { sealed, refused, dataKeys, blobs };
}
