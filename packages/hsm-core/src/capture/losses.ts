/**
 * The sixth step of a capture: counts what the new generation would lose, and holds the capture if that is more than an
 * operator has to be asked about.
 */
import { hex, Pace } from '@antipode/runtime';
import { type Entry, isExact, isNative } from '../model/generation.ts';
import { type Handle, isWrapped, type ObjectId, type UncapturedReason } from '../model/object.ts';
import { type CaptureContext, isLive } from './capture-context.ts';
import { isNativeReason, isSealed, isUnderDomainKey } from './classification.ts';
import type { UncapturedObject } from './uncaptured.ts';

/** The larger of the two counts applies. */
export interface LossLimit {
  readonly objects: number;
  readonly percent: number;
}

export const LOSS_LIMIT: LossLimit = { objects: 5, percent: 10 };

/**
 * Why a capture would lose a protected object. `replaced`: another key has its names. `revived`: nothing is lost, but the
 * deletion of an object would be.
 */
export type LossReason = 'deleted' | 'replaced' | 'revived' | UncapturedReason;

export interface Loss {
  readonly objectId: ObjectId;
  readonly reason: LossReason;
}

export interface HeldCapture {
  readonly losses: readonly Loss[];
  readonly limit: number;
  /** The token looks like an older copy of itself. Then nothing at all may be lost. */
  readonly isOlderCopy?: true;
}

/** The parts of a generation that is about to be made. */
interface Outcome {
  /** Entries of the new generation whose objects are in the partition. */
  readonly entries: readonly Entry[];
  readonly gone: readonly Entry[];
  /** Entries that the generation keeps without an object. */
  readonly kept: readonly Entry[];
  readonly uncaptured: readonly UncapturedObject[];
  /** Objects with the names of a captured one and another value. */
  readonly changed: ReadonlySet<Handle>;
  /** The store of the token says so. */
  readonly isOlderCopy: boolean;
}

/** Returns undefined if the capture may go on. */
export async function holdBack(context: CaptureContext, outcome: Outcome): Promise<HeldCapture | undefined> {
  const { accepted = new Set(), lossLimit = LOSS_LIMIT } = context.options;
  const losses = [...(await deletedLosses(context, outcome)), ...refusedLosses(context, outcome)].filter(
    ({ objectId }) => !accepted.has(objectId),
  );
  const revived = revivedObjects(context, outcome);
  // Where nothing else tells, an older copy shows by both at once.
  const isOlderCopy = outcome.isOlderCopy || (losses.length > 0 && revived.length > 0);
  if (isOlderCopy && losses.length + revived.length > 0)
    return { losses: [...losses, ...revived], limit: 0, isOlderCopy };
  const counted = await countLosable(context);
  const limit = Math.max(lossLimit.objects, Math.floor((counted * lossLimit.percent) / 100));
  const unsealable = context.isReseal ? unsealableLosses(context, outcome) : [];
  if (losses.length <= limit && unsealable.length === 0) return undefined;
  const byObject = new Map([...losses, ...unsealable].map((loss) => [loss.objectId, loss]));
  return { losses: [...byObject.values()], limit };
}

/** A renewed certificate, and a public half or data with another value, replace nothing that is secret. */
async function deletedLosses(context: CaptureContext, { entries, gone }: Outcome): Promise<Loss[]> {
  const names = new Set<string>();
  const pace = new Pace(context.options.clock);
  for (const entry of gone.length === 0 ? [] : entries) {
    if (pace.isDue()) await pace.makeWay();
    names.add(namesOf(entry));
  }
  return gone.flatMap((entry): Loss[] => {
    const isReplaced = names.has(namesOf(entry));
    if (!isLive(context, entry) || !countsAsLoss(entry) || (isReplaced && !isWrapped(entry.objectClass))) return [];
    return [{ objectId: entry.objectId, reason: isReplaced ? 'replaced' : 'deleted' }];
  });
}

/** Captured objects that the token does not give any more, unless the previous generation has reported them already. */
function refusedLosses({ live, previous }: CaptureContext, { uncaptured }: Outcome): Loss[] {
  const reported = new Set(previous?.uncaptured.map(({ objectId }) => objectId));
  return uncaptured.flatMap(({ objectId, reason }): Loss[] => {
    const entry = objectId === undefined ? undefined : live.get(objectId);
    if (entry === undefined || reason === 'excluded' || !countsAsLoss(entry) || reported.has(entry.objectId)) return [];
    return [{ objectId: entry.objectId, reason }];
  });
}

/**
 * Objects that a reseal cannot seal under the new domain key: damaged ones, those that need a trusted key, those that the
 * token fails to give, and those that it may only hide. So are secrets that the token does not carry exactly any more,
 * keys that moved natively and do not any more, and keys that only other members have.
 * They and their sound copies would leave the generations.
 */
function unsealableLosses(
  { options, live }: CaptureContext,
  { kept, uncaptured, changed }: Pick<Outcome, 'kept' | 'uncaptured' | 'changed'>,
): Loss[] {
  const refused = uncaptured.flatMap(({ object, objectId, reason }): Loss[] => {
    if (objectId === undefined || options.accepted?.has(objectId) === true) return [];
    // A value that is in the manifest itself stays there, whatever takes its place in the token.
    const isDamaged = reason === 'value-changed' && changed.has(object.handle) && isSealed(object);
    const isUntrusted = reason === 'wrap-with-trusted' && live.has(objectId);
    const entry = live.get(objectId);
    const isInexact = entry !== undefined && isExact(entry) && reason.startsWith('length-');
    const isUnread = entry !== undefined && isSealed(entry) && reason === 'unreadable';
    const isUncloned = entry !== undefined && isNative(entry) && isNativeReason(reason);
    return isDamaged || isUntrusted || isInexact || isUncloned || isUnread ? [{ objectId, reason }] : [];
  });
  return [
    ...refused,
    ...kept.filter(isUnderDomainKey).map(({ objectId }): Loss => ({ objectId, reason: 'unreadable' })),
  ];
}

/** Objects that were deleted and are in the token again, and nobody has restored or accepted them. */
function revivedObjects({ options, buried, live }: CaptureContext, { entries }: Pick<Outcome, 'entries'>): Loss[] {
  if (buried.size === 0) return [];
  const deleted = new Set([...buried.keys()].map(({ objectId }) => objectId));
  const adopted = new Set(options.adopted?.map(({ objectId }) => objectId));
  return entries.flatMap((entry): Loss[] => {
    const { objectId } = entry;
    if (!deleted.has(objectId) || live.has(objectId) || adopted.has(objectId) || !countsAsLoss(entry)) return [];
    if (options.restored?.has(objectId) === true || options.accepted?.has(objectId) === true) return [];
    return [{ objectId, reason: 'revived' }];
  });
}

async function countLosable({ options, live }: CaptureContext): Promise<number> {
  let count = 0;
  const pace = new Pace(options.clock);
  for (const entry of live.values()) {
    if (pace.isDue()) await pace.makeWay();
    if (countsAsLoss(entry)) count += 1;
  }
  return count;
}

/**
 * Whether an operator is asked about its loss. Anybody makes and destroys objects that are not private without a PIN.
 * Such an object neither holds a capture, nor makes room for the loss of keys.
 *
 * Access to the attributes of an entry decodes it, so this does not touch them for keys.
 */
const countsAsLoss = (entry: Entry): boolean => isWrapped(entry.objectClass) || entry.attributes.private !== false;

/** The names under which a program looks for an object of its class. */
const namesOf = ({ objectClass, attributes: { id, label } }: Entry): string =>
  `${objectClass} ${hex(id ?? new Uint8Array())} ${hex(label ?? new Uint8Array())}`;
