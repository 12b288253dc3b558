/** The fate of the attributes of each object at the replicas, as the last capture and the last proofs have found it. */
import { BECOMES, type Becomes, becomesOf } from '@antipode/hsm-core';
import { AntipodeError } from '@antipode/runtime';
import { openSiteMemory } from '../commands/beside-agent.ts';
import type { AgentConfig } from '../config.ts';
import { partitionSettings } from '../partition/administration.ts';
import { chooseObjects } from './choose.ts';
import { type SiteObject, siteObject } from './site-object.ts';

export interface ObjectAttributes extends SiteObject, Becomes {
  readonly objectId: string;
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
export async function attributesHere(
  config: AgentConfig,
  name: string,
  words: readonly string[] = [],
): Promise<PartitionAttributes> {
  partitionSettings(config, name);
  const memory = openSiteMemory(config);
  try {
    const { journal, store } = memory;
    const identity = journal.identities.of(name);
    const seat = journal.tenure.seats().find(({ serial }) => serial === identity?.serial);
    const digest = seat && journal.heads.of(seat, seat.role === 'active' ? 'captured' : 'applied');
    if (seat === undefined || digest === undefined)
      throw new AntipodeError(
        'NOT_FOUND',
        seat === undefined ? `partition ${name} has no seat in a group` : `group ${seat.group} has no generation here`,
        { details: { partition: name } },
      );
    const lost = new Map(journal.findings.notCarried(seat).map(({ objectId, attributes }) => [objectId, attributes]));
    const untried = Map.groupBy(journal.findings.untried(seat), ({ objectId }) => objectId);
    const isSource = seat.role === 'active';
    const { entries } = (await store.open(digest)).generation;
    const objects = entries.map((entry) => ({
      ...siteObject(entry),
      objectId: entry.objectId,
      ...becomesOf(entry),
      lost: isSource ? (lost.get(entry.objectId) ?? []) : [],
      untried: (untried.get(entry.objectId) ?? []).map(({ use, reason }) => ({ use, reason })),
    }));
    const chosen = chooseObjects(objects, words, { list: `antipode partition attributes ${name}` });
    return { partition: name, group: seat.group, isSource, explanations: BECOMES, objects: chosen };
  } finally {
    memory.close();
  }
}
