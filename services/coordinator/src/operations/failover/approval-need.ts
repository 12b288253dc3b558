/**
 * Whether the agent of a target that guards its group will ask for an approval. The agent finds that out by itself, right
 * before the promotion (site-agent/src/approvals/promotion-guard.ts). By then the old active member is fenced. So the
 * coordinator looks before it changes anything, by the same rules. Pure.
 */
import { type ApprovalRequest, isNewer } from '@antipode/protocol';
import { isCovered } from '../../groups/approvals.ts';
import type { Candidate, Held, Survey } from './plan.ts';

export interface ApprovalNeed {
  readonly site: string;
  readonly serial: string;
  readonly epoch: bigint;
  /** Generations that a reachable member has and the target does not. */
  readonly loses: bigint;
  /** Members that may hold more, and cannot be asked. */
  readonly silent: readonly string[];
  readonly required: number;
}

export interface Promotion {
  readonly target: Candidate;
  readonly epoch: bigint;
  /** The newest generation that the target holds by then. */
  readonly holds: Held | undefined;
  /** The site that captured it. */
  readonly source: string | undefined;
}

/** Undefined if the agent needs no approval, or one on record will do. */
export function approvalNeed(
  { target, epoch, holds, source }: Promotion,
  { reachable, members = [] }: Pick<Survey, 'reachable' | 'members'>,
): ApprovalNeed | undefined {
  const { site, serial, approvalsRequired: required = 0, approvals = [] } = target;
  if (required === 0) return undefined;
  const others = reachable.filter((one) => one.site !== site);
  const ahead = others.flatMap(({ applied }) => (applied !== undefined && isNewer(applied, holds) ? [applied] : []));
  const number = holds?.number ?? 0n;
  const loses = ahead.reduce((most, one) => max(most, max(1n, one.number - number)), 0n);
  // The journal of one in quarantine may have forgotten a generation.
  const isHeard = (name: string | undefined): boolean =>
    others.some(({ site: other, problem }) => other === name && problem !== 'SITE_QUARANTINED');
  const isWhole = holds !== undefined && isHeard(source) && epoch === holds.epoch + 1n;
  const silent = isWhole ? [] : members.filter((name) => name !== site && name !== source && !isHeard(name));
  if (loses === 0n && silent.length === 0) return undefined;
  const need = { site, serial, epoch, loses, silent, required };
  return approvals.some(
    (request) => isCovered([request], { action: 'failover', seat: target, epoch }) && allows(request, need, number),
  )
    ? undefined
    : need;
}

function allows({ action, limits }: ApprovalRequest, { loses, silent }: ApprovalNeed, number: bigint): boolean {
  if (action === 'break-glass') return true;
  return (
    loses <= BigInt(limits.losesAtMost) &&
    number >= BigInt(limits.keepsGeneration) &&
    silent.every((name) => limits.withoutHearing.includes(name))
  );
}

export function needsApproval({ site, loses, silent, required }: ApprovalNeed): string {
  const why = [
    ...(loses > 0n ? [`it loses ${loses} ${loses === 1n ? 'generation' : 'generations'} that another member has`] : []),
    ...(silent.length > 0 ? [`site ${silent.join(', ')} cannot be asked what it holds`] : []),
  ];
  return `site ${site} guards the group, and its promotion needs the approval of ${required} operators: ${why.join('; ')}`;
}

const max = (one: bigint, other: bigint): bigint => (one > other ? one : other);
