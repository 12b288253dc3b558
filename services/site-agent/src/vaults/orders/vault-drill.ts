/** A drill from a vault: the restored keys are compared with the generation that was backed up, and used. */

import { proofSummary } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { type CopyProof, proveCopy } from '../copy-proof.ts';
import { toldBackup } from './told.ts';
import { arrived, type Response, type Work, withUnlike } from './work.ts';

export async function drill(work: Work): Promise<Response> {
  const { site, vault, fence, backup } = work;
  const { clock, trust } = site;
  const { group } = fence;
  site.authority.inForce(fence);
  const target = await vault.manifest(backup.of, (identity) => trust.find(group, identity) !== undefined);
  const startedMs = clock.monotonicMs();
  let proof: CopyProof | undefined;
  let [restoredMs, provedMs] = [startedMs, startedMs];
  const evidenceOf = (done: CopyProof) =>
    work.evidence(
      {
        backup: backup.name,
        generation: backup.of,
        contentDigest: target.contentDigest,
        scratch: { serial: vault.scratch?.serial ?? '' },
        objects: {
          expected: target.generation.entries.length,
          proved: done.proof.proved,
          failed: done.proof.failed,
          failedIds: done.proof.failedObjectIds,
          missingIds: done.missing,
          altered: done.altered.length,
          usesNotExercised: done.proof.usesNotExercised,
        },
        times: { restoreMs: Math.round(restoredMs - startedMs), proveMs: Math.round(provedMs - restoredMs) },
      },
      done.signer,
    );
  let signed: Awaited<ReturnType<typeof evidenceOf>> | undefined;
  const report = await vault.withScratch((scratch, config) =>
    vault.withPasswords(({ backup: password }) => {
      site.authority.inForce(fence);
      return vault.driver.drillVault(
        {
          from: { vault: vault.address, partition: backup.name, password },
          scratch,
          prove: async () => {
            restoredMs = clock.monotonicMs();
            await proveCopy(site, { config, target, serial: scratch.address.serial, of: work.serial }, async (done) => {
              provedMs = clock.monotonicMs();
              proof = done;
              // While the partition is open: the copy of the identity may be the only one that is left.
              signed = await evidenceOf(done);
            });
            const { failed } = withUnlike(proof);
            if (failed > 0)
              throw new AntipodeError(
                'OBJECT_UNPROVEN',
                `${failed} objects of the backup are missing, do not work, or have other attributes than in its generation`,
                {
                  details: { group, objects: failed },
                },
              );
          },
        },
        [{ action: 'clear', target: scratch.address }],
      );
    }),
  );
  const endedMs = clock.monotonicMs();
  const failure = report.failure === undefined ? undefined : AntipodeError.from(report.failure);
  // A session that is lost says nothing of the keys: the order fails, and is ordered again.
  if (failure !== undefined && failure.disposition !== 'operator') throw failure;
  const isClean = report.cleared?.verdict === 'gone';
  site.log.at(report.verdict === 'proved' ? 'info' : 'error', 'drill from the vault', {
    group,
    vault: vault.settings.name,
    request: fence.requestId,
    backup: backup.name,
    verdict: report.verdict,
    clean: isClean,
    ...(failure === undefined ? {} : { error: failure }),
  });
  return {
    backup: toldBackup(backup),
    verdict: report.verdict,
    why: report.verdict === 'not restored' ? (report.restored.why ?? report.restored.verdict) : (failure?.code ?? ''),
    movedObjects: arrived(report.restored),
    expectedObjects: report.restored.objects.length,
    proof: proofSummary(withUnlike(proof)),
    times: {
      pullMs: 0,
      restoreMs: Math.round(restoredMs - startedMs),
      proveMs: Math.round(provedMs - restoredMs),
      cleanMs: Math.round(endedMs - provedMs),
    },
    isClean,
    ...(signed ?? (await work.evidence({ backup: backup.name, generation: backup.of, verdict: report.verdict }))),
  };
}
