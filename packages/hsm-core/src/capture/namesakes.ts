/**
 * Judges an object with the class, type and names of a captured one that cannot be found. It is the same object, and
 * only does not answer. Or it is damaged. Or it is another object, which replaced the captured one. ADR 0017 has the
 * reasoning:
 *
 * - A value that the token gives is believed, and so is a refusal with an answer.
 * - A check value that stayed while the value changed means damage.
 * - A new handle beside a vanished one, or a whole new public half, means a replacement.
 * - If nothing tells, an operator decides.
 */
import { bytesEqual, hex, sha256Hex } from '@antipode/runtime';
import { ATTRIBUTES, type AttributeName, decides } from '../model/attributes.ts';
import { comparableAttributes, type Entry, isExact, isNative } from '../model/generation.ts';
import type { Handle, ObjectId, ObservedObject } from '../model/object.ts';
import { type Examined, isPadded } from '../objects/recognise.ts';

export type Verdict =
  /** The captured object. Its token does not give it just now, or gives it to nobody any more. */
  | 'same'
  /** Another value under the captured names: damaged, or replaced without a sign of it. */
  | 'changed'
  /** Another object. The captured one is gone. */
  | 'replaced';

/** Facts about this token that its objects do not show. */
export interface Circumstances {
  /** Handles of the previous capture through the same provider. */
  readonly handles: ReadonlyMap<Handle, ObjectId> | undefined;
  /** Handles that exist now. */
  readonly present: ReadonlySet<Handle>;
  /** The device gives the handle of a destroyed object to the next one. */
  readonly reusesHandles: boolean;
  /** Objects of this token may have been restored. A restored object shows no check value. */
  readonly hasRestored: boolean;
}

/**
 * Pairs unrecognised objects with absent entries of their class, type and names, each at most once, and judges each
 * pair. The result has no pair that is `replaced`.
 */
export function pairNamesakes(
  examined: readonly Examined[],
  entries: readonly Entry[],
  circumstances: Circumstances,
): Map<Handle, { readonly entry: Entry; readonly verdict: Exclude<Verdict, 'replaced'> }> {
  const free = Map.groupBy(entries, looksOf);
  const paired = new Map<Handle, { entry: Entry; verdict: Exclude<Verdict, 'replaced'> }>();
  for (const one of examined) {
    const candidates = one.object.objectClass === 'other' ? [] : (free.get(looksOf(one.object)) ?? []);
    for (const [index, entry] of candidates.entries()) {
      const verdict = judge(one, entry, circumstances);
      if (verdict === 'replaced') continue;
      paired.set(one.object.handle, { entry, verdict });
      candidates.splice(index, 1);
      break;
    }
  }
  return paired;
}

export function judge(one: Examined, entry: Entry, circumstances: Circumstances): Verdict {
  switch (entry.objectClass) {
    case 'secret-key':
      return judgeSecret(one, entry, circumstances);
    case 'private-key':
      return judgePrivate(one, entry, circumstances);
    case 'public-key':
      return judgeReadable(one.object.publicHalf, entry.publicHalf);
    case 'certificate':
      return one.object.attributes.value === undefined
        ? 'same'
        : judgeReadable(one.object.attributes.value, entry.attributes.value);
    case 'domain-parameters':
      return judgeReadable(one.object.attributes.prime, entry.attributes.prime);
    case 'data':
      // An application may write another value into its data object. The capture then seals the object again.
      return isUnderItsHandle(one, entry, circumstances) ? 'same' : 'replaced';
  }
}

function judgeSecret(one: Examined, entry: Entry, circumstances: Circumstances): Verdict {
  const [now, then] = [one.object.attributes.checkValue, entry.attributes.checkValue];
  const [has, had] = [(now?.length ?? 0) > 0, (then?.length ?? 0) > 0];
  const isEqual = has && had && bytesEqual(now!, then!);
  const isOther = has && had && !isEqual;
  if (shownValue(one, entry) === undefined) {
    if (isOther) return 'replaced';
    if (!hasAnswered(one, entry) || isEqual) return 'same';
    return isUnderItsHandle(one, entry, circumstances) ? 'same' : 'replaced';
  }
  if (isEqual) return 'changed';
  if (isOther || isInAnotherPlace(one, entry, circumstances)) return 'replaced';
  return has !== had && !circumstances.hasRestored ? 'replaced' : 'changed';
}

/** The value as the token shows it, in the form that the entry has. */
function shownValue({ blob, valueTag, vectors }: Examined, entry: Entry): unknown {
  if (isNative(entry)) return vectors;
  return isExact(entry) ? valueTag : blob;
}

function judgePrivate(one: Examined, entry: Entry, circumstances: Circumstances): Verdict {
  const { object, blob } = one;
  if (object.publicHalf !== undefined && entry.publicHalf !== undefined)
    return judgeReadable(object.publicHalf, entry.publicHalf);
  if (blob !== undefined && sha256Hex(blob) === entry.blobSha256) return 'same';
  if (blob === undefined) {
    if (!hasAnswered(one, entry) || isUnderItsHandle(one, entry, circumstances)) return 'same';
    return 'replaced';
  }
  return isInAnotherPlace(one, entry, circumstances) ? 'replaced' : 'changed';
}

/** Two unrelated values differ in at least this many bytes. Damage changes a few. */
const BYTES_OF_ANOTHER = 16;

function judgeReadable(now: Uint8Array | undefined, then: Uint8Array | undefined): Verdict {
  if (now === undefined || then === undefined) return 'changed';
  if (now.length !== then.length) return 'replaced';
  let differing = 0;
  for (const [index, byte] of now.entries()) if (byte !== then[index]) differing += 1;
  return differing < BYTES_OF_ANOTHER ? 'changed' : 'replaced';
}

/** Whether the token has answered that it does not give the key, and not merely failed to give it just now. */
function hasAnswered({ object, refusal }: Examined, entry: Entry): boolean {
  const { attributes } = object;
  // A native key is not asked for what only wrapping gives.
  if (isNative(entry)) return false;
  if (attributes.extractable === false || (isPadded(object) && !isExact(entry))) return true;
  // A captured key that only a trusted key may wrap cannot answer without one. It may still be the captured key.
  if (attributes.wrapWithTrusted === true && entry.attributes.wrapWithTrusted !== true) return true;
  return refusal === 'unextractable' || refusal === 'not-wrappable' || object.hasTemplate === true;
}

/** Whether the object has the handle of the captured one, on a device that gives no handle twice. */
const isUnderItsHandle = ({ object }: Examined, { objectId }: Entry, { handles, reusesHandles }: Circumstances) =>
  !reusesHandles && handles?.get(object.handle) === objectId;

/** Whether the captured object's handle is gone and this handle is new. Damage does not change a handle. */
function isInAnotherPlace({ object }: Examined, { objectId }: Entry, { handles, present }: Circumstances): boolean {
  if (handles === undefined || handles.has(object.handle)) return false;
  const before = [...handles].find(([, known]) => known === objectId);
  return before !== undefined && !present.has(before[0]);
}

/**
 * Whether an object equals an entry in class, type, names and every attribute that does not tell the value. An object
 * without a name is nobody's twin.
 */
export function isTwin(object: ObservedObject, entry: Entry): boolean {
  const { objectClass, attributes } = object;
  if (objectClass === 'other' || looksOf(object) !== looksOf(entry)) return false;
  if (!attributes.id?.length && !attributes.label?.length) return false;
  const [seen, known] = [comparableAttributes({ objectClass, attributes }), comparableAttributes(entry)];
  const isEqual = (name: AttributeName): boolean =>
    ATTRIBUTES[name].fate === 'content' ||
    !decides(name, entry.keyType) ||
    Buffer.compare(seen.get(name) ?? NOTHING, known.get(name) ?? NOTHING) === 0;
  return [...new Set([...seen.keys(), ...known.keys()])].every(isEqual);
}

const NOTHING = Buffer.alloc(0);

/** Class, type and names, in one string. */
export const looksOf = ({
  objectClass,
  keyType,
  attributes,
}: Pick<ObservedObject, 'objectClass' | 'keyType' | 'attributes'>): string =>
  [objectClass, keyType ?? '', hex(attributes.id ?? new Uint8Array()), hex(attributes.label ?? new Uint8Array())].join(
    ' ',
  );
