/** Orders that people have approved. Nothing that destroys objects is typed without one that names exactly its target. */
import { AntipodeError } from '@antipode/runtime';

/** A partition, by what stays the same: its number in a list of slots does not. */
export interface PartitionAddress {
  readonly serial: string;
  readonly label: string;
}

export type ApprovedOrder =
  | { readonly action: 'clear'; readonly target: PartitionAddress }
  | { readonly action: 'delete backup'; readonly target: PartitionAddress; readonly partition: string };

/** @throws LUNA_NOT_APPROVED */
export function requireApproval(order: ApprovedOrder, approvals: readonly ApprovedOrder[]): void {
  if (approvals.some((one) => keyOf(one) === keyOf(order))) return;
  throw new AntipodeError('LUNA_NOT_APPROVED', `nobody has approved to ${order.action} here`, {
    details: { serial: order.target.serial },
  });
}

function keyOf(order: ApprovedOrder): string {
  const { serial, label } = order.target;
  return JSON.stringify([order.action, serial, label, order.action === 'clear' ? '' : order.partition]);
}
