/**
 * A restore into production: approved where operators guard the group, after a preflight, and after a backup of what is
 * there. Nothing is cleared or replaced.
 */
import { type ApprovalRequest, proofSummary } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { type CopyProof, proveCopy } from '../copy-proof.ts';
import { toldBackup } from './told.ts';
import { arrived, type Response, type Work, withMissing } from './work.ts';

/** More backups than a vault holds: this order removes none. */
const KEEP_ALL = 100;

export async function restore(work: Work): Promise<Response> {
  const { site, vault, request, fence, serial, backup } = work;
  const { group, epoch, approvals, requestId } = fence;
  site.authority.asMember({ ...fence, serial });
  const target = await vault.manifest(backup.of, (identity) => site.trust.find(group, identity) !== undefined);
  const demand = {
    action: 'restore-backup',
    group,
    epoch,
    partition: { site: site.name, serial },
    scope: `archive ${vault.settings.serial} ${backup.name}`,
    what: `the restore of backup ${backup.name} into partition ${serial}`,
    beyond: ({ objects }: ApprovalRequest) =>
      objects.includes(backup.of.digest)
        ? undefined
        : `it does not name the generation of the backup, ${backup.of.digest.slice(0, 16)}...`,
  } as const;
  site.approvals.find(demand, approvals);
  const rows = await vault.driver.compareEnds({
    move: 'restore',
    from: vault.address,
    to: vault.source,
    archive: backup.name,
  });
  const failing = rows.filter(({ verdict }) => verdict === 'will fail');
  if (failing.length > 0)
    throw new AntipodeError('LUNA_REFUSED', `this restore will fail: ${failing.map(({ rule }) => rule).join(', ')}`, {
      details: { serial, found: failing[0]!.found },
      hint: `${failing[0]!.advice} Nothing was changed.`,
    });
  const { safety, report } = await vault.withPasswords(async ({ vault: officer, source, backup: password }) => {
    const { objects } = await vault.driver.contents(vault.source, source.login);
    let safety = '';
    if (objects.length > 0) {
      const order = { source, vault: officer, password, keep: KEEP_ALL, series: `${group} before a restore` };
      const kept = await vault.driver.keepBackups(order, []);
      safety = kept.name;
      if (kept.backup.verdict !== 'complete')
        throw new AntipodeError(
          'LUNA_REFUSED',
          `what is in the partition could not be backed up first: ${kept.backup.verdict} (${kept.backup.why ?? 'no reason'})`,
          {
            details: { serial },
            hint: 'Make room in the vault, or find out why the backup fails. Nothing was restored.',
          },
        );
    }
    // The last moment before something changes: the approval is used up, and the tenure holds.
    site.authority.asMember({ ...fence, serial });
    site.approvals.use(demand, approvals);
    const from = { vault: vault.address, partition: backup.name, password };
    return { safety, report: await vault.driver.restore({ from, target: source }) };
  });
  let proof: CopyProof | undefined;
  let signed: Awaited<ReturnType<Work['evidence']>> | undefined;
  const evidenceOf = (done: CopyProof | undefined) =>
    work.evidence(
      {
        backup: backup.name,
        generation: backup.of,
        safetyBackup: safety,
        verdict: report.verdict,
        why: report.why ?? '',
        objects: {
          expected: report.objects.length,
          arrived: arrived(report),
          proved: done?.proof.proved ?? 0,
          missingIds: done?.missing ?? [],
          altered: done?.altered.length ?? 0,
        },
      },
      done?.signer,
    );
  // Whatever the tool reported: what is there now is shown by use.
  await proveCopy(site, { config: vault.sourceConfig, target, serial, of: serial }, async (done) => {
    proof = done;
    signed = await evidenceOf(done);
  }).catch((thrown: unknown) => {
    const error = AntipodeError.from(thrown);
    if (error.disposition === 'defect') throw thrown;
    site.log.error('what was restored cannot be proved', { group, error });
  });
  site.log.warn('restored from the vault into production', {
    group,
    vault: vault.settings.name,
    request: requestId,
    order: request.archiveId,
    backup: backup.name,
    verdict: report.verdict,
    why: report.why ?? '',
    objects: arrived(report),
    expected: report.objects.length,
  });
  return {
    backup: toldBackup(backup),
    verdict: report.verdict,
    why: report.why ?? '',
    movedObjects: arrived(report),
    expectedObjects: report.objects.length,
    proof: proofSummary(withMissing(proof)),
    safetyBackup: safety,
    ...(signed ?? (await evidenceOf(undefined))),
  };
}
