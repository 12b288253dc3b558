/**
 * Moves the active role to another member.
 *
 *   requested -> surveying -> issuing -> fencing -> promoting -> publishing -> complete
 *                    |-> aborted(FAILOVER_REFUSED: nobody to promote, or a loss that was not accepted)
 *
 * The epoch is issued when a majority of the voting agents has persisted it (I1). The old active member has acknowledged
 * the fence, or its lease has run out, before anybody is promoted. Generations captured at the old site that no reachable
 * member has are lost to service: shown first, and accepted without asking only where the old site is gone anyway; they
 * come back as divergent objects with it.
 */
import type { Failure, Resume, Step } from '../model.ts';

/** A member that answered. */
export interface Candidate {
  readonly site: string;
  readonly serial: string;
  readonly role: 'active' | 'standby' | 'fenced';
  readonly epoch: bigint;
  /** What it has applied and read back, or captured; absent when nothing. */
  readonly applied: { readonly epoch: bigint; readonly number: bigint; readonly manifestDigest: string } | undefined;
}

export interface Survey {
  /** Reachable members, in the group's order. */
  readonly reachable: readonly Candidate[];
  readonly voters: number;
  readonly highestEpoch: bigint;
  /** Numbers of generations known to the database, newest last. */
  readonly known: readonly { readonly epoch: bigint; readonly number: bigint }[];
}

interface Request {
  readonly from: string;
  /** Empty for the best. */
  readonly wanted: string;
  readonly acceptLoss: boolean;
  readonly reason: 'automatic' | 'operator';
  /** When service stopped, as far as we know: the last sign of life, or the request. */
  readonly outageStartedMs: number;
}

interface Chosen extends Request {
  readonly to: string;
  readonly serial: string;
  readonly epoch: bigint;
  readonly generation: { readonly epoch: bigint; readonly number: bigint; readonly manifestDigest: string } | undefined;
  readonly lost: readonly bigint[];
}

export type FailoverState =
  | ({ readonly phase: 'requested' } & Request)
  | ({ readonly phase: 'issuing' } & Chosen)
  | ({ readonly phase: 'fencing' } & Chosen)
  | ({ readonly phase: 'promoting' } & Chosen)
  | ({ readonly phase: 'publishing'; readonly proved: number } & Chosen)
  | ({ readonly phase: 'complete'; readonly proved: number; readonly recoveryTimeMs: number } & Chosen)
  | ({ readonly phase: 'aborted'; readonly code: string; readonly message: string } & Request);

export type FailoverEffect =
  | ({ readonly type: 'survey' } & Request)
  | ({ readonly type: 'issue-epoch' } & Chosen)
  | ({ readonly type: 'await-fence' } & Chosen)
  | ({ readonly type: 'promote' } & Chosen)
  | ({ readonly type: 'publish'; readonly proved: number } & Chosen);

export type FailoverEvent =
  | Resume
  | Failure
  | { readonly type: 'surveyed'; readonly survey: Survey }
  | { readonly type: 'issued'; readonly isOldActiveFenced: boolean }
  | { readonly type: 'fenced' }
  | { readonly type: 'promoted'; readonly proved: number }
  | { readonly type: 'published'; readonly recoveryTimeMs: number };

export function decideFailover(state: FailoverState, event: FailoverEvent): Step<FailoverState, FailoverEffect> {
  if (state.phase === 'complete' || state.phase === 'aborted') return { state };
  if (event.type === 'failed')
    return { state: { ...requestOf(state), phase: 'aborted', code: event.code, message: event.message } };
  switch (state.phase) {
    case 'requested': {
      if (event.type !== 'surveyed') return { state, effect: { ...state, type: 'survey' } };
      const plan = planFailover(state, event.survey);
      if (plan.obstacle !== undefined)
        return { state: { ...requestOf(state), phase: 'aborted', code: 'FAILOVER_REFUSED', message: plan.obstacle } };
      const chosen: Chosen = { ...requestOf(state), ...plan.choice };
      return { state: { ...chosen, phase: 'issuing' }, effect: { ...chosen, type: 'issue-epoch' } };
    }
    case 'issuing':
      if (event.type !== 'issued') return { state, effect: { ...state, type: 'issue-epoch' } };
      return event.isOldActiveFenced
        ? { state: { ...state, phase: 'promoting' }, effect: { ...state, type: 'promote' } }
        : { state: { ...state, phase: 'fencing' }, effect: { ...state, type: 'await-fence' } };
    case 'fencing':
      return event.type === 'fenced'
        ? { state: { ...state, phase: 'promoting' }, effect: { ...state, type: 'promote' } }
        : { state, effect: { ...state, type: 'await-fence' } };
    case 'promoting':
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

export type FailoverPlan =
  | { readonly obstacle: string; readonly choice?: undefined }
  | { readonly obstacle: undefined; readonly choice: Pick<Chosen, 'to' | 'serial' | 'epoch' | 'generation' | 'lost'> };

/** Whom to promote, and what that would lose. */
export function planFailover(
  request: Pick<Request, 'from' | 'wanted' | 'acceptLoss' | 'reason'>,
  survey: Survey,
): FailoverPlan {
  const { reachable, voters, known, highestEpoch } = survey;
  if (reachable.length * 2 <= voters) {
    return {
      obstacle: `only ${reachable.length} of ${voters} voting sites can be reached, and an epoch needs a majority`,
    };
  }
  const candidates = reachable.filter(
    ({ site, role }) =>
      site !== request.from && role === 'standby' && (request.wanted === '' || request.wanted === site),
  );
  const target = candidates.reduce<Candidate | undefined>(
    (best, one) => (best === undefined || isAhead(one.applied, best.applied) ? one : best),
    undefined,
  );
  if (target === undefined) {
    return {
      obstacle:
        request.wanted === ''
          ? 'no standby can be reached'
          : `site ${request.wanted} is not a standby that can be reached`,
    };
  }
  const lost = known.filter((generation) => isAhead(generation, target.applied)).map(({ number }) => number);
  // Nothing of what the old site alone had can be waited for when that site is lost.
  const isAccepted = request.acceptLoss || request.reason === 'automatic';
  if (lost.length > 0 && !isAccepted) {
    return { obstacle: `generations ${lost.join(', ')} are not at site ${target.site} and would be lost to service` };
  }
  let highestSeen = highestEpoch;
  for (const { epoch } of reachable) if (epoch > highestSeen) highestSeen = epoch;
  return {
    obstacle: undefined,
    choice: { to: target.site, serial: target.serial, epoch: highestSeen + 1n, generation: target.applied, lost },
  };
}

function isAhead(
  a: { epoch: bigint; number: bigint } | undefined,
  b: { epoch: bigint; number: bigint } | undefined,
): boolean {
  if (a === undefined) return false;
  if (b === undefined) return true;
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.number > b.number;
}

function requestOf({ from, wanted, acceptLoss, reason, outageStartedMs }: Request): Request {
  return { from, wanted, acceptLoss, reason, outageStartedMs };
}
