/**
 * Moves the active role to another member.
 *
 *   requested -> [catching-up] -> issuing -> [fencing] -> promoting -> publishing -> complete
 *       |  ^                         |                        |
 *       |  +------- target-lost -----+------------------------+
 *       |-> aborted(code): nobody to promote, or a loss that was not accepted
 *
 * Where the active member still answers, the target first catches up with it and proves every key, before anything is
 * changed: a planned move loses nothing, and a target that cannot serve costs nothing. The epoch is issued when a majority
 * of the voting agents has persisted it (I1). The old active member has acknowledged the fence, or its lease has run out,
 * before anybody is promoted. A target that is lost or fails its proof on the way is left aside and the next best is
 * chosen, under a further epoch; last of all the old active member itself, where it answers.
 */
import type { Failure, Resume, Step } from '../model.ts';

interface Held {
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
}

export interface Survey {
  /** Reachable members, in the group's order. */
  readonly reachable: readonly Candidate[];
  readonly voters: number;
  readonly highestEpoch: bigint;
  /** Generations known to the database, newest last, and whether any member but their source has acknowledged them. */
  readonly known: readonly { readonly epoch: bigint; readonly number: bigint; readonly isAcknowledged: boolean }[];
}

interface Request {
  readonly from: string;
  /** Empty for the best. */
  readonly wanted: string;
  readonly acceptLoss: boolean;
  readonly reason: 'automatic' | 'operator';
  /** When service stopped, as far as we know: the last sign of life, or the request. */
  readonly outageStartedMs: number;
  /** Targets that were lost or failed on the way. */
  readonly excluded: readonly { readonly site: string; readonly code: string }[];
}

interface Chosen extends Request {
  readonly to: string;
  readonly serial: string;
  readonly epoch: bigint;
  readonly generation: Held | undefined;
  readonly lost: readonly bigint[];
  /** How many agents must have persisted the epoch. */
  readonly quorum: number;
}

export type FailoverState =
  | ({ readonly phase: 'requested' } & Request)
  | ({ readonly phase: 'catching-up' } & Chosen)
  | ({ readonly phase: 'issuing' } & Chosen)
  | ({ readonly phase: 'fencing' } & Chosen)
  | ({ readonly phase: 'promoting' } & Chosen)
  | ({ readonly phase: 'publishing'; readonly proved: number } & Chosen)
  | ({ readonly phase: 'complete'; readonly proved: number; readonly recoveryTimeMs: number } & Chosen)
  | ({ readonly phase: 'aborted'; readonly code: string; readonly message: string } & Request);

export type FailoverEffect =
  | ({ readonly type: 'survey' } & Request)
  | ({ readonly type: 'catch-up' } & Chosen)
  | ({ readonly type: 'issue-epoch' } & Chosen)
  | ({ readonly type: 'await-fence' } & Chosen)
  | ({ readonly type: 'promote' } & Chosen)
  | ({ readonly type: 'publish'; readonly proved: number } & Chosen);

export type FailoverEvent =
  | Resume
  | Failure
  | { readonly type: 'surveyed'; readonly survey: Survey }
  | { readonly type: 'caught-up'; readonly generation: Held; readonly startedMs: number }
  | { readonly type: 'issued'; readonly isOldActiveFenced: boolean }
  | { readonly type: 'fenced' }
  | { readonly type: 'promoted'; readonly proved: number }
  | { readonly type: 'target-lost'; readonly code: string }
  | { readonly type: 'published'; readonly recoveryTimeMs: number };

export function decideFailover(state: FailoverState, event: FailoverEvent): Step<FailoverState, FailoverEffect> {
  if (state.phase === 'complete' || state.phase === 'aborted') return { state };
  if (event.type === 'failed') return abort(state, event.code, event.message);
  switch (state.phase) {
    case 'requested': {
      if (event.type !== 'surveyed') return { state, effect: { ...state, type: 'survey' } };
      const plan = planFailover(state, event.survey);
      if (plan.obstacle !== undefined) return abort(state, 'FAILOVER_REFUSED', plan.obstacle);
      const { canCatchUp, ...choice } = plan.choice;
      const chosen: Chosen = { ...requestOf(state), ...choice };
      return canCatchUp
        ? { state: { ...chosen, phase: 'catching-up' }, effect: { ...chosen, type: 'catch-up' } }
        : issue(chosen);
    }
    case 'catching-up':
      if (event.type !== 'caught-up') return { state, effect: { ...state, type: 'catch-up' } };
      // Service stops only now.
      return issue({ ...state, generation: event.generation, lost: [], outageStartedMs: event.startedMs });
    case 'issuing':
      if (event.type === 'target-lost') return retarget(state, event.code);
      if (event.type !== 'issued') return { state, effect: { ...state, type: 'issue-epoch' } };
      return event.isOldActiveFenced
        ? { state: { ...state, phase: 'promoting' }, effect: { ...state, type: 'promote' } }
        : { state: { ...state, phase: 'fencing' }, effect: { ...state, type: 'await-fence' } };
    case 'fencing':
      return event.type === 'fenced'
        ? { state: { ...state, phase: 'promoting' }, effect: { ...state, type: 'promote' } }
        : { state, effect: { ...state, type: 'await-fence' } };
    case 'promoting':
      if (event.type === 'target-lost') return retarget(state, event.code);
      if (event.type !== 'promoted') return { state, effect: { ...state, type: 'promote' } };
      return {
        state: { ...state, phase: 'publishing', proved: event.proved },
        effect: { ...state, type: 'publish', proved: event.proved },
      };
    case 'publishing':
      if (event.type !== 'published') return { state, effect: { ...state, type: 'publish', proved: state.proved } };
      return { state: { ...state, phase: 'complete', recoveryTimeMs: event.recoveryTimeMs } };
  }
}

function issue(chosen: Chosen): Step<FailoverState, FailoverEffect> {
  return { state: { ...chosen, phase: 'issuing' }, effect: { ...chosen, type: 'issue-epoch' } };
}

function abort(state: Request, code: string, message: string): Step<FailoverState, FailoverEffect> {
  return { state: { ...requestOf(state), phase: 'aborted', code, message } };
}

/** The old active member is fenced by now, so whom the operator wanted counts less than that somebody serves. */
function retarget(state: Chosen, code: string): Step<FailoverState, FailoverEffect> {
  const excluded = [...state.excluded.filter(({ site }) => site !== state.to), { site: state.to, code }];
  const request: Request = { ...requestOf(state), wanted: '', excluded };
  return { state: { ...request, phase: 'requested' }, effect: { ...request, type: 'survey' } };
}

type Choice = Pick<Chosen, 'to' | 'serial' | 'epoch' | 'generation' | 'lost' | 'quorum'> & {
  /** The active member answers under its own tenure: nothing need be lost. */
  readonly canCatchUp: boolean;
};

export type FailoverPlan =
  | { readonly obstacle: string; readonly choice?: undefined }
  | { readonly obstacle: undefined; readonly choice: Choice };

/** A claim beyond it is a lie or a restored journal: every honest agent would refuse the epoch above it. */
export const EPOCH_JUMP_MAX = 1_000n;

/** Whom to promote, and what that would lose. */
export function planFailover(
  request: Pick<Request, 'from' | 'wanted' | 'acceptLoss' | 'reason' | 'excluded'>,
  survey: Survey,
): FailoverPlan {
  const { voters, known, highestEpoch } = survey;
  const { from, wanted, reason, acceptLoss, excluded } = request;
  const reachable = survey.reachable.filter(({ epoch }) => epoch <= highestEpoch + EPOCH_JUMP_MAX);
  // With two sites the lost one is half of the voters: a person who accepts the loss stands in for it.
  const quorum = voters === 2 && reason === 'operator' && acceptLoss ? 1 : Math.floor(voters / 2) + 1;
  if (reachable.length < quorum) return { obstacle: noMajority(reachable.length, voters) };

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
  const target = mostAdvanced(standbys) ?? mostAdvanced(fallback);
  if (target === undefined) return { obstacle: nobody({ wanted, excluded, reachable }) };

  const lost = known.filter((generation) => isAhead(generation, target.applied));
  const canCatchUp = isOldServing && target.site !== from;
  if (reason === 'automatic' && target.applied === undefined)
    return { obstacle: `nothing was ever applied at site ${target.site}` };
  const forbidden = reason === 'automatic' ? lost.filter(({ isAcknowledged }) => isAcknowledged) : lost;
  if (forbidden.length > 0 && !canCatchUp && !acceptLoss) {
    const numbers = forbidden.map(({ number }) => number).join(', ');
    return { obstacle: `generations ${numbers} are not at site ${target.site} and would be lost to service` };
  }

  let highestSeen = highestEpoch;
  for (const { epoch } of reachable) if (epoch > highestSeen) highestSeen = epoch;
  return {
    obstacle: undefined,
    choice: {
      to: target.site,
      serial: target.serial,
      epoch: highestSeen + 1n,
      generation: target.applied,
      lost: canCatchUp ? [] : lost.map(({ number }) => number),
      quorum,
      canCatchUp,
    },
  };
}

function noMajority(reachable: number, voters: number): string {
  const why = `only ${reachable} of ${voters} voting sites can be reached, and an epoch needs a majority`;
  return voters === 2 ? `${why}; with two sites, --accept-loss stands in for the lost one` : why;
}

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
    ? `no standby can be reached and used${why}`
    : `site ${wanted} is not a standby that can be reached and used${why}`;
}

function mostAdvanced(candidates: readonly Candidate[]): Candidate | undefined {
  return candidates.reduce<Candidate | undefined>(
    (best, one) => (best === undefined || isAhead(one.applied, best.applied) ? one : best),
    undefined,
  );
}

export function isAhead(
  a: { epoch: bigint; number: bigint } | undefined,
  b: { epoch: bigint; number: bigint } | undefined,
): boolean {
  if (a === undefined) return false;
  if (b === undefined) return true;
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.number > b.number;
}

function requestOf({ from, wanted, acceptLoss, reason, outageStartedMs, excluded }: Request): Request {
  return { from, wanted, acceptLoss, reason, outageStartedMs, excluded };
}
