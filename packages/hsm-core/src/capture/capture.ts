/**
 * Captures a partition into a generation. The steps are: scan, match, classify, seal, explain what is absent, count
 * losses, name what is uncaptured, sign. Each step takes values and returns values; only the provider has side effects.
 *
 * An unchanged object keeps its entry and blob byte for byte, even if another member captured it. A captured object
 * stays in the generations although the token refuses to give it again. It leaves them by the group's filter, or as a
 * tombstone when two looks did not see it. A reseal under another domain key also reports what the token does not wrap
 * any more.
 *
 * A capture stores and sends nothing, and knows no roles: the agent journals, fences and decides when (I1, I2).
 */
import { runInSlices } from '@antipode/runtime';
import { dataKeyIdsOf } from '../model/blobs.ts';
import type { Generation, SealedGeneration, Uncaptured } from '../model/generation.ts';
import { writingManifest } from '../model/manifest/manifest-writer.ts';
import { sealingSigned, signingInput } from '../model/manifest/signed-manifest.ts';
import type { Handle, ObjectId } from '../model/object.ts';
import { type CaptureContext, type CaptureOptions, contextOf } from './capture-context.ts';
import type { Remembered } from './capture-memory.ts';
import type { CapturedObject } from './classification.ts';
import { gather } from './gathering.ts';
import { type HeldCapture, holdBack } from './losses.ts';
import { carriedIds, type Scan, scanPartition } from './scan.ts';
import type { Sealing } from './sealing.ts';
import { tombstonesOf } from './tombstones.ts';
import { mayPass, nameUncaptured, type UncapturedObject } from './uncaptured.ts';

export interface CaptureResult {
  /** By this site's clock. It moves the recovery point even if nothing changed. */
  readonly captureStartedMs: number;
  /** How many objects were wrapped or encrypted for this generation. */
  readonly sealedObjects: number;
  /** Absent if nothing changed since the previous generation of the same tenure, and if the capture is held. */
  readonly sealed?: SealedGeneration;
  /**
   * The capture would lose more than its limit: the token was emptied or initialised again, or everything in it changed
   * at once. Nothing was sealed, and an operator decides.
   */
  readonly held?: HeldCapture;
  /** The store of the token is older than the newest capture. If nothing is held, it lacks nothing all the same. */
  readonly isOlderCopy?: true;
  /** Attributes that no replica gets, of the objects that this capture read. For all other objects nothing changed. */
  readonly notCarried: ReadonlyMap<ObjectId, readonly string[]>;
  /** New blobs by SHA-256, hexadecimal. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

/** @throws DOMAIN_KEY_MISSING, HSM_WORKER_LOST, HSM_UNAVAILABLE, HSM_REFUSED, and what `checkFence` throws */
export async function captureGeneration(options: CaptureOptions): Promise<CaptureResult> {
  const captureStartedMs = options.clock.wallMs();
  const context = contextOf(options, await options.provider.describe());
  const scan = await scanPartition(context);
  if (scan === undefined) return { captureStartedMs, sealedObjects: 0, blobs: new Map(), notCarried: new Map() };

  const { candidates, captured, uncaptured, absence, sealing } = await gather(context, scan);
  const { kept, gone, unrestored, hidden } = absence;
  const unchanged = {
    captureStartedMs,
    sealedObjects: 0,
    blobs: new Map(),
    notCarried: notCarriedOf(captured),
    ...(scan.first.isOlderCopy ? { isOlderCopy: true as const } : {}),
  };
  const present = [...scan.carried, ...captured].map(({ entry }) => entry);
  const changed = new Set(candidates.flatMap(({ examined, isChanged }) => (isChanged ? examined.object.handle : [])));
  const { isOlderCopy } = scan.first;
  const held = await holdBack(context, { entries: present, gone, kept, uncaptured, changed, isOlderCopy });
  if (held !== undefined) return { ...unchanged, held };

  const entries = [...present, ...kept];
  const { number } = options;
  const tombstones = tombstonesOf(context, { entries, gone, uncaptured, number, deletedMs: captureStartedMs });
  const named = await nameUncaptured(uncaptured, (values) =>
    options.provider.tagBytes(context.domainKey().handle, values),
  );
  const generation = generationOf(options, context, {
    captureStartedMs,
    dataKeys: usedDataKeys(context, { entries, sealing }),
    entries,
    uncaptured: [...carriedUncaptured(context, scan), ...unrestored, ...hidden, ...named],
    tombstones,
  });
  const remembered = memoryOf(context, { scan, captured, uncaptured, named });
  const { previous, memory } = options;
  if (
    previous !== undefined &&
    !context.isFirstOfTenure &&
    !context.isReseal &&
    isSame(previous.generation, generation)
  ) {
    memory.remember(previous.digest, remembered);
    return unchanged;
  }
  const sealed = await sign(options, generation);
  memory.remember(sealed.digest, remembered);
  return { ...unchanged, sealedObjects: sealing.sealedObjects, sealed, blobs: sealing.blobs };
}

const notCarriedOf = (captured: readonly CapturedObject[]): Map<ObjectId, readonly string[]> =>
  new Map(captured.map(({ object, entry }) => [entry.objectId, object.notCarried ?? []]));

/** Unchanged objects that the previous generation reports as uncaptured. */
function carriedUncaptured({ previous }: CaptureContext, { carried }: Scan): Uncaptured[] {
  const ids = carriedIds(carried);
  return previous?.uncaptured.filter(({ objectId }) => ids.has(objectId)) ?? [];
}

function usedDataKeys(
  { previous, isReseal }: CaptureContext,
  { entries, sealing }: { entries: Generation['entries']; sealing: Sealing },
): Generation['dataKeys'] {
  const used = dataKeyIdsOf(entries);
  return [...(isReseal ? [] : (previous?.dataKeys ?? [])), ...sealing.dataKeys].filter(({ id }) => used.has(id));
}

function generationOf(
  { group, domainKeyVersion, epoch, number, previous, keyring }: CaptureOptions,
  { description, domainKey }: CaptureContext,
  parts: Pick<Generation, 'captureStartedMs' | 'dataKeys' | 'entries' | 'uncaptured' | 'tombstones'>,
): Generation {
  const { serial, manufacturer, model, firmware } = description;
  return {
    group,
    domainKeyVersion,
    domainKeyCheckTag: domainKey().checkTag,
    epoch,
    number,
    previousDigest: previous?.digest ?? '',
    source: { serial, manufacturer, model, firmware, identitySha256: keyring.identity.sha256 },
    ...parts,
  };
}

/** Keeps for the next capture which object has which handle, captured or not. */
function memoryOf(
  { filterKey, remembered, askedAgain }: CaptureContext,
  {
    scan,
    captured,
    uncaptured,
    named,
  }: {
    scan: Scan;
    captured: readonly CapturedObject[];
    uncaptured: readonly UncapturedObject[];
    named: readonly Uncaptured[];
  },
): Remembered {
  const objectIds = new Map<Handle, ObjectId>(scan.carried.map(({ handle, entry }) => [handle, entry.objectId]));
  for (const { object, entry } of captured) objectIds.set(object.handle, entry.objectId);
  for (const [index, { object }] of uncaptured.entries())
    if (!objectIds.has(object.handle)) objectIds.set(object.handle, named[index]!.objectId);
  const passing = uncaptured.filter(mayPass).map(({ object }) => object.handle);
  const unasked = [...(remembered?.mayPass ?? [])].filter((handle) => !askedAgain.has(handle) && objectIds.has(handle));
  return {
    look: scan.first.number,
    filterKey,
    objectIds,
    mayPass: new Set([...passing, ...unasked]),
    hidden: new Set(scan.hidden.filter(({ seenTwice }) => seenTwice).map(({ id }) => id)),
  };
}

async function sign(
  { provider, keyring, clock, checkFence }: CaptureOptions,
  generation: Generation,
): Promise<SealedGeneration> {
  const manifest = await runInSlices(writingManifest(generation), clock);
  checkFence();
  const signature = await provider.signAsIdentity(keyring.identity.handle, signingInput(manifest));
  const { publicHalf: signer } = keyring.identity;
  return runInSlices(sealingSigned({ generation, manifest, signature, signer }), clock);
}

/** Whether a new generation says nothing new. An unchanged object has the same entry, and not merely an equal one. */
function isSame(previous: Generation, next: Generation): boolean {
  const tombstones = new Set(previous.tombstones);
  const entries = new Set(previous.entries);
  const uncaptured = new Set(previous.uncaptured.map(({ objectId, reason }) => `${objectId} ${reason}`));
  return (
    next.entries.length === entries.size &&
    next.entries.every((entry) => entries.has(entry)) &&
    next.tombstones.length === tombstones.size &&
    next.tombstones.every((tombstone) => tombstones.has(tombstone)) &&
    next.uncaptured.length === uncaptured.size &&
    next.uncaptured.every(({ objectId, reason }) => uncaptured.has(`${objectId} ${reason}`))
  );
}
