/** Takes keys out of the token by the cloning of their device, encrypted under one data key (ADR 0055). */
import { hex, type Prng, sha256Hex } from '@antipode/runtime';
import { type Handle, OBJECT_ID_BYTES, type ObjectId, type UncapturedReason } from '../model/object.ts';
import type { Vector } from '../model/vector.ts';
import { inBatches, NATIVE_BATCH } from '../objects/batches.ts';
import { nativeAadOf } from '../objects/recognise.ts';
import type { CloningInUse, HsmProvider } from '../provider/provider.ts';
import type { Sealed } from './entry.ts';
import type { SealedValues } from './exact-sealing.ts';

/** The cloning domain of a partition. */
export interface CloningDomain {
  /** Hexadecimal. */
  readonly domain: string;
  /** The devices move keys among themselves, so that no blob exists. */
  readonly isByDevice: boolean;
}

export const cloningDomainOf = ({ domain, shape }: CloningInUse): CloningDomain => ({
  domain: hex(domain),
  isByDevice: shape === 'device',
});

export interface ClonableKey {
  readonly handle: Handle;
  readonly objectId: ObjectId;
  /** Of a secret key. */
  readonly vectors: readonly Vector[] | undefined;
}

export async function sealNatively(
  {
    provider,
    prng,
    group,
    domainKey,
    cloning,
  }: { provider: HsmProvider; prng: Prng; group: string; domainKey: Handle; cloning: CloningDomain },
  keys: readonly ClonableKey[],
): Promise<SealedValues> {
  const { domain: cloningDomain } = cloning;
  if (cloning.isByDevice) return namedForDevice(keys, cloningDomain);
  const sealed = new Map<Handle, Sealed>();
  const refused = new Map<Handle, UncapturedReason>();
  const blobs = new Map<string, Uint8Array>();
  const keep = (blob: Uint8Array): { blobSha256: string; blobSize: number } => {
    const blobSha256 = sha256Hex(blob);
    blobs.set(blobSha256, blob);
    return { blobSha256, blobSize: blob.length };
  };
  const vectorsOf = new Map(keys.map(({ handle, vectors }) => [handle, vectors]));
  const dataKey = await provider.generateDataKey(domainKey);
  const dataKeyId = hex(prng.bytes(OBJECT_ID_BYTES));
  try {
    for (const batch of inBatches(keys, undefined, NATIVE_BATCH)) {
      const items = batch.map(({ handle, objectId }) => ({ handle, aad: nativeAadOf(group, objectId) }));
      for (const outcome of await provider.takeNative({ dataKey: dataKey.handle, items })) {
        const { handle } = outcome;
        if ('reason' in outcome) {
          refused.set(handle, outcome.reason);
          continue;
        }
        const vectors = vectorsOf.get(handle);
        // It has shown its value at this capture before, and does not any more.
        if (vectors?.length === 0) {
          refused.set(handle, 'unreadable');
          continue;
        }
        const shown = vectors === undefined ? {} : { vectors };
        sealed.set(handle, { ...keep(outcome.ciphertext), dataKeyId, cloningDomain, ...shown });
      }
    }
  } finally {
    await provider.forget([dataKey.handle]);
  }
  const dataKeys = sealed.size === 0 ? [] : [{ id: dataKeyId, ...keep(dataKey.blob) }];
  return { sealed, refused, dataKeys, blobs };
}

/** The device keeps the value. An entry says by what it is known there. */
function namedForDevice(keys: readonly ClonableKey[], cloningDomain: string): SealedValues {
  const sealed = new Map<Handle, Sealed>();
  const refused = new Map<Handle, UncapturedReason>();
  for (const { handle, vectors } of keys) {
    if (vectors?.length === 0) refused.set(handle, 'unreadable');
    else sealed.set(handle, { blobSize: 0, cloningDomain, byDevice: true, ...(vectors && { vectors }) });
  }
  return { sealed, refused, dataKeys: [], blobs: new Map() };
}
