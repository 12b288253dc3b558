/** A backup of the partition that a vault is for. The site has approved what it deletes, by its configuration. */
import { AntipodeError } from '@antipode/runtime';
import { newestHere, refusedAt } from '../../site.ts';
import { toldBackup } from './told.ts';
import { arrived, type Response, type Work } from './work.ts';

export async function backUp(work: Work): Promise<Response> {
  const { site, vault, request, fence, serial } = work;
  const { group } = fence;
  const seat = site.authority.asMember({ ...fence, serial });
  const newest = await newestHere(site, seat);
  if (newest === undefined)
    throw new AntipodeError('GENERATION_UNKNOWN', `no generation describes the partition of group ${group} yet`, {
      details: { group, serial },
      hint: `Run \`antipode replicate ${group}\` first: a backup is proved by a generation.`,
    });
  const sealed = await site.store.open(newest.digest);
  vault.keepManifest(sealed);
  const of = {
    group,
    epoch: sealed.generation.epoch.toString(),
    number: sealed.generation.number.toString(),
    digest: sealed.digest,
  };
  // The floor is in the site's own configuration: no order lowers it.
  const keep = Math.max(vault.settings.keep, request.keep);
  // Keys that this member could not restore are not missed.
  const refused = refusedAt(site, seat);
  const needed = sealed.generation.entries
    .filter(({ objectId }) => !refused.has(objectId))
    .map(({ attributes: { label } }) => Buffer.from(label ?? new Uint8Array()).toString('utf8'));
  const report = await vault.withPasswords(({ backup: password, ...access }) => {
    // It waited for its turn, and a PIN file was read: the tenure may be over by now.
    site.authority.asMember({ ...fence, serial });
    return vault.driver.keepBackups({ ...access, password, keep, series: group, needed, about: JSON.stringify(of) }, [
      { action: 'expire own backups', target: vault.address, keep },
    ]);
  });
  vault.forgetManifests();
  const { backup, name, deleted } = report;
  const recorded = vault.backups().find((one) => one.name === name);
  site.log.at(backup.verdict === 'complete' ? 'info' : 'error', 'backup to the vault', {
    group,
    vault: vault.settings.name,
    request: fence.requestId,
    backup: name,
    verdict: backup.verdict,
    why: backup.why ?? '',
    objects: arrived(backup),
    expected: backup.objects.length,
  });
  return {
    backup: toldBackup(recorded ?? { name, atMs: work.startedMs, state: 'begun', of }),
    verdict: backup.verdict,
    why: backup.why ?? '',
    movedObjects: arrived(backup),
    expectedObjects: backup.objects.length,
    deleted: [...deleted],
    ...(await work.evidence({
      backup: name,
      generation: of,
      verdict: backup.verdict,
      why: backup.why ?? '',
      code: backup.code,
      objects: { expected: backup.objects.length, arrived: arrived(backup) },
      deleted,
    })),
  };
}
