/** Backups of the coordinator's database: taken while it runs, looked at, and put back. Run these beside the coordinator. */
import type { BackupManifest, Learned, LearnedGroup, RestorePlan } from '@antipode/coordinator';
import { processLog, systemClock, systemPrng } from '@antipode/runtime';
import type { Command } from 'commander';
import { confirm } from '../../confirm.ts';
import { command, JSON_OPTION } from '../../options/options.ts';
import { output, table } from '../../output.ts';

export const CONFIG_OPTION = ['-c, --config <file>', 'configuration of the coordinator', 'coordinator.yaml'] as const;

export const ports = () => ({ clock: systemClock, prng: systemPrng, log: processLog() });

/** The contents of a backup, for people. */
export function manifestText({ manifest, sha256 }: { manifest: BackupManifest; sha256: string }): string {
  const { coordinator, version, takenAt, term, schema, groups, sites, tables } = manifest;
  const rows = Object.values(tables).reduce((sum, one) => sum + one, 0);
  return [
    `coordinator ${coordinator} ${version}, ${takenAt}, term ${term}: ${rows} rows in ${Object.keys(tables).length} tables of schema ${schema}`,
    `sites: ${sites.join(', ') || 'none'}`,
    `SHA-256 ${sha256}`,
    ...(groups.length === 0
      ? ['no group']
      : [
          '',
          table(
            ['GROUP', 'EPOCH', 'OWNER', 'NEWEST GENERATION', 'MEMBERS'],
            groups.map(({ group, epoch, owner, generation, members }) => [
              group,
              epoch,
              owner || '-',
              generation,
              members.join(', '),
            ]),
          ),
        ]),
  ].join('\n');
}

/** The consequences of a restore, for the person who is about to order it. */
export function restoreConsequences({ movedTo, manifest }: RestorePlan): string[] {
  return [
    movedTo === undefined
      ? 'The backup goes into the empty database of `databaseUrl`.'
      : `The database of now is moved to ${movedTo}, and is not deleted.`,
    `Changes of groups that were made after ${manifest.takenAt} are undone: make them again. Deleted groups are there again.`,
    'No key is touched. Agents keep their epochs, roles and generations. Where the backup contradicts them, nothing is ordered until the group is seated again.',
    'Stop every coordinator first, also those that use another copy of the database.',
  ];
}

const position = (one: LearnedGroup['told']): string =>
  one === undefined ? '-' : `epoch ${one.epoch} of ${one.owner || 'nobody'}, generation ${one.generation}`;

const nextStep = ({ verdict, group, silent }: LearnedGroup): string => {
  if (verdict === 'contradicted') return `antipode group reseat ${group}`;
  if (verdict === 'unseated')
    return silent.length > 0 ? `bring back ${silent.join(', ')}` : `antipode group delete ${group}`;
  if (verdict === 'unknown') return 'antipode coordinator rebuild';
  return silent.length > 0 ? `nothing, but ${silent.join(', ')} may know more` : 'nothing';
};

/** Everything that the agents know beyond the backup, and the command that follows from it. */
export function learnedText({ term, groups, silent }: Learned, { recordedTerm }: { recordedTerm: string }): string {
  return [
    term > BigInt(recordedTerm)
      ? `The sites have heard term ${term}, the backup has ${recordedTerm}: the next leader begins a term above both.`
      : `No site that answers has heard a term above ${recordedTerm}.`,
    ...silent.map(({ site, code }) => `Site ${site} does not answer (${code}).`),
    ...(groups.length === 0
      ? []
      : [
          '',
          table(
            ['GROUP', 'VERDICT', 'BY THE BACKUP', 'BY THE SITES', 'NEXT'],
            groups.map((one) => [one.group, one.verdict, position(one.recorded), position(one.told), nextStep(one)]),
          ),
          ...groups.flatMap(({ group, reason }) => (reason === '' ? [] : [`Group ${group}: ${reason}.`])),
        ]),
  ].join('\n');
}

export function backupCommand(): Command {
  return command('backup', 'copy the database of the coordinator into one file, while it runs', [
    'coordinator backup --to /var/backups/antipode/2026-01-31.backup --config coordinator/coordinator.yaml',
  ])
    .requiredOption('--to <file>', 'a file that is not there yet')
    .option(...CONFIG_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nThe copy is of one moment, and nobody waits for it. It has no key and no PIN. It names sites, groups, partitions and\nthe rules of filters. To put it back: `antipode coordinator restore`.',
    )
    .action(async ({ config, to, json }) => {
      const { backUpCoordinator, loadCoordinatorConfig } = await import('@antipode/coordinator');
      const done = await backUpCoordinator(loadCoordinatorConfig(config), { to, ...ports() });
      output({ json }).data(done, () => `${manifestText(done)}\n\n${done.path}`);
    });
}

export function restoreCommand(): Command {
  return command('restore', 'put a backup of the database back, and say what the sites know beyond it', [
    'coordinator restore 2026-01-31.backup --dry-run --config coordinator/coordinator.yaml',
    'coordinator restore 2026-01-31.backup --config coordinator/coordinator.yaml',
  ])
    .argument('<file>', 'a file of `coordinator backup`')
    .option(...CONFIG_OPTION)
    .option('--dry-run', 'check the file and print what would happen; change nothing')
    .option('--yes', 'do not ask for confirmation')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nNo coordinator may run meanwhile. The database of the coordinator itself is moved aside, and an external one must be\nempty: nothing is overwritten. See docs/runbooks/restore-the-database.md.',
    )
    .action(async (path, { config: file, dryRun, yes, json }) => {
      const { loadCoordinatorConfig, planRestore, restoreCoordinator } = await import('@antipode/coordinator');
      const config = loadCoordinatorConfig(file);
      const out = output({ json });
      const plan = await planRestore(config, path);
      out.note(manifestText(plan));
      out.note('');
      for (const line of restoreConsequences(plan)) out.note(line);
      if (dryRun) {
        out.data(plan, () => 'Nothing was changed (--dry-run).');
        return;
      }
      if (!yes) await confirm(config.id, 'the coordinator');
      const done = await restoreCoordinator(config, { path, ...ports() });
      out.data(done, () =>
        [
          `The database is that of ${done.manifest.takenAt}.`,
          learnedText(done.learned, { recordedTerm: done.manifest.term }),
        ].join('\n'),
      );
    });
}
