/**
 * The part of the coordinator in approvals. It knows which sites guard a group, by their own word, and which approvals
 * are on record. It carries approvals to agents, and asks people for those that are missing. It decides nothing: an
 * agent that guards its actions would not believe it.
 */

import type { OrderApprovalsSchema } from '@antipode/protocol';
import {
  APPROVAL_SKEW_MS,
  type ApprovalRequest,
  type ApprovalRule,
  type DescribeResponse,
  type GuardedAction,
  isApprovalCurrent,
  parseApprovalBytes,
} from '@antipode/protocol';
import { AntipodeError, hasCode } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Group, Seat } from '../model.ts';
import type { SiteView } from '../sites/detector.ts';
import type { Read } from '../store/store.ts';
import { type ApprovalRecord, readApprovals, readApprovalUses } from '../store/tables/approvals.ts';

/** As many as an agent takes with an order. */
const APPROVALS_MAX = 16;

type Rules = Partial<Pick<DescribeResponse, 'approvalRules'>> | undefined;

/** The rule of a site for a group; undefined if it guards nothing. */
export function ruleAt(state: Rules, group: string): ApprovalRule | undefined {
  const rules = state?.approvalRules ?? [];
  return rules.find((one) => one.group === group) ?? rules.find((one) => one.group === '');
}

/** Signatures that a site requires in a group; 0 if it guards nothing. */
export const requiredAt = (state: Rules, group: string): number => ruleAt(state, group)?.required ?? 0;

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

/** An act that agents guard. */
export type GuardedAct = Exclude<GuardedAction, 'break-glass'>;

/** The actions of approvals that may cover an act. */
export const coveringActions = (act: GuardedAct): readonly GuardedAction[] => [act, 'break-glass'];

/**
 * Approvals that an order of one kind may carry: those of the group that cover it and count at this time, newest first.
 * People write their dates by the clock on the wall, and agents read them so. An order has room for few, and those of
 * other acts must not take it: the approval for the night was submitted long before.
 *
 * The target of a failover asks all members whether another operation has used the approval. So one that any site has
 * used is left out, unless it was for this operation. For all other acts, each site uses an approval for itself.
 */
export async function readUsable(
  db: Read,
  {
    group,
    act,
    calendarMs,
    operation = '',
  }: { group: string; act: GuardedAct; calendarMs: number; operation?: string | undefined },
): Promise<ApprovalRecord[]> {
  const endAfterMs = calendarMs - APPROVAL_SKEW_MS;
  const records = await readApprovals(db, { group, actions: coveringActions(act), endAfterMs });
  const uses = act === 'failover' && records.length > 0 ? await readApprovalUses(db, { group }) : [];
  const used = new Set(uses.filter((use) => use.operation !== operation).map(({ digest }) => digest));
  return records
    .filter(({ digest, request }) => !used.has(digest) && isCurrent(request, calendarMs))
    .slice(0, APPROVALS_MAX);
}

/** False too for one that another release has written, and that cannot be read here: it must not keep orders from leaving. */
function isCurrent(text: string, nowMs: number): boolean {
  try {
    return isApprovalCurrent(parsed(text), nowMs);
  } catch (thrown) {
    if (hasCode(thrown, 'APPROVAL_INVALID')) return false;
    throw thrown;
  }
}

const parsed = (text: string): ApprovalRequest => parseApprovalBytes(Buffer.from(text));

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

/**
 * The requests of approvals on record that enough operators of a site have signed, beside the requester. By their names:
 * only the agent knows their keys. One signature too few must be noticed before anybody is fenced.
 */
export function requestsFor(
  records: readonly ApprovalRecord[],
  { required, breakGlass, operators }: Pick<ApprovalRule, 'required' | 'breakGlass' | 'operators'>,
): ApprovalRequest[] {
  return records.flatMap(({ request: text, signatures }) => {
    const request = parsed(text);
    const signed = new Set(signatures.map(({ operator }) => operator).filter((name) => operators.includes(name)));
    const needed = Math.max(request.required, request.action === 'break-glass' ? breakGlass : required);
    return signed.delete(request.requestedBy) && signed.size >= needed ? [request] : [];
  });
}

/** An approval on record with too few signatures: people wait for people. */
export interface WaitingApproval {
  readonly digest: string;
  readonly group: string;
  readonly action: string;
  readonly requestedBy: string;
  readonly missing: number;
}

/** None where enough have signed for every site that it names, or where it does not count at this time. */
export function missingSignatures(
  { digest, request: text, signatures }: Pick<ApprovalRecord, 'digest' | 'request' | 'signatures'>,
  view: (site: string) => SiteView | undefined,
  nowMs: number,
): WaitingApproval[] {
  if (!isCurrent(text, nowMs)) return [];
  const { group, action, requestedBy, required, partitions } = parsed(text);
  const missing = partitions.map(({ site }) => {
    const rule = ruleAt(view(site)?.state, group);
    if (rule === undefined) return 0;
    const signed = new Set(signatures.map(({ operator }) => operator).filter((name) => rule.operators.includes(name)));
    const ofRequester = signed.delete(requestedBy) ? 0 : 1;
    const needed = Math.max(required, action === 'break-glass' ? rule.breakGlass : rule.required);
    return ofRequester + Math.max(0, needed - signed.size);
  });
  const most = Math.max(0, ...missing);
  return most === 0 ? [] : [{ digest, group, action, requestedBy, missing: most }];
}

/** Whether one of them is for this action at this partition. The limits of a failover are looked at elsewhere. */
export function isCovered(
  requests: readonly ApprovalRequest[],
  { action, seat, epoch }: { action: GuardedAct; seat: Seat; epoch: bigint },
): boolean {
  return requests.some(
    (request) =>
      coveringActions(action).includes(request.action) &&
      request.partitions.some(({ site, serial }) => site === seat.site && serial === seat.serial) &&
      epoch >= BigInt(request.epochs.from) &&
      epoch <= BigInt(request.epochs.to),
  );
}

/** Asked before anything is changed: the agent of the site would refuse. */
export const approvalMissing = (group: string, { site, serial }: Seat, action: GuardedAction): AntipodeError =>
  new AntipodeError(
    'APPROVAL_REQUIRED',
    `site ${site} guards group ${group}, and no approval on record with enough signatures allows the action ${action} for partition ${serial}`,
    { details: { group, site, action } },
  );
