/**
 * Chooses the member that a failover promotes, and says what that would lose. Pure: a function of the request and one
 * survey.
 */

import type { ApprovalRequest } from '@antipode/protocol';
import { isNewer, newestOf } from '@antipode/protocol';
import { majorityOf } from '../../model.ts';
import { type ApprovalNeed, approvalNeed, needsApproval } from './approval-need.ts';
import { type ChosenFor, first, inOrder, reasonOf } from './choice.ts';

/** A generation by its names. */
export interface Held {
  readonly epoch: bigint;
  readonly number: bigint;
  readonly manifestDigest: string;
}

/** A member that answered. */
export interface Candidate {
  readonly site: string;
  readonly serial: string;
  readonly role: 'active' | 'standby' | 'fenced';
  readonly epoch: bigint;
  /** The newest generation that describes its partition and that the database knows; absent when there is none. */
  readonly applied: Held | undefined;
  /** Code of what keeps its partition from being used; empty for nothing. */
  readonly problem: string;
  /** Signatures that its agent requires for a promotion that may lose something; absent if it guards nothing. */
  readonly approvalsRequired?: number;
  /** Approvals on record that enough operators of its site have signed; absent if it guards nothing. */
  readonly approvals?: readonly ApprovalRequest[];
  /** Site that captured `applied`. */
  readonly source?: string;
  /** It has missed the domain key version in use: promoted, it captures nothing before it has got the next one. */
  readonly lacksKey?: boolean;
  /** How many objects of that generation its token has refused: their keys would not be served there. */
  readonly refused?: number;
  /** How many other groups are active at its site. */
  readonly load?: number;
}

/** A witness that answered, and the highest epoch that it has persisted. */
export interface ReachableWitness {
  readonly site: string;
  readonly epoch: bigint;
}

export interface KnownGeneration extends Held {
  /** By any member but its source. */
  readonly isAcknowledged: boolean;
}

export interface Survey {
  /** Site of the active member, as the database has it. */
  readonly active: string;
  /** Reachable members, in the group's order. */
  readonly reachable: readonly Candidate[];
  /** Witnesses that answered and whose vote counts. None of them can be promoted. */
  readonly witnesses?: readonly ReachableWitness[];
  /** Sites that vote, reachable or not. */
  readonly voters: number;
  readonly highestEpoch: bigint;
  /** Generations known to the database, newest last. */
  readonly known: readonly KnownGeneration[];
  /** Sites of all members, reachable or not. */
  readonly members?: readonly string[];
  /** Sites in the order in which the group wants them to become active. */
  readonly prefer?: readonly string[];
}

export interface Request {
  readonly from: string;
  /** Empty for the best. */
  readonly wanted: string;
  /** A person takes responsibility for what cannot be reached. */
  readonly acceptLoss: boolean;
  /** The generations that this person was shown and has agreed to lose. No other generation is given up. */
  readonly accepted: readonly Held[];
  /** How many objects, refused by the target's token, this person has given up. Absent: none. */
  readonly acceptedRefused?: number;
  readonly reason: 'automatic' | 'operator';
  /** A switchover: nothing is changed unless the active member answers, and so nothing is lost. */
  readonly planned?: boolean;
  /** Of a switchover: no epoch is issued later than this after the order. */
  readonly deadlineMs?: number;
  /** An operator moves the group although a hook says no. Absent from what earlier releases stored. */
  readonly ignoreVetoes?: boolean;
  /** When service stopped, as far as we know: the last sign of life, or the request. */
  readonly outageStartedMs: number;
  /** Targets that were lost or failed on the way. */
  readonly excluded: readonly { readonly site: string; readonly code: string }[];
  /** How often another generation was there when the epoch was to be issued. */
  readonly overtaken: number;
}

export interface Choice {
  readonly to: string;
  readonly serial: string;
  readonly epoch: bigint;
  readonly generation: Held | undefined;
  readonly lost: readonly Held[];
  /** Why this member and no other one. Absent from what earlier releases stored. */
  readonly chosenFor?: ChosenFor;
  /** How many agents must have persisted the epoch. */
  readonly quorum: number;
  /** The active member answers under its own tenure: nothing need be lost. */
  readonly canCatchUp: boolean;
  /**
   * A generation that must not be lost, and that the target must fetch first. A member that cannot serve still has it
   * sealed in its store.
   */
  readonly fetch?: Handover;
}

/** A generation that the target lacks, and the sites that hold it. */
export interface Handover {
  readonly newest: Held;
  readonly holders: readonly string[];
}

/** The member that the plan would promote, and the generations that must not be lost and would be. */
export interface Losing {
  readonly to: string;
  /** The newest generation that this member holds. */
  readonly holds: Held | undefined;
  readonly generations: readonly Held[];
}

export type FailoverPlan =
  | {
      readonly obstacle: string;
      readonly losing?: Losing;
      /** The target would refuse: an approval must allow this. */
      readonly needs?: ApprovalNeed;
      readonly choice?: undefined;
    }
  | { readonly obstacle: undefined; readonly losing?: undefined; readonly needs?: undefined; readonly choice: Choice };

/** A claim beyond it is a lie or a restored journal: every honest agent would refuse the epoch above it. */
export const EPOCH_JUMP_MAX = 1_000n;

/** `accepted: 'all'` is for a plan that is only shown: it says what an approval must name. */
export type PlanRequest = Pick<
  Request,
  'from' | 'wanted' | 'acceptLoss' | 'acceptedRefused' | 'reason' | 'excluded' | 'planned'
> & {
  readonly accepted: readonly Held[] | 'all';
};

/** Chooses the member to promote, or names the obstacle. */
export function planFailover(request: PlanRequest, survey: Survey): FailoverPlan {
  const { voters, known, highestEpoch } = survey;
  const { from, wanted, reason, acceptLoss, excluded } = request;
  const isBelievable = ({ epoch }: { readonly epoch: bigint }): boolean => epoch <= highestEpoch + EPOCH_JUMP_MAX;
  const reachable = survey.reachable.filter(isBelievable);
  const witnesses = (survey.witnesses ?? []).filter(isBelievable);
  // One of these may have voted for an epoch that nobody knows any more, and its journal neither.
  const quarantined = reachable.filter(({ problem }) => problem === 'SITE_QUARANTINED').map(({ site }) => site);
  const votes = reachable.length - quarantined.length + witnesses.length;
  // With two sites the lost one is half of the voters. A person who accepts the loss replaces its vote.
  const quorum = voters === 2 && reason === 'operator' && acceptLoss ? 1 : majorityOf(voters);
  if (votes < quorum) return { obstacle: noMajority(votes, voters, quarantined) };

  const old = reachable.find(({ site }) => site === from);
  // Under the newest tenure: one that has not heard of a later epoch is active in name only.
  const isOldServing = old?.role === 'active' && old.problem === '' && old.epoch >= highestEpoch;
  if (reason === 'automatic' && isOldServing) return { obstacle: `site ${from} answers, and is active` };

  const usable = reachable.filter(
    ({ site, problem }) => problem === '' && !excluded.some((one) => one.site === site) && [site, ''].includes(wanted),
  );
  const standbys = usable.filter(({ site, role }) => site !== from && role === 'standby');
  // Fenced by a failover that did not end well: better than nobody.
  const fallback = usable.filter(({ site, role }) => site === from && role !== 'active');
  const forbiddenAt = ({ applied }: Candidate): KnownGeneration[] =>
    known.filter((generation) => isNewer(generation, applied) && !mayLose(request, generation));
  const order = inOrder(survey);
  const [best, former] = [first(standbys, order), first(fallback, order)];
  // Rather the former active member, which has everything, than a standby that would lose what must not be lost.
  const isFormerNeeded = former !== undefined && best !== undefined && forbiddenAt(best).length > 0;
  const target = isFormerNeeded && forbiddenAt(former).length === 0 ? former : (best ?? former);
  if (target === undefined) return { obstacle: nobody({ wanted, excluded, reachable }) };

  const canCatchUp = isOldServing && target.site !== from;
  if (request.planned === true && !canCatchUp) return { obstacle: needsAnActive(from, survey) };
  if (reason === 'automatic' && target.applied === undefined)
    return { obstacle: `site ${target.site} has not applied any generation yet` };
  const forbidden = canCatchUp ? [] : forbiddenAt(target);
  const fetch = fetchOf(forbidden, reachable, target);
  if (forbidden.length > 0 && fetch === undefined)
    return {
      obstacle: wouldLose(request, target.site, forbidden),
      losing: { to: target.site, holds: target.applied, generations: forbidden.map(named) },
    };
  const refused = target.site === from ? 0 : (target.refused ?? 0);
  // A target that catches up tries them again first. Once an epoch is issued, somebody must serve.
  const isLeaving = !canCatchUp && excluded.length === 0 && !mayLeave(request, refused);
  if (reason === 'operator' && isLeaving) return { obstacle: wouldLeave(target.site, refused) };
  const lost = known.filter((generation) => isNewer(generation, fetch?.newest ?? target.applied));

  let highestSeen = highestEpoch;
  for (const { epoch } of [...reachable, ...witnesses]) if (epoch > highestSeen) highestSeen = epoch;
  const epoch = highestSeen + 1n;
  const holds = canCatchUp
    ? newestOf(reachable.flatMap(({ applied }) => applied ?? []))
    : (fetch?.newest ?? target.applied);
  const needs = approvalNeed(
    { target, epoch, holds, source: canCatchUp ? from : target.source },
    { ...survey, reachable },
  );
  if (needs !== undefined) return { obstacle: needsApproval(needs), needs };
  return {
    obstacle: undefined,
    choice: {
      to: target.site,
      serial: target.serial,
      epoch,
      generation: target.applied,
      lost: canCatchUp ? [] : lost.map(named),
      chosenFor: target.site === from ? 'former' : wanted !== '' ? 'wanted' : reasonOf(target, standbys, order),
      quorum,
      canCatchUp,
      ...(fetch === undefined ? {} : { fetch }),
    },
  };
}

/** The newest of what must not be lost, where somebody who answers holds it: sealed in the store, whatever its HSM says. */
function fetchOf(forbidden: readonly Held[], reachable: readonly Candidate[], target: Candidate): Handover | undefined {
  const newest = newestOf(forbidden);
  if (newest === undefined) return undefined;
  const holders = reachable.filter(
    ({ site, applied, problem }) =>
      site !== target.site && problem !== 'SITE_QUARANTINED' && applied !== undefined && !isNewer(newest, applied),
  );
  return holders.length === 0 ? undefined : { newest: named(newest), holders: holders.map(({ site }) => site) };
}

/** The automation may give up what nobody has acknowledged; a person what this person was shown. */
export function mayLose(
  { reason, accepted }: Pick<PlanRequest, 'reason' | 'accepted'>,
  generation: KnownGeneration,
): boolean {
  if (reason === 'automatic') return !generation.isAcknowledged;
  return accepted === 'all' || accepted.some((one) => isSame(one, generation));
}

/** Whether a person has agreed that so many objects are not served, because the token of the target refuses them. */
export const mayLeave = (
  { accepted, acceptedRefused = 0 }: Pick<PlanRequest, 'accepted' | 'acceptedRefused'>,
  refused: number,
): boolean => accepted === 'all' || refused <= acceptedRefused;

export const wouldLeave = (site: string, refused: number): string =>
  `the token of site ${site} refuses ${refused} ${refused === 1 ? 'object' : 'objects'} of the group, which would not be served there`;

function wouldLose({ accepted, acceptLoss }: PlanRequest, site: string, forbidden: readonly Held[]): string {
  const what = `site ${site} does not have ${numbersOf(forbidden)}, which would be lost to service`;
  return acceptLoss && accepted !== 'all'
    ? `${what}; this loss was not accepted. Run the command again with --dry-run to see the loss, then accept it`
    : what;
}

export const numbersOf = (generations: readonly Pick<Held, 'number'>[]): string =>
  `${generations.length === 1 ? 'generation' : 'generations'} ${generations.map(({ number }) => number).join(', ')}`;

function noMajority(votes: number, voters: number, quarantined: readonly string[]): string {
  const why =
    quarantined.length === 0
      ? `only ${votes} of ${voters} voting sites can be reached; an epoch needs a majority`
      : `only ${votes} of ${voters} voting sites can vote; an epoch needs a majority. ${withoutVote(quarantined)}`;
  return voters === 2 ? `${why}; with two sites, --accept-loss replaces the vote of the lost one` : why;
}

/** For the operator, who has to reseat these members first. */
export const withoutVote = (quarantined: readonly string[]): string =>
  `${quarantined.length === 1 ? 'site' : 'sites'} ${quarantined.join(', ')} ${quarantined.length === 1 ? 'is in quarantine and has no vote until it is' : 'are in quarantine and have no vote until they are'} reseated (\`antipode group reseat\`)`;

function nobody({
  wanted,
  excluded,
  reachable,
}: Pick<Request, 'wanted' | 'excluded'> & Pick<Survey, 'reachable'>): string {
  const unusable = [
    ...reachable.filter(({ problem }) => problem !== '').map(({ site, problem: code }) => ({ site, code })),
    ...excluded,
  ];
  const why = unusable.length === 0 ? '' : ` (${unusable.map(({ site, code }) => `${site}: ${code}`).join(', ')})`;
  return wanted === ''
    ? `no standby can be promoted${why}`
    : `site ${wanted} cannot be promoted: it is not a standby that can be reached and used${why}`;
}

/** A move that must lose nothing begins only while the active member can still be captured. */
function needsAnActive(from: string, { reachable }: Survey): string {
  const old = reachable.find(({ site }) => site === from);
  const why =
    old === undefined
      ? 'it cannot be reached'
      : old.problem !== ''
        ? `its partition cannot be used (${old.problem})`
        : `it is ${old.role} there`;
  return `a switchover needs the active site ${from || '(none)'} to answer, and ${why}. \`antipode failover\` shows what a move without it would lose`;
}

export const isSame = (a: Held, b: Held): boolean =>
  a.epoch === b.epoch && a.number === b.number && a.manifestDigest === b.manifestDigest;

export const named = ({ epoch, number, manifestDigest }: Held): Held => ({ epoch, number, manifestDigest });
