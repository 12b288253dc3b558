import { ArchiveWork, archiveWorkName, type ListArchivesResponse, type Operation } from '@antipode/protocol';
import { AntipodeError, processLog } from '@antipode/runtime';
import type { Command } from 'commander';
import { APPROVAL_OPTION, submitApprovals } from '../../approvals/approval-file.ts';
import { confirm } from '../../confirm.ts';
import { follow, type Operator, withOperator } from '../../operator-connection.ts';
import { command, count, JSON_OPTION, operatorCommand, readCommand, seconds } from '../../options/options.ts';
import { type Output, output, table } from '../../output.ts';
import { archiveTable } from '../../views/archive.ts';

/** Objects move one by one. */
const TIMEOUT_S = 3_600;

interface Options {
  readonly config?: string;
  readonly json?: boolean;
  readonly site: string;
  readonly vault: string;
  readonly backup?: string;
  readonly timeout: number;
}

const workCommand = (name: string, description: string, examples: readonly string[]): Command =>
  operatorCommand(name, description, examples)
    .argument('<group>', 'replication group')
    .option('--site <site>', 'the site of the vault; not needed if the group has one vault', '')
    .option('--vault <serial>', 'serial number of the vault; not needed if the site has one vault of the group', '')
    .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S);

const withBackup = (made: Command): Command =>
  made.option('--backup <name>', 'the backup; by default the newest complete one', '');

async function work(
  operator: Operator,
  out: Output,
  { group, work, ...options }: Options & { group: string; work: ArchiveWork },
): Promise<void> {
  const { site, vault: serial, backup = '', timeout } = options;
  const { operationId } = await operator.runArchive({ group, site, serial, work, backup });
  const operation = await follow(operator, operationId, { output: out, timeoutMs: timeout * 1_000 });
  out.data(operation, () => outcomeText(operation));
}

function outcomeText({ outcome, site }: Operation): string {
  if (outcome.case !== 'archive') return 'done';
  const { work, serial, backup, verdict, objects, generation, deleted, safetyBackup } = outcome.value;
  const what = archiveWorkName(work) ?? 'work';
  return [
    `${what} with vault ${serial} at site ${site}: ${verdict}`,
    `backup ${backup}${generation === undefined ? '' : `, generation ${generation.generation}`}, ${objects} objects`,
    ...(safetyBackup === '' ? [] : [`before that, what was there was backed up as ${safetyBackup}`]),
    ...(work !== ArchiveWork.DELETE && deleted.length > 0 ? [`deleted by retention: ${deleted.join(', ')}`] : []),
  ].join('\n');
}

function listText({ archives, backups, runs }: ListArchivesResponse): string {
  const kept = table(
    ['SITE', 'VAULT', 'BACKUP', 'MADE', 'GENERATION', 'OBJECTS', 'STATE'],
    backups.map(({ site, serial, backup }) => [
      site,
      serial,
      backup?.name ?? '',
      new Date(Number(backup?.madeMs ?? 0n)).toISOString(),
      backup?.generation === undefined ? '-' : String(backup.generation.generation),
      String(backup?.objects ?? 0),
      backup?.complete === true ? 'complete' : backup?.spoilt === true ? 'gone or changed' : 'not complete',
    ]),
  );
  const done = table(
    ['STARTED', 'SITE', 'VAULT', 'WORK', 'BACKUP', 'RESULT', 'PROVED', 'ID'],
    runs.map((run) => [
      new Date(Number(run.startedMs)).toISOString(),
      run.site,
      run.serial,
      archiveWorkName(run.work) ?? '-',
      run.backup || '-',
      run.errorCode || run.verdict,
      String(run.proof?.proved ?? 0),
      run.id.slice(0, 8),
    ]),
  );
  return `${archiveTable(archives)}\n\nBackups by the records of their sites:\n${kept}\n\nWork with vaults:\n${done}`;
}

export function archiveCommand(): Command {
  const archive = command('archive', 'backups of a group in vaults, such as a Luna Backup HSM');
  archive.addCommand(
    workCommand('backup', 'back up to a vault now; own backups beyond those that stay are deleted afterwards', [
      'archive backup payments',
      'archive backup payments --site a --json',
    ]).action(async (group, options) => {
      const out = output(options);
      await withOperator(options.config, (operator) =>
        work(operator, out, { ...options, group, work: ArchiveWork.BACKUP }),
      );
    }),
  );
  archive.addCommand(
    readCommand('list', 'list the vaults of a group, the backups in them, and the last work; --json has the evidence', [
      'archive list payments',
      'archive list payments --json',
    ])
      .argument('<group>', 'replication group')
      .option('--limit <count>', 'how much of the work with vaults at most', count, 50)
      .addHelpText(
        'after',
        '\nNo vault is asked. Backups that others have made in a vault are not listed: use `lunacm` for these.',
      )
      .action(async (group, options) => {
        const answer = await withOperator(
          options.config,
          (operator) => operator.listArchives({ group, limit: options.limit }),
          { timeoutMs: options.timeout * 1_000 },
        );
        output(options).data(answer, () => listText(answer));
      }),
  );
  archive.addCommand(
    command('contents', 'list the objects of a backup with their labels; run this at the site of the vault', [
      'archive contents antipode-20260601T0300-1f2e3d4c --config site-a/agent.yaml',
    ])
      .argument('<backup>', 'name of the backup, as `archive list` has it')
      .option('-c, --config <file>', 'configuration of the site agent', 'agent.yaml')
      .option('--vault <name>', 'name of the vault in the configuration; not needed if there is one')
      .option(...JSON_OPTION)
      .action(async (backup, { config, vault, json }) => {
        const { listArchived, loadAgentConfig } = await import('@antipode/site-agent');
        const found = await listArchived({ config: loadAgentConfig(config), name: vault, backup, log: processLog() });
        output({ json }).data(found, () =>
          table(
            ['TYPE', 'LABEL', 'UID'],
            found.objects.map(({ type, label, uid }) => [type, label, uid]),
          ),
        );
      }),
  );
  archive.addCommand(
    withBackup(
      workCommand(
        'drill',
        'restore a backup into the scratch partition of its vault, use every key there, clear it again',
        ['archive drill payments', 'archive drill payments --backup antipode-20260601T0300-1f2e3d4c'],
      ),
    )
      .addHelpText(
        'after',
        '\nThe scratch partition is the one that agent.yaml names for the vault. It must be empty, or have only what an earlier\ndrill left. The partition that was backed up is not needed.',
      )
      .action(async (group, options) => {
        const out = output(options);
        await withOperator(options.config, (operator) =>
          work(operator, out, { ...options, group, work: ArchiveWork.DRILL }),
        );
      }),
  );
  archive.addCommand(
    withBackup(
      workCommand('restore', 'restore a backup into the production partition that it was made of', [
        'archive restore payments --dry-run',
        'archive restore payments --backup antipode-20260601T0300-1f2e3d4c --approval restore.json',
      ]),
    )
      .option(...APPROVAL_OPTION)
      .option('--dry-run', 'print what would happen; change nothing')
      .option('--yes', 'do not ask for confirmation')
      .addHelpText(
        'after',
        '\nThe objects of the partition are backed up to the vault first. Nothing is cleared or\nreplaced: objects that are there already are refused as duplicates. Where the site guards the group, an approval of the\naction `restore-backup` is needed. It names the partition, and as its object the digest of the manifest of the backup\n(`archive list --json`).',
      )
      .action(async (group, options) => {
        const out = output(options);
        await withOperator(
          options.config,
          async (operator) => {
            const chosen = await backupFor(operator, { ...options, group });
            const made = new Date(Number(chosen.backup!.madeMs)).toISOString();
            out.note(
              `Backup ${chosen.backup!.name} of ${made} (generation ${chosen.backup!.generation?.generation ?? '?'}, ${chosen.backup!.objects} objects) goes from vault ${chosen.serial} into the partition of site ${chosen.site}.`,
            );
            out.note(
              'The objects that are there now are backed up to the vault first. Nothing is deleted or replaced.',
            );
            out.note('Keys that were made after the backup are not in it. Keys that were deleted since come back.');
            if (options.dryRun === true) {
              out.data(chosen, () => 'Nothing was changed (--dry-run).');
              return;
            }
            if (options.yes !== true) await confirm(group);
            await submitApprovals(operator, options.approval);
            const place = { site: chosen.site, vault: chosen.serial, backup: chosen.backup!.name };
            await work(operator, out, { ...options, ...place, group, work: ArchiveWork.RESTORE });
          },
          { orders: options.dryRun ? undefined : 'RunArchive' },
        );
      }),
  );
  archive.addCommand(
    workCommand('delete', 'delete a backup that this product has made in a vault', [
      'archive delete payments --backup antipode-20260601T0300-1f2e3d4c --dry-run',
    ])
      .requiredOption('--backup <name>', 'the backup, as `archive list` has it')
      .option('--dry-run', 'print what would happen; change nothing')
      .option('--yes', 'do not ask for confirmation')
      .addHelpText(
        'after',
        '\nThe newest complete backups stay, as many as the group and its site keep. Backups of others are never deleted.',
      )
      .action(async (group, options) => {
        const out = output(options);
        await withOperator(
          options.config,
          async (operator) => {
            const chosen = await backupFor(operator, { ...options, group });
            out.note(
              `Backup ${chosen.backup!.name} with ${chosen.backup!.objects} objects is deleted in vault ${chosen.serial} of site ${chosen.site}. It cannot be brought back.`,
            );
            if (options.dryRun === true) {
              out.data(chosen, () => 'Nothing was changed (--dry-run).');
              return;
            }
            if (options.yes !== true) await confirm(options.backup, 'the backup');
            const place = { site: chosen.site, vault: chosen.serial };
            await work(operator, out, { ...options, ...place, group, work: ArchiveWork.DELETE });
          },
          { orders: options.dryRun ? undefined : 'RunArchive' },
        );
      }),
  );
  return archive;
}

/** The backup that a command means, by the records of the sites. @throws NOT_FOUND */
async function backupFor(operator: Operator, { group, site, vault, backup = '' }: Options & { group: string }) {
  const { backups } = await operator.listArchives({ group, limit: 1 });
  const found = backups.find(
    (one) =>
      (site === '' || one.site === site) &&
      (vault === '' || one.serial === vault) &&
      (backup === '' ? one.backup?.complete === true && one.backup.group === group : one.backup?.name === backup),
  );
  if (found?.backup !== undefined) return found;
  throw new AntipodeError(
    'NOT_FOUND',
    backup === '' ? `group ${group} has no complete backup` : `group ${group} has no backup ${backup}`,
    {
      details: { group },
      hint: `\`antipode archive list ${group}\` has the backups that are on record.`,
    },
  );
}
