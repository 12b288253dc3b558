/**
 * One move of the active role, for whoever orders one: the plan with its consequences first, then a confirmation, then
 * the order for exactly what was shown.
 */
import type { Client, OperatorService, PlanFailoverResponse } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import {
  acceptedLosses,
  consequences,
  leftBehind,
  meaningOfAcceptance,
  refuseObstacle,
  takesAlong,
} from './consequences.ts';

type Operator = Pick<Client<typeof OperatorService>, 'planFailover' | 'getGroup' | 'failover'>;

export interface Move {
  readonly group: string;
  /** The site that was asked for; empty for the best one. */
  readonly to: string;
  /** A switchover: nothing is changed where anything would be lost. */
  readonly planned: boolean;
}

export interface PlannedMove extends Move {
  readonly plan: PlanFailoverResponse;
  /** The consequences, in sentences. */
  readonly lines: readonly string[];
  /** The meaning of an acceptance, where the move needs one; undefined otherwise. */
  readonly acceptance: string | undefined;
}

/** Changes nothing. @throws FAILOVER_REFUSED, APPROVAL_REQUIRED where it cannot be done now */
export async function planMove(operator: Operator, move: Move): Promise<PlannedMove> {
  const { group, to, planned } = move;
  const plan = await operator.planFailover({ group, toSite: to, planned });
  refuseObstacle(group, plan);
  const { group: state } = await operator.getGroup({ group });
  const along = state === undefined ? [] : [...leftBehind(state, plan, { planned }), ...takesAlong(state, plan.toSite)];
  return {
    ...move,
    plan,
    lines: [...consequences(group, plan), ...along],
    acceptance: plan.needsAcceptLoss ? meaningOfAcceptance(plan) : undefined,
  };
}

export interface Consent {
  readonly acceptLoss: boolean;
  readonly ignoreVetoes: boolean;
  /** Of a switchover; 0 for none. */
  readonly deadlineMs: number;
}

/** @throws FAILOVER_REFUSED if the move needs an acceptance that was not given */
export function requireAcceptance(
  { group, plan, acceptance }: PlannedMove,
  { acceptLoss }: Pick<Consent, 'acceptLoss'>,
) {
  if (acceptance === undefined || acceptLoss) return;
  throw new AntipodeError(
    'FAILOVER_REFUSED',
    `the failover of group ${group} to ${plan.toSite} needs --accept-loss, which was not given; nothing was changed`,
    {
      details: { group },
      hint: `Read above what the failover would do. To accept that, repeat the command with --accept-loss. ${acceptance}`,
    },
  );
}

/** Orders the move that was shown, with the losses that were shown. @returns the operation */
export function orderMove(operator: Operator, { group, to, planned, plan }: PlannedMove, consent: Consent) {
  const { acceptLoss, ignoreVetoes, deadlineMs } = consent;
  return operator.failover({
    group,
    // The one that was shown: another would be another consequence.
    toSite: plan.toSite === plan.fromSite ? to : plan.toSite,
    acceptLoss,
    acceptedLosses: acceptedLosses(plan, { acceptLoss }),
    acceptedRefusedObjects: acceptLoss ? plan.refusedObjects : 0,
    ignoreVetoes,
    planned,
    deadlineMs: BigInt(deadlineMs),
  });
}
