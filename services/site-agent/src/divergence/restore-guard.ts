/** Objects that come into the token of an active member need an approval that names them, where the site guards that. */
import type { Approvals } from '../approvals/approvals.ts';

/** @throws APPROVAL_REQUIRED and the other codes of an approval */
export function guardRestore(
  { approvals, name }: { approvals: Pick<Approvals, 'use'>; name: string },
  {
    fence: { group, epoch, approvals: given },
    serial,
    objects,
  }: {
    fence: { group: string; epoch: bigint; approvals?: Parameters<Approvals['use']>[1] };
    serial: string;
    objects: readonly string[];
  },
): void {
  approvals.use(
    {
      action: 'restore',
      group,
      epoch,
      partition: { site: name, serial },
      scope: `restore ${[...objects].sort().join(' ')}`,
      what: `the restore of ${objects.length} objects into partition ${serial}`,
      beyond: (request) => {
        const other = objects.find((objectId) => !request.objects.includes(objectId));
        return other === undefined ? undefined : `it does not name object ${other}`;
      },
    },
    given,
  );
}
