/**
 * Moves the active role to another member.
 *
 *   requested -> [catching-up] -> issuing -> [handing-over] -> [fencing] -> promoting -> publishing -> complete
 *    |  |  ^                      |   |           |                            |
 *    |  |  +------ overtaken -----+   |           |                            |
 *    +->|--- [fetching] ---^          |           |                            |
 *       |  +------- target-lost ------+-----------+----------------------------+
 *       |-> aborted(code): nobody to promote, or a loss that was not accepted
 *
 * Fetching: if a generation that must not be lost is at a member that cannot serve, the target first fetches it from
 * that member's store. Nothing has been changed until then.
 *
 * Catching up: if the active member still answers, the target first catches up with it and proves every key. Nothing
 * has been changed until then. So a planned move loses nothing, and a target that cannot serve costs nothing.
 *
 * Issuing: the transaction that records the epoch reads again what is known. If a generation that must not be lost is
 * ahead of the target, nothing is issued, and the survey begins again. The epoch counts when a majority of the voting
 * agents has persisted it (I1). A member may then turn out to hold a generation that the target does not have. The
 * target gets it before the promotion.
 *
 * Fencing: before anybody is promoted, the old active member has acknowledged the fence, or its lease has run out.
 *
 * A target that is lost, or fails its proof, is left aside. The next best member is chosen under a further epoch. The
 * old active member itself comes last, if it answers.
 */
import { isNewer } from '@antipode/protocol';
import type { Failure, Resume, Step } from '../../model.ts';
import { type Choice, type Handover, type Held, numbersOf, planFailover, type Request, type Survey } from './plan.ts';

interface Chosen extends Request, Omit<Choice, 'canCatchUp' | 'fetch'> {
  /** The target had caught up with the active member before the epoch was issued. */
  readonly caughtUp?: true;
}

interface Fetching extends Chosen {
  readonly fetch: Handover;
}

interface HandingOver extends Chosen {
  readonly handover: Handover;
  readonly isOldActiveFenced: boolean;
}

interface Issuing extends Chosen {
  /** Generations that no member could hand over. They stay lost. */
  readonly unreachable: readonly Held[];
}

export type FailoverState =
  | ({ readonly phase: 'requested' } & Request)
  | ({ readonly phase: 'fetching' } & Fetching)
  | ({ readonly phase: 'catching-up' } & Chosen)
  | ({ readonly phase: 'issuing' } & Issuing)
  | ({ readonly phase: 'handing-over' } & HandingOver)
  | ({ readonly phase: 'fencing' } & Chosen)
  | ({ readonly phase: 'promoting' } & Chosen)
  | ({ readonly phase: 'publishing'; readonly proved: number } & Chosen)
  | ({ readonly phase: 'complete'; readonly proved: number; readonly recoveryTimeMs: number } & Chosen)
  | ({
      readonly phase: 'aborted';
      readonly code: string;
      readonly message: string;
      /** The generation that must not be lost, and the holders from which it could not be fetched. */
      readonly unfetched?: Handover;
    } & Request);

export type FailoverEffect =
  | ({ readonly type: 'survey' } & Request)
  | ({ readonly type: 'fetch' } & Fetching)
  | ({ readonly type: 'catch-up' } & Chosen)
  | ({ readonly type: 'issue-epoch' } & Issuing)
  | ({ readonly type: 'hand-over' } & HandingOver)
  | ({ readonly type: 'await-fence' } & Chosen)
  | ({ readonly type: 'promote' } & Chosen)
  | ({ readonly type: 'publish'; readonly proved: number } & Chosen);

export type FailoverEvent =
  | Resume
  | Failure
  | { readonly type: 'surveyed'; readonly survey: Survey }
  | { readonly type: 'fetched' }
  | { readonly type: 'not-fetched'; readonly code: string }
  | { readonly type: 'caught-up'; readonly generation: Held; readonly startedMs: number }
  /** Nothing was issued: these generations are on record by now, and must not be lost. */
  | { readonly type: 'overtaken'; readonly generations: readonly Held[] }
  | {
      readonly type: 'issued';
      readonly isOldActiveFenced: boolean;
      /** When the epoch was recorded: no lease was renewed from then on. Hooks were asked before that. */
      readonly issuedMs: number;
      /** The newest generation that the target holds, now that no order of an earlier tenure can change it. */
      readonly generation: Held | undefined;
      /** Generations on record that are newer than the target's. */
      readonly lost: readonly Held[];
      readonly handover: Handover | undefined;
    }
  | { readonly type: 'handed-over' }
  | { readonly type: 'not-handed-over' }
  | { readonly type: 'fenced' }
  | { readonly type: 'promoted'; readonly proved: number }
  | { readonly type: 'target-lost'; readonly code: string }
  | { readonly type: 'published'; readonly recoveryTimeMs: number };

/** More often than captures and replications that were under way can end. */
const OVERTAKEN_MAX = 5;

export function decideFailover(state: FailoverState, event: FailoverEvent): Step<FailoverState, FailoverEffect> {
  if (state.phase === 'complete' || state.phase === 'aborted') return { state };
  if (event.type === 'failed') return abort(state, event.code, event.message);
  switch (state.phase) {
    case 'requested': {
      if (event.type !== 'surveyed') return { state, effect: { ...state, type: 'survey' } };
      const request = requestOf(state);
      const { active } = event.survey;
      if (active !== request.from)
        return abort(state, 'FAILOVER_REFUSED', `site ${active} is now active, not site ${request.from}`);
      const plan = planFailover(request, event.survey);
      if (plan.obstacle !== undefined)
        return abort(state, plan.needs === undefined ? 'FAILOVER_REFUSED' : 'APPROVAL_REQUIRED', plan.obstacle);
      const { canCatchUp, fetch, ...choice } = plan.choice;
      const chosen: Chosen = { ...request, ...choice };
      if (fetch !== undefined)
        return { state: { ...chosen, fetch, phase: 'fetching' }, effect: { ...chosen, fetch, type: 'fetch' } };
      return canCatchUp
        ? { state: { ...chosen, phase: 'catching-up' }, effect: { ...chosen, type: 'catch-up' } }
        : issue({ ...chosen, unreachable: [] });
    }
    case 'fetching':
      // The target holds more by now, so the survey is repeated.
      if (event.type === 'fetched') return again(state, [state.fetch.newest]);
      if (event.type === 'target-lost' && state.wanted === '') return retarget(state, event.code);
      if (event.type === 'not-fetched' || event.type === 'target-lost')
        return {
          state: { ...aborted(state, 'FAILOVER_REFUSED', notFetched(state, event.code)), unfetched: state.fetch },
        };
      return { state, effect: { ...state, type: 'fetch' } };
    case 'catching-up':
      if (event.type !== 'caught-up') return { state, effect: { ...state, type: 'catch-up' } };
      // Service stops when the epoch is recorded, after hooks have been asked.
      return issue({
        ...state,
        generation: event.generation,
        lost: [],
        caughtUp: true,
        outageStartedMs: event.startedMs,
        unreachable: [],
      });
    case 'issuing': {
      if (event.type === 'target-lost') return retarget(state, event.code);
      if (event.type === 'overtaken') return again(state, event.generations);
      if (event.type !== 'issued') return { state, effect: { ...state, type: 'issue-epoch' } };
      const { isOldActiveFenced, issuedMs, generation, lost, handover } = event;
      const { unreachable, phase, ...rest } = state;
      const chosen: Chosen = {
        ...rest,
        generation,
        lost,
        ...(state.caughtUp === true ? { outageStartedMs: issuedMs } : {}),
      };
      if (handover === undefined) return isOldActiveFenced ? promote(chosen) : awaitFence(chosen);
      const handing: HandingOver = { ...chosen, handover, isOldActiveFenced };
      return { state: { ...handing, phase: 'handing-over' }, effect: { ...handing, type: 'hand-over' } };
    }
    case 'handing-over': {
      if (event.type === 'target-lost') return retarget(state, event.code);
      const { phase, handover, isOldActiveFenced, ...chosen } = state;
      const { newest } = handover;
      // Issue again, because that asks the target once more what it holds.
      if (event.type === 'not-handed-over') return issue({ ...chosen, unreachable: [newest] });
      if (event.type !== 'handed-over') return { state, effect: { ...state, type: 'hand-over' } };
      const lost = chosen.lost.filter((generation) => isNewer(generation, newest));
      const caughtUp: Chosen = { ...chosen, generation: newest, lost };
      return isOldActiveFenced ? promote(caughtUp) : awaitFence(caughtUp);
    }
    case 'fencing':
      return event.type === 'fenced' ? promote(state) : awaitFence(state);
    case 'promoting':
      if (event.type === 'target-lost') return retarget(state, event.code);
      if (event.type !== 'promoted') return promote(state);
      return {
        state: { ...state, phase: 'publishing', proved: event.proved },
        effect: { ...state, type: 'publish', proved: event.proved },
      };
    case 'publishing':
      if (event.type !== 'published') return { state, effect: { ...state, type: 'publish', proved: state.proved } };
      return { state: { ...state, phase: 'complete', recoveryTimeMs: event.recoveryTimeMs } };
  }
}

function issue(chosen: Issuing): Step<FailoverState, FailoverEffect> {
  return { state: { ...chosen, phase: 'issuing' }, effect: { ...chosen, type: 'issue-epoch' } };
}

function awaitFence(chosen: Chosen): Step<FailoverState, FailoverEffect> {
  return { state: { ...chosen, phase: 'fencing' }, effect: { ...chosen, type: 'await-fence' } };
}

function promote(chosen: Chosen): Step<FailoverState, FailoverEffect> {
  return { state: { ...chosen, phase: 'promoting' }, effect: { ...chosen, type: 'promote' } };
}

function abort(state: Request, code: string, message: string): Step<FailoverState, FailoverEffect> {
  return { state: aborted(state, code, message) };
}

const aborted = (state: Request, code: string, message: string) =>
  ({ ...requestOf(state), phase: 'aborted', code, message }) as const;

function notFetched({ fetch: { newest, holders }, to }: Fetching, code: string): string {
  return `site ${to} could not get ${numbersOf([newest])} from site ${holders.join(', ')} (${code}), and nobody accepted its loss; nothing was changed`;
}

/** Nothing was changed yet: the target catches up again, or another one is found. */
function again(state: Chosen, generations: readonly Held[]): Step<FailoverState, FailoverEffect> {
  const request: Request = { ...requestOf(state), overtaken: state.overtaken + 1 };
  if (request.overtaken > OVERTAKEN_MAX)
    return abort(
      request,
      'FAILOVER_REFUSED',
      generations.length === 0
        ? 'the members of the group were changed again and again; nothing else was changed'
        : `site ${state.to} has not caught up: the database now also has ${numbersOf(generations)}; nothing was changed`,
    );
  return { state: { ...request, phase: 'requested' }, effect: { ...request, type: 'survey' } };
}

/** The old active member is fenced by now, so whom the operator wanted counts less than that somebody serves. */
function retarget(state: Chosen, code: string): Step<FailoverState, FailoverEffect> {
  const excluded = [...state.excluded.filter(({ site }) => site !== state.to), { site: state.to, code }];
  // A switchover that has begun must end: its epoch is issued.
  const { planned: _planned, deadlineMs: _deadline, ...rest } = requestOf(state);
  const request: Request = { ...rest, wanted: '', excluded };
  return { state: { ...request, phase: 'requested' }, effect: { ...request, type: 'survey' } };
}

/** One that an older version has written lacks what was added since. */
function requestOf(state: Request): Request {
  const { from, wanted, acceptLoss, accepted = [], reason, outageStartedMs, excluded, overtaken = 0 } = state;
  const decided = {
    ...(state.ignoreVetoes === true ? { ignoreVetoes: true } : {}),
    ...(state.acceptedRefused === undefined ? {} : { acceptedRefused: state.acceptedRefused }),
    ...(state.planned === true ? { planned: true } : {}),
    ...(state.deadlineMs === undefined ? {} : { deadlineMs: state.deadlineMs }),
  };
  return { from, wanted, acceptLoss, accepted, reason, ...decided, outageStartedMs, excluded, overtaken };
}
