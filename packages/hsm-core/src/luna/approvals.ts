/** Orders that people have approved. Nothing that destroys objects is typed without one that names exactly its target. */
import { AntipodeError, canonicalJson } from '@antipode/runtime';

/** A partition, by what stays the same: its number in a list of slots does not. */
export interface PartitionAddress {
  readonly serial: string;
  readonly label: string;
}

export type ApprovedOrder =
  | { readonly action: 'clear'; readonly target: PartitionAddress }
  | { readonly action: 'delete backup'; readonly target: PartitionAddress; readonly partition: string }
  /** Takes a device in factory state into use, under this label. */
  | { readonly action: 'prepare vault'; readonly target: PartitionAddress }
  /** Deletes backups that this agent made: all but the newest `keep` complete ones. */
  | { readonly action: 'expire own backups'; readonly target: PartitionAddress; readonly keep: number };

/** @throws LUNA_NOT_APPROVED */
export function requireApproval(order: ApprovedOrder, approvals: readonly ApprovedOrder[]): void {
  if (isApproved(order, approvals)) return;
  throw new AntipodeError('LUNA_NOT_APPROVED', `nobody has approved to ${order.action} here`, {
    details: { serial: order.target.serial },
  });
}

export const isApproved = (order: ApprovedOrder, approvals: readonly ApprovedOrder[]): boolean =>
  approvals.some((one) => canonicalOrder(one) === canonicalOrder(order));

/** One text for one order, whatever the order of its fields. */
export function canonicalOrder(order: ApprovedOrder): string {
  const { serial, label } = order.target;
  // Fields by name: an order that was read from a file can have more of them.
  const target = { serial, label };
  const { action } = order;
  if (action === 'delete backup') return canonicalJson({ action, target, partition: order.partition });
  if (action === 'expire own backups') return canonicalJson({ action, target, keep: order.keep });
  return canonicalJson({ action, target });
}
