/**
 * Judges the approvals that come with an order, and uses one of them (I12). It goes by this site's configuration, clock
 * and journal, and by nothing that a coordinator says. The use of an approval is durable before the order acts.
 */
import {
  type ApprovalRequest,
  type GuardedAction,
  type OrderApprovals,
  parseApprovalBytes,
  type SignedApproval,
  type VerifiedApproval,
  verifyApproval,
} from '@antipode/protocol';
import { AntipodeError, type Clock, type ErrorCode, type Log } from '@antipode/runtime';
import type { ApprovalRecords, EnrolledPartition } from '../storage/journal/approvals.ts';
import type { ApprovalRules } from './approval-rules.ts';

/** The act that an order asks for, as an approval must cover it. */
export interface Demand {
  readonly action: Exclude<GuardedAction, 'break-glass'>;
  readonly group: string;
  readonly epoch: bigint;
  /** The partition that acts. */
  readonly partition: { readonly site: string; readonly serial: string };
  /** The one act that the approval is used for within its operation. */
  readonly scope: string;
  /** For people, such as `the promotion of site b`. */
  readonly what: string;
  /** Why the limits of the approval do not allow it; undefined if they do. */
  readonly beyond?: (request: ApprovalRequest) => string | undefined;
}

export interface ApprovalsPorts {
  readonly rules: ApprovalRules;
  readonly records: Pick<ApprovalRecords, 'use' | 'record'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** An order brings the few that fit its action. */
export const APPROVALS_MAX = 16;

/** How far an approval came: the error of the one that came furthest is the most useful. */
const STAGES: readonly ErrorCode[] = [
  'APPROVAL_INVALID',
  'APPROVAL_MISMATCH',
  'APPROVAL_INSUFFICIENT',
  'APPROVAL_EXPIRED',
  'APPROVAL_USED',
];

type Given = Pick<OrderApprovals, 'operationId'> & { readonly approvals: readonly SignedApproval[] };

export class Approvals {
  readonly #ports: ApprovalsPorts;

  constructor(ports: ApprovalsPorts) {
    this.#ports = ports;
  }

  isGuarded(group: string): boolean {
    return this.#ports.rules.of(group) !== undefined;
  }

  /**
   * Uses an approval for the demand. Does nothing in a group that is not guarded.
   * @param options.enrols the partitions that the use enrols
   * @throws APPROVAL_REQUIRED, APPROVAL_INVALID, APPROVAL_MISMATCH, APPROVAL_INSUFFICIENT, APPROVAL_EXPIRED, APPROVAL_USED
   */
  use(
    demand: Demand,
    given: Given | undefined,
    { enrols = () => [] }: { enrols?: (request: ApprovalRequest) => readonly EnrolledPartition[] } = {},
  ): void {
    const found = this.find(demand, given);
    if (found !== undefined) this.spend(demand, { ...found, operation: given!.operationId, enrols });
  }

  /** The approval that covers the demand, and is not used yet. Undefined if nothing is guarded. @throws as {@link use} */
  find(demand: Demand, given: Given | undefined): VerifiedApproval | undefined {
    const policy = this.#ports.rules.of(demand.group);
    if (policy === undefined) return undefined;
    const { operationId: operation = '', approvals = [] } = given ?? {};
    if (approvals.length === 0)
      throw new AntipodeError(
        'APPROVAL_REQUIRED',
        `${demand.what} needs the approval of ${policy.required} operators at this site`,
        { details: { group: demand.group, action: demand.action, required: policy.required } },
      );
    if (operation === '' || approvals.length > APPROVALS_MAX)
      throw new AntipodeError('REQUEST_INVALID', `approvals need an operation, and are ${APPROVALS_MAX} at most`, {
        details: { field: 'fence.approvals' },
      });
    let furthest: AntipodeError | undefined;
    for (const approval of approvals) {
      try {
        const request = parseApprovalBytes(approval.request);
        requireCover(request, demand);
        const verified = verifyApproval(approval, policy, this.#ports.clock.wallMs());
        this.#requireUnused(demand, { ...verified, operation });
        return verified;
      } catch (thrown) {
        const error = AntipodeError.from(thrown);
        if (!STAGES.includes(error.code)) throw error;
        if (furthest === undefined || STAGES.indexOf(error.code) > STAGES.indexOf(furthest.code)) furthest = error;
      }
    }
    throw furthest!;
  }

  /** Durable on return. The same use again changes nothing. @throws APPROVAL_USED */
  spend(
    demand: Demand,
    {
      request,
      digest,
      approvedBy,
      operation,
      enrols = () => [],
    }: VerifiedApproval & {
      operation: string;
      enrols?: (request: ApprovalRequest) => readonly EnrolledPartition[];
    },
  ): void {
    const { records, clock, log } = this.#ports;
    const { group } = demand;
    const { nonce, requestedBy, action } = request;
    if (this.#requireUnused(demand, { request, digest, operation })) return;
    const scope = scopeOf(request, demand);
    const use = { nonce, digest, group, action, operation, scope, requestedBy, approvedBy, usedMs: clock.wallMs() };
    records.record(use, enrols(request));
    log.warn('approval used', {
      group,
      action,
      for: demand.what,
      approval: digest.slice(0, 16),
      operation,
      requestedBy,
      approvedBy: approvedBy.join(' '),
    });
  }

  /** Whether it was used before for exactly this. @throws APPROVAL_USED */
  #requireUnused(
    demand: Demand,
    { request, digest, operation }: Pick<VerifiedApproval, 'request' | 'digest'> & { operation: string },
  ): boolean {
    const before = this.#ports.records.use(request.nonce);
    if (before === undefined) return false;
    if (before.digest === digest && before.operation === operation && before.scope === scopeOf(request, demand))
      return true;
    throw usedBefore(digest, before.operation);
  }
}

/** A break glass holds for every act of its operation. */
const scopeOf = ({ action }: ApprovalRequest, { scope }: Demand): string => (action === 'break-glass' ? '' : scope);

export const usedBefore = (digest: string, operation: string): AntipodeError =>
  new AntipodeError('APPROVAL_USED', `approval ${digest.slice(0, 16)} was used before, for operation ${operation}`, {
    details: { digest, operation },
  });

/** @throws APPROVAL_MISMATCH */
function requireCover(request: ApprovalRequest, demand: Demand): void {
  const { action, group, epoch, partition, beyond } = demand;
  const { epochs } = request;
  const why =
    request.action !== action && request.action !== 'break-glass'
      ? `it is for the action ${request.action}, expected ${action}`
      : request.group !== group
        ? `it is for group ${request.group}, expected ${group}`
        : !request.partitions.some(({ site, serial }) => site === partition.site && serial === partition.serial)
          ? `it does not name partition ${partition.serial} of site ${partition.site}`
          : epoch < BigInt(epochs.from) || epoch > BigInt(epochs.to)
            ? `it is for epochs ${epochs.from} to ${epochs.to}, and the order has epoch ${epoch}`
            : request.action === 'break-glass'
              ? undefined
              : beyond?.(request);
  if (why === undefined) return;
  throw new AntipodeError('APPROVAL_MISMATCH', `the approval does not cover ${demand.what}: ${why}`, {
    details: { group, action, epoch },
  });
}
