/**
 * Starts a failover that an operator has ordered. If another one is under way with other options, the new order
 * replaces it or is refused. It is never ignored.
 */
import { AntipodeError, type Clock, type Log } from '@antipode/runtime';
import { activeOf, type Group, isSettled } from '../../model.ts';
import type { Detector } from '../../sites/detector.ts';
import { endIntent, type Intent, readOpenIntents } from '../../store/tables/intents.ts';
import type { Changes } from '../changes.ts';
import type { Reconciler } from '../reconciler.ts';
import { type Held, isSame, type Request } from './plan.ts';

export interface FailoverOrder {
  /** Empty for the best. */
  readonly toSite: string;
  readonly acceptLoss: boolean;
  readonly accepted: readonly Held[];
  readonly acceptedRefused?: number;
  readonly ignoreVetoes: boolean;
  /** A switchover. */
  readonly planned?: boolean;
  readonly deadlineMs?: number;
  /** The person who gave the order. */
  readonly operator: string;
}

export interface FailoverPorts {
  readonly reconciler: Pick<Reconciler, 'intend'>;
  readonly detector: Pick<Detector, 'isUp' | 'view'>;
  readonly changes: Changes;
  readonly clock: Clock;
  readonly log: Log;
}

/** @throws REQUEST_INVALID, GROUP_BUSY where the one that is under way is about to be in force */
export async function startFailover(
  { reconciler, detector, changes, clock, log }: FailoverPorts,
  group: Group,
  order: FailoverOrder,
): Promise<{ operationId: string; replacedOperationId: string }> {
  const { name } = group.spec;
  const { toSite, acceptLoss, accepted, acceptedRefused = 0, ignoreVetoes } = order;
  const { planned = false, deadlineMs = 0, operator } = order;
  requireTarget(group, toSite);
  const from = activeOf(group)?.site ?? '';
  const state = {
    phase: 'requested',
    from,
    wanted: toSite,
    acceptLoss,
    accepted,
    ...(acceptedRefused > 0 ? { acceptedRefused } : {}),
    reason: 'operator',
    ignoreVetoes,
    ...(planned ? { planned } : {}),
    ...(planned && deadlineMs > 0 ? { deadlineMs } : {}),
    // A site that is lost stopped serving when it was last heard, not when somebody gave the order.
    outageStartedMs: (detector.isUp(from) ? undefined : detector.view(from)?.lastWallMs) ?? clock.wallMs(),
    excluded: [],
    overtaken: 0,
  };
  let replaced: Intent | undefined;
  const { id } = await reconciler.intend(
    { kind: 'failover', group: name, site: '', state, trace: {} },
    async (trx, record) => {
      const [open] = (await readOpenIntents(trx, { group: name })).filter(({ kind }) => kind === 'failover');
      if (open === undefined || (!isStuck(open) && isCovered(order, open))) return true;
      if (planned) refuseBeside(open);
      refuseEnding(open);
      const hasEnded = await endIntent(trx, open, { status: 'cancelled', from: ['open', 'parked'] }, clock.wallMs());
      if (!hasEnded) refuseEnding({ ...open, state: { ...open.state, phase: 'publishing' } });
      record({
        kind: 'failover-replaced',
        group: name,
        details: { intent: open.id, phase: open.state.phase, operator },
      });
      replaced = open;
      return true;
    },
  );
  if (replaced !== undefined) {
    log.warn('an operator replaced a failover', { group: name, replaced: replaced.id, by: id, operator });
    changes.announce(replaced.id);
  }
  return { operationId: id, replacedOperationId: replaced?.id ?? '' };
}

/**
 * Refuses a site that cannot be the target of a failover. Such a mistake must not lead an operator to accept a loss.
 * @throws REQUEST_INVALID if the site is not a member, or is active already
 */
export function requireTarget(group: Group, site: string): void {
  if (site === '') return;
  const { name } = group.spec;
  const details = { field: 'to_site', group: name, site };
  if (!group.members.some((member) => member.site === site)) {
    const members = group.members.map((member) => member.site).join(', ');
    throw new AntipodeError(
      'REQUEST_INVALID',
      `site ${site} has no seat in group ${name}, expected one of: ${members}`,
      {
        details,
      },
    );
  }
  // A failover that did not end well has fenced it: then it may be the one to serve again.
  if (site === activeOf(group)?.site && isSettled(group))
    throw new AntipodeError('REQUEST_INVALID', `site ${site} is already active`, {
      details,
      hint: `Nothing to do: group ${name} is at site ${site}. Name a standby to move it.`,
    });
}

/** The fields of a failover that are looked at here, in whatever phase it is. */
type UnderWay = Intent['state'] & Partial<Request> & { readonly to?: string };

/** This coordinator cannot continue it. An order that joined it would not begin either. */
const isStuck = ({ status, errorCode }: Intent): boolean => status === 'parked' && errorCode === 'OPERATION_STUCK';

/** Whether the one that is under way does all that is ordered: then the order joins it. */
function isCovered(order: FailoverOrder, open: Intent): boolean {
  const { toSite, acceptLoss, accepted, acceptedRefused = 0, ignoreVetoes, planned = false, deadlineMs = 0 } = order;
  const state: UnderWay = open.state;
  const target = state.to ?? state.wanted ?? '';
  const isAccepted = accepted.every((one) => (state.accepted ?? []).some((other) => isSame(one, other)));
  return (
    (toSite === '' || toSite === target) &&
    (!acceptLoss || state.acceptLoss === true) &&
    acceptedRefused <= (state.acceptedRefused ?? 0) &&
    (!ignoreVetoes || state.ignoreVetoes === true) &&
    // A failover promises less than a switchover, and goes further.
    planned === (state.planned === true) &&
    (deadlineMs === 0 || state.deadlineMs === deadlineMs) &&
    isAccepted
  );
}

/** A switchover takes the place of no failover: that one is needed. @throws GROUP_BUSY */
function refuseBeside({ id, group, state }: Intent): void {
  if ((state as UnderWay).planned === true) return;
  throw new AntipodeError('GROUP_BUSY', `a failover of group ${group} is under way`, {
    details: { group, operation: id },
    hint: 'Run `antipode status` to see how far it is. Order the switchover when it has ended.',
  });
}

/** @throws GROUP_BUSY */
function refuseEnding({ id, group, state }: Intent): void {
  if (state.phase !== 'publishing') return;
  throw new AntipodeError('GROUP_BUSY', `the failover of group ${group} is about to end`, {
    details: { group, operation: id },
    hint: 'Run `antipode status` to see which site is active now. Order another failover only if it is still needed.',
  });
}
