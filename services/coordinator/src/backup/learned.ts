/**
 * The knowledge of the agents beyond a backup that was put back, for people. Pure. It only tells: the coordinator meets
 * the same contradictions as soon as it leads, and orders nothing in those groups until an operator seats them again.
 */
import { type DescribeResponse, isNewer } from '@antipode/protocol';
import { contradictionOf, type Views } from '../groups/contradiction.ts';
import type { Generation, Group } from '../model.ts';
import type { SiteView } from '../sites/detector.ts';
import type { Asked } from './survey.ts';

export type Verdict =
  /** Database and agents agree. */
  | 'agrees'
  /** They contradict each other: the group is to be seated again. */
  | 'contradicted'
  /** No agent that answers has a seat in it: it was perhaps deleted since. */
  | 'unseated'
  /** Agents have seats in it, and the backup does not know it: it was perhaps made since. */
  | 'unknown';

export interface LearnedGroup {
  readonly group: string;
  readonly verdict: Verdict;
  /** By the backup. */
  readonly recorded: { readonly epoch: bigint; readonly owner: string; readonly generation: bigint } | undefined;
  /** The highest of all agents that answer. */
  readonly told: { readonly epoch: bigint; readonly owner: string; readonly generation: bigint } | undefined;
  /** Sites that say so. */
  readonly sites: readonly string[];
  /** Members that do not answer: they may know more. */
  readonly silent: readonly string[];
  readonly reason: string;
}

export interface Learned {
  /** The highest term that a site has heard; 0 for none that is known. */
  readonly term: bigint;
  readonly groups: readonly LearnedGroup[];
  readonly silent: readonly { readonly site: string; readonly code: string }[];
}

export interface Recorded {
  readonly group: Group;
  readonly newest: Generation | undefined;
}

/** A site that has just answered. */
const HEARD: Omit<SiteView, 'site' | 'state'> = {
  status: 'up',
  reason: '',
  address: '',
  instance: '',
  lastMs: 0,
  lastWallMs: undefined,
  failedRounds: 0,
};

export function learnedFrom(recorded: readonly Recorded[], asked: readonly Asked[]): Learned {
  const accounts = new Map(asked.flatMap(({ site, account }) => (account === undefined ? [] : [[site, account]])));
  const silent = asked.flatMap(({ site, error }) => (error === undefined ? [] : [{ site, code: error.code }]));
  const names = new Set([
    ...recorded.map(({ group }) => group.spec.name),
    ...[...accounts.values()].flatMap(({ members }) => members.map(({ group }) => group)),
  ]);
  return {
    term: [...accounts.values()].reduce((term, one) => (one.highestTerm > term ? one.highestTerm : term), 0n),
    groups: [...names].sort().map((name) =>
      groupOf(
        name,
        recorded.find(({ group }) => group.spec.name === name),
        accounts,
      ),
    ),
    silent,
  };
}

function groupOf(
  name: string,
  recorded: Recorded | undefined,
  accounts: ReadonlyMap<string, DescribeResponse>,
): LearnedGroup {
  const seats = [...accounts].flatMap(([site, { members }]) =>
    members.filter(({ group }) => group === name).map((seat) => ({ site, seat })),
  );
  let told: LearnedGroup['told'];
  let newest: { epoch: bigint; number: bigint } | undefined;
  for (const { seat } of seats) {
    if (told === undefined || seat.epoch > told.epoch)
      told = { epoch: seat.epoch, owner: seat.epochOwner, generation: 0n };
    for (const ref of [seat.captured, seat.applied])
      if (ref !== undefined && isNewer({ epoch: ref.epoch, number: ref.generation }, newest))
        newest = { epoch: ref.epoch, number: ref.generation };
  }
  const members = recorded?.group.members ?? [];
  const facts = {
    group: name,
    recorded: recorded && {
      epoch: recorded.group.highestEpoch,
      owner: recorded.group.highestOwner,
      generation: recorded.newest?.number ?? 0n,
    },
    told: told && { ...told, generation: newest?.number ?? 0n },
    sites: seats.map(({ site }) => site),
    silent: members.map(({ site }) => site).filter((site) => !accounts.has(site)),
  };
  if (recorded === undefined) return { ...facts, verdict: 'unknown', reason: 'the backup does not know this group' };
  if (seats.length === 0) return { ...facts, verdict: 'unseated', reason: 'no site that answers has a seat in it' };
  const view: Views = (site) => {
    const state = accounts.get(site);
    return state && { ...HEARD, site, state };
  };
  const found = contradictionOf({ group: recorded.group, newest: recorded.newest, view });
  return found === undefined
    ? { ...facts, verdict: 'agrees', reason: '' }
    : { ...facts, verdict: 'contradicted', reason: found.message };
}
