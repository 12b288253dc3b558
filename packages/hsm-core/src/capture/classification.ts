/**
 * The third step of a capture: decides for each candidate whether its sealed form still serves, whether its value must
 * be sealed, or why it stays uncaptured.
 */
import { bytesEqual, Pace, sha256Hex } from '@antipode/runtime';
import { type Entry, isByDevice, isExact, isNative } from '../model/generation.ts';
import { type Handle, isWrapped, type ObservedObject, type UncapturedReason } from '../model/object.ts';
import type { Examined } from '../objects/recognise.ts';
import { type CaptureContext, isBroughtBack, isLive } from './capture-context.ts';
import { differs, entryOf, newEntryOf, type Sealed } from './entry.ts';
import { isExcluded } from './filter.ts';
import type { Candidate } from './match.ts';
import type { CloningDomain } from './native-sealing.ts';
import { lengthReasonOf, reasonOf, SHOWN_BYTES_MAX, shownBytes, type UncapturedObject } from './uncaptured.ts';

/** An object of the partition, with the entry that the new generation has for it. */
export interface CapturedObject {
  readonly object: ObservedObject;
  readonly entry: Entry;
}

export interface Classification {
  /** Objects whose entry is complete: their sealed form still serves, or they need none. */
  readonly captured: readonly CapturedObject[];
  readonly toWrap: readonly Candidate[];
  /** Secrets that wrapping would change, or may change. */
  readonly toSealExactly: readonly Candidate[];
  readonly toEncrypt: readonly Candidate[];
  /** Keys that no token wraps, and that their device clones. */
  readonly toClone: readonly Candidate[];
  readonly uncaptured: readonly UncapturedObject[];
  /** Entries whose objects went away during the capture. */
  readonly deleted: readonly Entry[];
}

export async function classify(context: CaptureContext, candidates: readonly Candidate[]): Promise<Classification> {
  const { present, deleted } = await withoutVanished(context, candidates);
  const isBeyondRoom = manifestRoom(context);
  const captured: CapturedObject[] = [];
  const toWrap: Candidate[] = [];
  const toSealExactly: Candidate[] = [];
  const toEncrypt: Candidate[] = [];
  const toClone: Candidate[] = [];
  const uncaptured: UncapturedObject[] = [];
  const pace = new Pace(context.options.clock);
  for (const candidate of present) {
    if (pace.isDue()) await pace.makeWay();
    const { before } = candidate;
    const { object } = candidate.examined;
    const against = reasonAgainst(context, { candidate, isBeyondRoom });
    const isCloned = against !== undefined && mayClone(context, candidate, against);
    const reason = isCloned ? undefined : against;
    if (before !== undefined && reason !== 'excluded' && !mustSeal(context, { candidate, reason })) {
      captured.push({ object, entry: keptEntry(candidate, { before, reason }) });
      if (reason !== undefined && reason !== 'unreadable')
        uncaptured.push({ object, reason, objectId: before.objectId });
    } else if (reason !== undefined) uncaptured.push({ object, reason, objectId: before?.objectId });
    else if (isCloned) toClone.push(candidate);
    else if (isSealedExactly(candidate)) toSealExactly.push(candidate);
    else if (isWrapped(object.objectClass)) toWrap.push(candidate);
    else if (object.objectClass === 'data') toEncrypt.push(candidate);
    else captured.push({ object, entry: newEntryOf(context, { candidate, sealed: {} }) });
  }
  return { captured, toWrap, toSealExactly, toEncrypt, toClone, uncaptured, deleted };
}

/** Why a token does not wrap a key. Its device may clone it all the same. */
const NATIVE_REASONS: ReadonlySet<UncapturedReason> = new Set([
  'unextractable',
  'wrap-with-trusted',
  'not-wrappable',
  'length-not-multiple-of-8',
  'length-unknown',
]);

export const isNativeReason = (reason: UncapturedReason): boolean => NATIVE_REASONS.has(reason);

export const mayClone = ({ cloning }: CaptureContext, { examined }: Candidate, reason: UncapturedReason): boolean =>
  movesNatively(examined, { cloning, reason });

/** Whether a key that is not wrapped for this reason moves natively. It must show its value, or nobody could prove it. */
export function movesNatively(
  { object, vectors }: Examined,
  { cloning, reason }: { cloning: CloningDomain | undefined; reason: UncapturedReason },
): boolean {
  if (cloning === undefined || !isNativeReason(reason)) return false;
  if (object.keyType === 'unsupported' || !isWrapped(object.objectClass)) return false;
  return object.objectClass === 'private-key' ? object.publicHalf !== undefined : vectors !== undefined;
}

/** An object that was captured before is sealed in the same way again: an unwrap may have hidden its length. */
const isSealedExactly = ({ before, examined: { object } }: Candidate): boolean =>
  before === undefined || isNative(before) ? lengthReasonOf(object, { isNew: true }) !== undefined : isExact(before);

/** Whether the value is sealed under the domain key. The other values are in the manifest itself. */
export const isSealed = ({ objectClass }: { objectClass: ObservedObject['objectClass'] }): boolean =>
  isWrapped(objectClass) || objectClass === 'data';

/**
 * Whether an entry says nothing under another domain key. Neither a blob nor a tag has anything of a private key that
 * devices move: its public half names it. The vectors of a secret are tags.
 */
export const isUnderDomainKey = (entry: Entry): boolean =>
  isSealed(entry) && !(isByDevice(entry) && entry.objectClass === 'private-key');

/**
 * A reseal cannot keep the entry of an object that only the first look saw, so it reads the object again. An object
 * that were merely reported as uncaptured would leave the generations without a tombstone, and stay alive at every
 * standby.
 */
async function withoutVanished(
  { options, isReseal }: CaptureContext,
  candidates: readonly Candidate[],
): Promise<{ present: readonly Candidate[]; deleted: readonly Entry[] }> {
  const vanished = isReseal ? candidates.filter(({ hasVanished }) => hasVanished) : [];
  if (vanished.length === 0) return { present: candidates, deleted: [] };
  const again = await options.provider.read(vanished.map(handleOf));
  const back = new Set(again.flatMap((object) => object?.handle ?? []));
  const isThere = (candidate: Candidate): boolean => !candidate.hasVanished || back.has(handleOf(candidate));
  return {
    present: candidates.filter(isThere).map((candidate) => ({ ...candidate, hasVanished: false })),
    deleted: candidates.flatMap((candidate) =>
      isThere(candidate) || candidate.before === undefined ? [] : [candidate.before],
    ),
  };
}

function reasonAgainst(
  context: CaptureContext,
  { candidate, isBeyondRoom }: { candidate: Candidate; isBeyondRoom: (object: ObservedObject) => boolean },
): UncapturedReason | undefined {
  const { options, hasTrusted } = context;
  const { examined, before, readTwice, isChanged } = candidate;
  const { object, refusal } = examined;
  if (isExcluded(object, options.filter)) return 'excluded';
  if (isChanged) return 'value-changed';
  if (before !== undefined && isKeptTombstone(context, before)) return 'deleted';
  const isKnown = before !== undefined && isLive(context, before);
  if (!readTwice && !isKnown) return 'settling';
  const hasTag = object.objectClass === 'secret-key' && examined.valueTag !== undefined;
  // Whether wrapping would work says nothing of a secret that is not wrapped.
  const refused = hasTag && isSealedExactly(candidate) ? undefined : refusal;
  const reason = reasonOf(object, { isNew: before === undefined, hasTrusted, hasTag }) ?? refused;
  return reason ?? (before === undefined && isBeyondRoom(object) ? 'too-large' : undefined);
}

/**
 * Tells whether the manifest has no room left for an object that travels in it. Anybody can make such objects without a
 * PIN and without end, and no member takes a manifest above its limit. Objects that were captured before always have
 * room.
 */
function manifestRoom({ options, live }: CaptureContext): (object: ObservedObject) => boolean {
  const bytesMax = options.shownBytesMax ?? SHOWN_BYTES_MAX;
  let bytes: number | undefined;
  return (object) => {
    if (isSealed(object)) return false;
    bytes ??= [...live.values()].reduce((sum, entry) => sum + shownBytes(entry), 0);
    const more = shownBytes(object);
    if (bytes + more > bytesMax) return true;
    bytes += more;
    return false;
  };
}

/**
 * Whether the object was deleted under an earlier active member, and this token has kept it. An object that was not
 * here when the tenure began was made again, or restored by an operator, and is alive.
 */
function isKeptTombstone(context: CaptureContext, entry: Entry): boolean {
  const { options, previous, buried, isFirstOfTenure } = context;
  const tombstone = buried.get(entry);
  if (tombstone === undefined || tombstone.epoch >= options.epoch) return false;
  if (isBroughtBack(context, entry.objectId)) return false;
  if (isFirstOfTenure) return true;
  const before = previous?.uncaptured.find(({ objectId }) => objectId === entry.objectId);
  return before !== undefined && before.reason !== 'settling';
}

/**
 * Whether the sealed form cannot serve: its key is retired, its blob is lost, it was buried, or the data has changed.
 */
function mustSeal(
  context: CaptureContext,
  { candidate, reason }: { candidate: Candidate; reason: UncapturedReason | undefined },
): boolean {
  const { before, readTwice } = candidate;
  const { valueTag } = candidate.examined;
  if (before === undefined || !isLive(context, before) || isLost(context, before)) return true;
  if (context.isReseal) return isSealed(before);
  if (isNative(before)) return reason === undefined && mustCloneAgain(context, candidate, before);
  if (reason === 'too-large') return false;
  if (!readTwice || valueTag === undefined || before.valueTag === undefined) return false;
  return !bytesEqual(valueTag, before.valueTag);
}

/** A native blob has the attributes in it, and opens in its own cloning domain. */
const mustCloneAgain = ({ cloning }: CaptureContext, { examined, readTwice }: Candidate, before: Entry): boolean =>
  cloning !== undefined &&
  readTwice &&
  (before.cloningDomain !== cloning.domain ||
    isByDevice(before) !== cloning.isByDevice ||
    differs(examined.object, before));

/** Whether a blob that this form needs is lost: its own, or that of its data key. */
export function isLost(
  { options: { lost }, previous }: CaptureContext,
  { blobSha256, dataKeyId }: Pick<Entry, 'blobSha256' | 'dataKeyId'>,
): boolean {
  if (lost === undefined || lost.size === 0) return false;
  const dataKey = previous?.dataKeys.find(({ id }) => id === dataKeyId);
  return [blobSha256, dataKey?.blobSha256].some((blob) => blob !== undefined && lost.has(blob));
}

/**
 * The entry of an object whose sealed form still serves. Only two equal reads without a refusal change its attributes.
 */
function keptEntry(
  { examined, readTwice }: Candidate,
  { before, reason }: { before: Entry; reason: UncapturedReason | undefined },
): Entry {
  const { object } = examined;
  if (!readTwice || reason !== undefined || isNative(before)) return before;
  if (!differs(object, before) && !showsMore(examined, before)) return before;
  const { blobSha256, blobSize, dataKeyId, valueTag } = before;
  const sealed: Sealed = {
    blobSize,
    ...(blobSha256 === undefined ? {} : { blobSha256 }),
    ...(dataKeyId === undefined ? {} : { dataKeyId }),
    ...(valueTag === undefined ? {} : { valueTag }),
  };
  return entryOf({ object, objectId: before.objectId, before, sealed });
}

/** Whether the token shows the public half of a captured private key whose entry lacks it. */
const showsMore = ({ object, blob }: Examined, { objectClass, publicHalf, blobSha256 }: Entry): boolean =>
  objectClass === 'private-key' &&
  publicHalf === undefined &&
  object.publicHalf !== undefined &&
  blob !== undefined &&
  sha256Hex(blob) === blobSha256;

export const handleOf = ({ examined }: Candidate): Handle => examined.object.handle;
