/** Jobs that destroy objects: each needs an approval that names its target, and is verified right before it acts. */
import { type ApprovedOrder, requireApproval } from '../approvals.ts';
import { archiveDelete, archiveList, partitionClear } from '../commands.ts';
import type { Reply, UnknownWhy } from '../lunacm-session.ts';
import { vaultIn } from '../parse/archives.ts';
import { read, verify } from '../selection.ts';
import { inRun, type JobPorts } from './job-ports.ts';
import type { PartitionAccess } from './moving.ts';
import { orUnlisted, partitionObjects, vaultState } from './reading.ts';

export interface DestroyReport {
  /** `gone` only where the tool reports success and a list afterwards shows nothing. */
  readonly verdict: 'gone' | 'still there' | 'unknown';
  readonly why: UnknownWhy | 'declined' | 'refused' | undefined;
}

/** @throws LUNA_NOT_APPROVED, and what stops it before anything is destroyed */
export async function clear(
  target: PartitionAccess,
  approvals: readonly ApprovedOrder[],
  ports: JobPorts,
): Promise<DestroyReport> {
  requireApproval({ action: 'clear', target: target.address }, approvals);
  const { result, isSound } = await inRun('clear', ports, async (run) => {
    await run.select(target.address, 'partition');
    await run.logIn(target.login, target.address);
    await verify(run.session, target.address, { phrases: ports.phrases, shown: 'partition' });
    return run.session.run(partitionClear(true), { isApproved: true });
  });
  const left = await orUnlisted(
    partitionObjects(target.address, target.login, ports).then(({ objects }) => objects.length),
  );
  return reportOf(result, isSound, left);
}

/** @throws LUNA_NOT_APPROVED, and what stops it before anything is destroyed */
export async function deleteArchive(
  { vault, partition }: { vault: PartitionAccess; partition: string },
  approvals: readonly ApprovedOrder[],
  ports: JobPorts,
): Promise<DestroyReport> {
  requireApproval({ action: 'delete backup', target: vault.address, partition }, approvals);
  const { result, isSound } = await inRun('delete-archive', ports, async (run) => {
    const { slot } = await run.select(vault.address, 'device');
    vaultIn(await read(run.session, archiveList(slot.number)), ports.phrases);
    await run.logIn(vault.login, vault.address);
    await verify(run.session, vault.address, { phrases: ports.phrases, shown: 'device' });
    return run.session.run(archiveDelete({ slot: slot.number, partition }), { isApproved: true });
  });
  const left = await orUnlisted(
    vaultState(vault.address, ports).then(({ archives }) => archives.filter(({ name }) => name === partition).length),
  );
  return reportOf(result, isSound, left);
}

function reportOf(reply: Reply, isSound: boolean, left: number | undefined): DestroyReport {
  const why =
    reply.outcome === 'done'
      ? undefined
      : reply.outcome === 'failed'
        ? 'refused'
        : reply.outcome === 'declined'
          ? 'declined'
          : reply.why;
  if (left === undefined) return { verdict: 'unknown', why };
  if (left > 0) return { verdict: 'still there', why };
  return why === undefined && isSound ? { verdict: 'gone', why } : { verdict: 'unknown', why };
}
