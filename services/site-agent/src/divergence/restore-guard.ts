/**
 * Objects that come into the token of an active member need an approval that names them, where the site guards that. The
 * same goes for a vault that is prepared.
 */
import type { Approvals } from '../approvals/approvals.ts';

/** @throws APPROVAL_REQUIRED and the other codes of an approval */
export function guardRestore(
  { approvals, name }: { approvals: Pick<Approvals, 'use'>; name: string },
  {
    fence: { group, epoch, approvals: given },
    serial,
    objects,
    action = 'restore',
  }: {
    fence: { group: string; epoch: bigint; approvals?: Parameters<Approvals['use']>[1] };
    serial: string;
    objects: readonly string[];
    action?: 'restore' | 'prepare-vault';
  },
): void {
  approvals.use(
    {
      action,
      group,
      epoch,
      partition: { site: name, serial },
      scope: `${action} ${[...objects].sort().join(' ')}`,
      what:
        action === 'restore'
          ? `the restore of ${objects.length} objects into partition ${serial}`
          : `the preparation of a vault for partition ${serial}`,
      beyond: (request) => {
        const other = objects.find((objectId) => !request.objects.includes(objectId));
        return other === undefined ? undefined : `it does not name object ${other}`;
      },
    },
    given,
  );
}
