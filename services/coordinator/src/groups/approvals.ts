/**
 * The part of the coordinator in approvals. It knows which sites guard a group, by their own word, and which approvals
 * are on record. It carries approvals to agents, and asks people for those that are missing. It decides nothing: an
 * agent that guards its actions would not believe it.
 */

import type { OrderApprovalsSchema } from '@antipode/protocol';
import {
  APPROVAL_SKEW_MS,
  type ApprovalRequest,
  type DescribeResponse,
  type GuardedAction,
  parseApprovalBytes,
} from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Group, Seat } from '../model.ts';
import type { SiteView } from '../sites/detector.ts';
import type { Read } from '../store/store.ts';
import { type ApprovalRecord, readApprovals } from '../store/tables/approvals.ts';

/** As many as an agent takes with an order. */
const APPROVALS_MAX = 16;

/** Signatures that a site requires in a group; 0 if it guards nothing. */
export function requiredAt(state: Partial<Pick<DescribeResponse, 'approvalRules'>> | undefined, group: string): number {
  const rules = state?.approvalRules ?? [];
  return (rules.find((one) => one.group === group) ?? rules.find((one) => one.group === ''))?.required ?? 0;
}

/** Whether any site of the group guards it, or may: a new leader has not heard the rules of every site yet. */
export function isGuarded(
  { spec, members, joining }: Pick<Group, 'spec' | 'members' | 'joining'>,
  view: (site: string) => SiteView | undefined,
): boolean {
  const sites = [
    ...members,
    ...joining,
    ...spec.scratch,
    ...(spec.distributor === undefined ? [] : [spec.distributor]),
  ];
  return sites.some(({ site }) => {
    const state = view(site)?.state;
    return state === undefined || requiredAt(state, spec.name) > 0;
  });
}

/** Approvals that an order may carry: those of the group that have not expired, newest first. */
export const readUsable = (db: Read, group: string, nowMs: number): Promise<ApprovalRecord[]> =>
  readApprovals(db, { group, endAfterMs: nowMs - APPROVAL_SKEW_MS, limit: APPROVALS_MAX });

/** As an order carries them. Undefined for none. */
export function orderApprovals(
  records: readonly ApprovalRecord[],
  operationId: string,
): MessageInitShape<typeof OrderApprovalsSchema> | undefined {
  if (records.length === 0) return undefined;
  return {
    operationId,
    approvals: records.map(({ request, signatures }) => ({
      request: new Uint8Array(Buffer.from(request)),
      signatures: signatures.map(({ operator, signature }) => ({ operator, signature })),
    })),
  };
}

/** The requests of approvals on record. */
export const requestsOf = (records: readonly ApprovalRecord[]): ApprovalRequest[] =>
  records.map(({ request }) => parseApprovalBytes(Buffer.from(request)));

/** Whether one of them is for this action at this partition. The limits of a failover are looked at elsewhere. */
export function isCovered(
  requests: readonly ApprovalRequest[],
  { action, seat, epoch }: { action: GuardedAction; seat: Seat; epoch: bigint },
): boolean {
  return requests.some(
    (request) =>
      [action, 'break-glass'].includes(request.action) &&
      request.partitions.some(({ site, serial }) => site === seat.site && serial === seat.serial) &&
      epoch >= BigInt(request.epochs.from) &&
      epoch <= BigInt(request.epochs.to),
  );
}

/** Asked before anything is changed: the agent of the site would refuse. */
export const approvalMissing = (group: string, { site, serial }: Seat, action: GuardedAction): AntipodeError =>
  new AntipodeError(
    'APPROVAL_REQUIRED',
    `site ${site} guards group ${group}, and no approval on record allows the action ${action} for partition ${serial}`,
    { details: { group, site, action } },
  );
