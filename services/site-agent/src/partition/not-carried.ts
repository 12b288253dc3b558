/**
 * Attributes that objects of this site have and no replica gets. Captures find them object by object, and the journal
 * and the heartbeats have their names. People of the site can also see what becomes of every attribute, with labels.
 */
import { BECOMES, type Becomes, becomesOf, isWeighty, kindOf } from '@antipode/hsm-core';
import { AntipodeError, hex } from '@antipode/runtime';
import { openSiteMemory } from '../commands/beside-agent.ts';
import type { AgentConfig } from '../config.ts';
import type { NotCarriedHere } from '../storage/journal/findings.ts';
import { partitionSettings } from './administration.ts';
import { printable } from './find-object.ts';

interface Read {
  readonly before: readonly NotCarriedHere[];
  /**
   * Attributes that no replica gets, by the id of each object that the capture has read. Empty if the object has no
   * such attribute any more.
   */
  readonly read: ReadonlyMap<string, readonly string[]>;
  readonly entries: readonly { readonly objectId: string; readonly objectClass: string; readonly keyType?: string }[];
}

/** The list after a capture; undefined if the capture did not change it. */
export function afterCapture({ before, read, entries }: Read): NotCarriedHere[] | undefined {
  const known = new Map(before.map(({ objectId, attributes }) => [objectId, attributes]));
  for (const [objectId, attributes] of read) {
    if (attributes.length > 0) known.set(objectId, attributes);
    else known.delete(objectId);
  }
  if (known.size === 0) return before.length === 0 ? undefined : [];
  const after: NotCarriedHere[] = [];
  for (const entry of entries) {
    const attributes = known.get(entry.objectId);
    if (attributes !== undefined) after.push({ objectId: entry.objectId, kind: kindOf(entry as never), attributes });
  }
  after.sort((a, b) => (a.objectId < b.objectId ? -1 : 1));
  return JSON.stringify(after) === JSON.stringify(before) ? undefined : after;
}

/** `CKA_TRUSTED 2, ...`: how many objects have each. */
export function countedByName(objects: readonly Pick<NotCarriedHere, 'attributes'>[]): string {
  const counts = new Map<string, number>();
  for (const { attributes } of objects) for (const name of attributes) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => `${name} ${count}`).join(', ');
}

/** For heartbeats: those come first whose loss takes a protection away. */
export function weightiestFirst(objects: readonly NotCarriedHere[]): { first: NotCarriedHere[]; weighty: number } {
  const [weighty, others] = [objects.filter(isWeightyObject), objects.filter((one) => !isWeightyObject(one))];
  return { first: [...weighty, ...others], weighty: weighty.length };
}

const isWeightyObject = ({ attributes }: NotCarriedHere): boolean => attributes.some(isWeighty);

export interface ObjectAttributes extends Becomes {
  readonly objectId: string;
  readonly kind: string;
  readonly ckaId: string;
  readonly label: string;
  /** Standard names, or the numbers of a vendor's own. */
  readonly lost: readonly string[];
  /** Uses that the newest proofs at this site could not try, each with its reason. */
  readonly untried: readonly { readonly use: string; readonly reason: string }[];
}

export interface PartitionAttributes {
  readonly partition: string;
  readonly group: string;
  /** Whether this member captures: only there is it known what its objects have and no replica gets. */
  readonly isSource: boolean;
  /** Meanings of `set`, `carried`, `narrowed` and `lost`. */
  readonly explanations: Readonly<Record<keyof Becomes | 'lost', string>>;
  readonly objects: readonly ObjectAttributes[];
}

/**
 * For each object of the newest generation here, what becomes of its attributes. This reports what the last capture
 * read, and asks no HSM.
 * @throws NOT_FOUND if the partition has no seat or nothing was captured
 */
export async function attributesHere(config: AgentConfig, name: string): Promise<PartitionAttributes> {
  partitionSettings(config, name);
  const memory = openSiteMemory(config);
  try {
    const { journal, store } = memory;
    const identity = journal.identities.of(name);
    const seat = journal.tenure.seats().find(({ serial }) => serial === identity?.serial);
    const digest = seat && journal.heads.of(seat.group, seat.role === 'active' ? 'captured' : 'applied');
    if (seat === undefined || digest === undefined)
      throw new AntipodeError(
        'NOT_FOUND',
        seat === undefined ? `partition ${name} has no seat in a group` : `group ${seat.group} has no generation here`,
        { details: { partition: name } },
      );
    const lost = new Map(
      journal.findings.notCarried(seat.group).map(({ objectId, attributes }) => [objectId, attributes]),
    );
    const untried = Map.groupBy(journal.findings.untried(seat.group), ({ objectId }) => objectId);
    const isSource = seat.role === 'active';
    const { entries } = (await store.open(digest)).generation;
    const text = (bytes: Uint8Array = new Uint8Array()): string => printable(Buffer.from(bytes).toString('utf8'));
    const objects = entries.map((entry) => ({
      objectId: entry.objectId,
      kind: kindOf(entry),
      ckaId: hex(entry.attributes.id ?? new Uint8Array()),
      label: text(entry.attributes.label),
      ...becomesOf(entry),
      lost: isSource ? (lost.get(entry.objectId) ?? []) : [],
      untried: (untried.get(entry.objectId) ?? []).map(({ use, reason }) => ({ use, reason })),
    }));
    return { partition: name, group: seat.group, isSource, explanations: BECOMES, objects };
  } finally {
    memory.close();
  }
}
