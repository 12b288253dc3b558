/**
 * The result of a move of objects, by lists of both sides. The text of the move is used for reasons only: it reports
 * success where objects are missing, and a run that was cut off reports nothing.
 */

import type { Reply, UnknownWhy } from './lunacm-session.ts';
import type { ListedObject } from './parse/contents.ts';
import { type Refusal, refusalIn } from './parse/reply.ts';
import type { Phrases } from './phrases.ts';

/**
 * `complete`: the tool reports success, and every object is listed at the destination. `partial`: some are missing.
 * `refused`: nothing was moved. `unknown`: the lists could not be had, or do not agree with what the tool reports.
 */
export type Verdict = 'complete' | 'partial' | 'refused' | 'unknown';

export type Why =
  | Refusal
  | UnknownWhy
  | 'declined'
  | 'unlisted'
  /** Objects arrived that the source had neither when the move began nor when it ended. */
  | 'surplus'
  /** The source has a new object that is like one of those to move, and not as many of them arrived. */
  | 'alike'
  /** Another masking key at the destination: its blobs cannot be read there. */
  | 'maskingKey'
  /** The tool reports success, and objects are missing. */
  | 'short'
  /** Everything was moved, and the source itself does not have all that it should have. */
  | 'lacking';

export interface MovedObject {
  readonly object: ListedObject;
  /** `not attempted`: the run ended before it. `missing`: it is not there, and nothing says why. */
  readonly state: 'moved' | 'failed' | 'not attempted' | 'missing' | 'unknown';
  readonly refusal: Refusal | undefined;
}

export interface MoveReport {
  readonly verdict: Verdict;
  readonly why: Why | undefined;
  /** A symbol or number of the device; empty if there is none. */
  readonly code: string;
  readonly objects: readonly MovedObject[];
  /** How many objects arrived that an application made while the move ran. */
  readonly added?: number;
  /**
   * Objects at the destination that are surely copies of this run: with the UID of one that was to move, or named by the
   * tool in one line with it. Undefined if nobody could list them.
   */
  readonly brought?: readonly ListedObject[];
  /** A backup without objects that this run left behind. Nothing deletes it without an approval. */
  readonly orphan?: string;
  /** The backup that holds the space which this one needs. */
  readonly holder?: string;
}

export interface MoveFacts {
  readonly expected: readonly ListedObject[];
  /** Objects that the destination did not have before; undefined if nobody could list them. */
  readonly arrived: readonly ListedObject[] | undefined;
  /**
   * Objects that the source has only since the move began. It is looked at only where `isDoubtful` says so; undefined if
   * nobody could list them.
   */
  readonly gained: readonly ListedObject[] | undefined;
  readonly reply: Reply;
  /** Whether commands and answers of the run agreed in number. */
  readonly isSound: boolean;
  /** `differs` only where both are known. */
  readonly maskingKeys: 'agree' | 'differ' | 'not known';
}

export function reportOf(facts: MoveFacts, phrases: Phrases): MoveReport {
  const report = judged(facts, phrases);
  return facts.arrived === undefined ? report : { ...report, brought: broughtBy(facts, facts.arrived) };
}

function broughtBy({ expected, reply }: MoveFacts, arrived: readonly ListedObject[]): ListedObject[] {
  const uids = new Set(expected.map(({ uid }) => uid));
  const handles = new Set(expected.map(({ handle }) => handle));
  // A line with more numbers than these two has a name in it that looks like a handle.
  const numbers = reply.lines.map((line) => line.match(/\b\d+\b/g) ?? []);
  const named = new Set(numbers.flatMap(([from = '', to = '', more]) => (more || !handles.has(from) ? [] : to)));
  return arrived.filter(({ uid, handle }) => uids.has(uid) || named.has(handle));
}

function judged({ expected, arrived, gained, reply, isSound, maskingKeys }: MoveFacts, phrases: Phrases): MoveReport {
  const code = reply.outcome === 'failed' ? reply.failure.code : '';
  const said: Why | undefined = reply.outcome === 'done' ? undefined : whyOf(reply);
  if (arrived === undefined) {
    const objects = expected.map((object) => ({ object, state: 'unknown' as const, refusal: undefined }));
    return { verdict: 'unknown', why: said ?? 'unlisted', code, objects };
  }
  const { missing, surplus, byKind } = compare(expected, arrived);
  const objects = expected.map((object) => movedObject(object, { isMissing: missing.has(object), reply, phrases }));
  const reported = objects.map(({ refusal }) => refusal).find((refusal) => refusal !== undefined);
  const report = (verdict: Verdict, why: Why | undefined): MoveReport => ({ verdict, why, code, objects });
  if (missing.size > 0) {
    const isNothing = missing.size === expected.length && surplus.length === 0;
    const why = said === undefined || said === 'other' ? (reported ?? said ?? 'short') : said;
    return report(
      isNothing && (reply.outcome === 'failed' || reply.outcome === 'declined') ? 'refused' : 'partial',
      why,
    );
  }
  const doubt = doubtOf({ surplus, byKind, gained });
  if (doubt !== undefined) return report('unknown', doubt);
  if (said !== undefined) return report('unknown', said);
  if (!isSound) return report('unknown', 'several trailers');
  const whole = maskingKeys === 'differ' ? report('partial', 'maskingKey') : report('complete', undefined);
  return surplus.length === 0 ? whole : { ...whole, added: surplus.length };
}

function whyOf(reply: Exclude<Reply, { outcome: 'done' }>): Why {
  if (reply.outcome === 'failed') return reply.failure.refusal;
  return reply.outcome === 'unknown' ? reply.why : 'declined';
}

function movedObject(
  object: ListedObject,
  { isMissing, reply, phrases }: { isMissing: boolean; reply: Reply; phrases: Phrases },
): MovedObject {
  if (!isMissing) return { object, state: 'moved', refusal: undefined };
  const named = new RegExp(`\\b${object.handle}\\b`);
  const refusals = reply.lines.filter((line) => named.test(line)).map((line) => refusalIn(line, phrases));
  const refusal = refusals.find((one) => one !== undefined);
  if (refusal !== undefined) return { object, state: 'failed', refusal };
  return { object, state: reply.outcome === 'failed' ? 'not attempted' : 'missing', refusal };
}

interface Comparison {
  readonly missing: Set<ListedObject>;
  readonly surplus: readonly ListedObject[];
  /** Expected objects that are there only by their type and label. */
  readonly byKind: readonly ListedObject[];
}

/** Whether the source has to be listed again: an application can have made an object there while the move ran. */
export function isDoubtful(expected: readonly ListedObject[], arrived: readonly ListedObject[]): boolean {
  const { surplus, byKind } = compare(expected, arrived);
  return surplus.length > 0 || byKind.length > 0;
}

/** Every object that arrived beyond the expected ones must be a new one of the source, and stand for no other. */
function doubtOf({
  surplus,
  byKind,
  gained,
}: Pick<Comparison, 'surplus' | 'byKind'> & Pick<MoveFacts, 'gained'>): Why | undefined {
  if (surplus.length === 0 && byKind.length === 0) return undefined;
  if (gained === undefined) return surplus.length > 0 ? 'surplus' : 'unlisted';
  const { missing: notArrived, surplus: unexplained } = compare(gained, surplus);
  if (unexplained.length > 0) return 'surplus';
  const kinds = new Set(byKind.map(kindOf));
  return [...notArrived].some((object) => kinds.has(kindOf(object))) ? 'alike' : undefined;
}

/**
 * By UID where a copy keeps it. Nobody has confirmed that it does, so that the rest is compared by type and label: as many
 * of each as there were.
 */
function compare(expected: readonly ListedObject[], arrived: readonly ListedObject[]): Comparison {
  const byUid = new Map(arrived.map((object) => [object.uid, object]));
  const left = new Set(arrived);
  const open: ListedObject[] = [];
  for (const object of expected) {
    const same = byUid.get(object.uid);
    if (same !== undefined && kindOf(same) === kindOf(object)) left.delete(same);
    else open.push(object);
  }
  const alike = Map.groupBy(left, kindOf);
  const missing = new Set<ListedObject>();
  const byKind: ListedObject[] = [];
  for (const object of open) {
    const found = alike.get(kindOf(object))?.pop();
    if (found === undefined) missing.add(object);
    else {
      byKind.push(object);
      left.delete(found);
    }
  }
  return { missing, surplus: [...left], byKind };
}

const kindOf = ({ type, label }: ListedObject): string => JSON.stringify([type, label]);
