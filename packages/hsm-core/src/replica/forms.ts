/**
 * Which form of each key this partition takes (ADR 0055). A key with two forms is as safe as one with two copies: where
 * this partition does not make its clone, or the store has lost one form, the other one serves.
 */
import { AntipodeError, hasCode, hex, Pace, sha256Hex } from '@antipode/runtime';
import { type Entry, hasClone } from '../model/generation.ts';
import type { ObjectId } from '../model/object.ts';
import type { HsmProvider } from '../provider/provider.ts';
import type { ApplyOptions } from './apply.ts';

export interface Forms {
  /** Keys with two forms of which this partition makes the clone. */
  readonly clones: readonly Entry[];
  /** Everything else. */
  readonly others: readonly Entry[];
  /** Keys among the clones whose sealed form the store does not have whole. */
  readonly onlyClones: ReadonlySet<ObjectId>;
}

/** Those of these entries of which this partition makes the clone. */
export async function clonesHere(provider: HsmProvider, entries: readonly Entry[]): Promise<ReadonlySet<Entry>> {
  const both = entries.filter(hasClone);
  if (both.length === 0) return new Set();
  const { cloning } = await provider.describe();
  const domain = cloning?.shape === 'blobs' ? hex(cloning.domain) : undefined;
  return new Set(both.filter((entry) => entry.clone!.cloningDomain === domain));
}

/**
 * Runs before the first write, so that a generation with a missing or changed blob changes nothing.
 * @throws BLOB_INVALID, GENERATION_UNKNOWN where no form of an object is whole that this partition takes
 */
export async function formsOf(
  { provider, clock, target, blobOf }: Pick<ApplyOptions, 'provider' | 'clock' | 'target' | 'blobOf'>,
  entries: readonly Entry[],
): Promise<Forms> {
  const clones = await clonesHere(provider, entries);
  const dataKeys = new Map(target.generation.dataKeys.map(({ id, blobSha256 }) => [id, blobSha256]));
  // Hashing must not hold up leases and heartbeats.
  const pace = new Pace(clock);
  const checked = new Map<string, AntipodeError | undefined>();
  const faultOf = async (form: Pick<Entry, 'blobSha256' | 'dataKeyId'>): Promise<AntipodeError | undefined> => {
    for (const blob of [dataKeys.get(form.dataKeyId ?? ''), form.blobSha256]) {
      if (blob === undefined) continue;
      if (pace.isDue()) await pace.makeWay();
      if (!checked.has(blob)) checked.set(blob, blobFault(blob, blobOf));
      const fault = checked.get(blob);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
  const forms = { clones: [] as Entry[], others: [] as Entry[], onlyClones: new Set<ObjectId>() };
  for (const entry of entries) {
    const isCloned =
      clones.has(entry) && dataKeys.has(entry.clone!.dataKeyId) && (await faultOf(entry.clone!)) === undefined;
    const fault = await faultOf(entry);
    if (fault !== undefined && !isCloned) throw fault;
    if (fault !== undefined) forms.onlyClones.add(entry.objectId);
    forms[isCloned ? 'clones' : 'others'].push(entry);
  }
  return forms;
}

function blobFault(expected: string, blobOf: (sha256: string) => Uint8Array): AntipodeError | undefined {
  try {
    const found = sha256Hex(blobOf(expected));
    if (found === expected) return undefined;
    return new AntipodeError('BLOB_INVALID', 'a sealed object does not match its digest in the manifest', {
      details: { expected, found },
    });
  } catch (thrown) {
    if (hasCode(thrown, 'GENERATION_UNKNOWN') || hasCode(thrown, 'BLOB_INVALID')) return AntipodeError.from(thrown);
    throw thrown;
  }
}
