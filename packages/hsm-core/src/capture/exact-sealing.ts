/** Seals secrets byte for byte, where wrapping would change them, or may change them (ADR 0034). */
import { hex, type Prng, sha256Hex } from '@antipode/runtime';
import type { DataKey } from '../model/generation.ts';
import { type Handle, OBJECT_ID_BYTES, type ObjectId, type UncapturedReason } from '../model/object.ts';
import { inBatches } from '../objects/batches.ts';
import { exactAadOf } from '../objects/recognise.ts';
import type { HsmProvider } from '../provider/provider.ts';
import type { Sealed } from './entry.ts';

/** Values that were sealed under data keys. */
export interface SealedValues {
  readonly sealed: ReadonlyMap<Handle, Sealed>;
  /** Why the token did not seal the others. */
  readonly refused: ReadonlyMap<Handle, UncapturedReason>;
  /** Those that sealed something. */
  readonly dataKeys: readonly DataKey[];
  /** By SHA-256, hexadecimal. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

export async function sealExactly(
  { provider, prng, group, domainKey }: { provider: HsmProvider; prng: Prng; group: string; domainKey: Handle },
  secrets: readonly { readonly handle: Handle; readonly objectId: ObjectId }[],
): Promise<SealedValues> {
  const sealed = new Map<Handle, Sealed>();
  const refused = new Map<Handle, UncapturedReason>();
  const blobs = new Map<string, Uint8Array>();
  const keep = (blob: Uint8Array): { blobSha256: string; blobSize: number } => {
    const blobSha256 = sha256Hex(blob);
    blobs.set(blobSha256, blob);
    return { blobSha256, blobSize: blob.length };
  };
  const exactKey = secrets.length === 0 ? undefined : await provider.generateExactKey(domainKey);
  if (exactKey === undefined) {
    for (const { handle } of secrets) refused.set(handle, 'not-wrappable');
    return { sealed, refused, dataKeys: [], blobs };
  }
  const { blob: keyBlob, ...keys } = exactKey;
  const dataKeyId = hex(prng.bytes(OBJECT_ID_BYTES));
  try {
    for (const batch of inBatches(secrets)) {
      const items = batch.map(({ handle, objectId }) => ({ handle, aad: exactAadOf(group, objectId) }));
      for (const outcome of await provider.sealSecrets({ domainKey, exactKey: keys, items })) {
        if ('reason' in outcome) refused.set(outcome.handle, outcome.reason);
        else sealed.set(outcome.handle, { ...keep(outcome.ciphertext), dataKeyId, valueTag: outcome.valueTag });
      }
    }
  } finally {
    await provider.forget(Object.values(keys));
  }
  if (sealed.size === 0) return { sealed, refused, dataKeys: [], blobs };
  return { sealed, refused, dataKeys: [{ id: dataKeyId, ...keep(keyBlob) }], blobs };
}
