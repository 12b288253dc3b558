/** Seals secrets byte for byte, where wrapping would change them, or may change them (ADR 0034). */
import { hex, type Prng, sha256Hex } from '@antipode/runtime';
import type { DataKey } from '../model/generation.ts';
import { type Handle, OBJECT_ID_BYTES, type ObjectId, type UncapturedReason } from '../model/object.ts';
import { inBatches } from '../objects/batches.ts';
import { exactAadOf } from '../objects/recognise.ts';
import { EXACT_PAIRS, type ExactModulusBits } from '../provider/exact-sealer.ts';
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

export interface SealableSecret {
  readonly handle: Handle;
  readonly objectId: ObjectId;
  /** 0 if the token does not tell. */
  readonly bytes: number;
}

export async function sealExactly(
  ports: { provider: HsmProvider; prng: Prng; group: string; domainKey: Handle },
  secrets: readonly SealableSecret[],
): Promise<SealedValues> {
  const sealed = new Map<Handle, Sealed>();
  const refused = new Map<Handle, UncapturedReason>();
  const dataKeys: DataKey[] = [];
  const blobs = new Map<string, Uint8Array>();
  let rest = secrets;
  for (const pair of EXACT_PAIRS) {
    const fitting = rest.filter(({ bytes }) => bytes <= pair.bytesMax);
    const outcome = await sealBy(ports, { modulusBits: pair.modulusBits, secrets: fitting });
    for (const [handle, form] of outcome.sealed) sealed.set(handle, form);
    for (const [handle, reason] of outcome.refused) refused.set(handle, reason);
    for (const [sha256, blob] of outcome.blobs) blobs.set(sha256, blob);
    dataKeys.push(...outcome.dataKeys);
    // A secret of unknown length may be too long for this pair. A token that makes no pair is not asked for a larger one.
    const isLonger = ({ handle, bytes }: SealableSecret): boolean =>
      bytes > pair.bytesMax || (bytes === 0 && outcome.isOffered && refused.get(handle) === 'not-wrappable');
    rest = rest.filter(isLonger);
  }
  return { sealed, refused, dataKeys, blobs };
}

async function sealBy(
  { provider, prng, group, domainKey }: Parameters<typeof sealExactly>[0],
  { modulusBits, secrets }: { modulusBits: ExactModulusBits; secrets: readonly SealableSecret[] },
): Promise<SealedValues & { isOffered: boolean }> {
  const sealed = new Map<Handle, Sealed>();
  const refused = new Map<Handle, UncapturedReason>();
  const blobs = new Map<string, Uint8Array>();
  const nothing = { sealed, refused, dataKeys: [], blobs };
  if (secrets.length === 0) return { ...nothing, isOffered: true };
  const exactKey = await provider.generateExactKey(domainKey, modulusBits);
  if (exactKey === undefined) {
    for (const { handle } of secrets) refused.set(handle, 'not-wrappable');
    return { ...nothing, isOffered: false };
  }
  const keep = (blob: Uint8Array): { blobSha256: string; blobSize: number } => {
    const blobSha256 = sha256Hex(blob);
    blobs.set(blobSha256, blob);
    return { blobSha256, blobSize: blob.length };
  };
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
  if (sealed.size === 0) return { ...nothing, isOffered: true };
  return { sealed, refused, dataKeys: [{ id: dataKeyId, ...keep(keyBlob) }], blobs, isOffered: true };
}
