import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { APPROVAL_OPTION } from '../../approvals/approval-file.ts';
import { type Change, changeGroup } from '../../group-change.ts';
import { withOperator } from '../../operator-connection.ts';
import { ARCHIVE_HELP, collect, operatorCommand, seatFrom, seconds, TIMEOUT_S_DEFAULT } from '../../options/options.ts';
import { output } from '../../output.ts';
import { memberTable } from '../../views/group.ts';

interface Options {
  readonly config?: string;
  readonly json?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly approval?: readonly string[];
  readonly timeout: number;
}

const withChangeOptions = (command: Command): Command =>
  command
    .option(...APPROVAL_OPTION)
    .option('--dry-run', 'print the consequences; change nothing')
    .option('--yes', 'do not ask for confirmation')
    .option('--timeout <seconds>', 'how long to wait for the end', seconds, TIMEOUT_S_DEFAULT);

async function run(group: string, change: Change, options: Options): Promise<void> {
  const out = output(options);
  await withOperator(
    options.config,
    async (operator) => {
      const changed = await changeGroup(operator, { group, change, output: out }, options);
      if (options.dryRun) return;
      const state = changed ?? (await operator.getGroup({ group })).group!;
      out.data(state, () => memberTable(state));
    },
    { orders: options.dryRun ? undefined : 'ChangeGroup' },
  );
}

export function addMemberCommand(): Command {
  return withChangeOptions(
    operatorCommand('add-member', 'add a standby at another site to a group', [
      'group add-member payments d=5d7c22aa90b1c3f4 --dry-run',
      'group add-member payments d=5d7c22aa90b1c3f4',
    ]),
  )
    .argument('<group>', 'name')
    .argument('<site=serial>', 'the partition')
    .addHelpText(
      'after',
      '\nTrust the partition at every site of the group first, and theirs at its own site (`antipode peer trust`). The site has\nno vote, and no failover promotes it, until it has the domain key and has acknowledged the newest generation.\nThe command waits for that. To give up, run `antipode group remove-member`.',
    )
    .action((group, seat, options) => run(group, { case: 'addMember', value: seatFrom(seat) }, options));
}

export function removeMemberCommand(): Command {
  return withChangeOptions(
    operatorCommand('remove-member', 'remove a standby from a group, whether its site is up or lost for good', [
      'group remove-member payments c --dry-run',
      'group remove-member payments c --yes',
    ]),
  )
    .argument('<group>', 'name')
    .argument('<site>', 'the site of the member')
    .addHelpText(
      'after',
      '\nThe active member cannot be removed: move the group first. Keys stay in the partition that is removed, so the\ndomain key is rotated at once. An agent that is away gives up its seat when it is back.',
    )
    .action((group, site, options) => run(group, { case: 'removeMember', value: { site, serial: '' } }, options));
}

export function addWitnessCommand(): Command {
  return withChangeOptions(
    operatorCommand('add-witness', 'let another site vote in a group and watch its members, without an HSM', [
      'group add-witness payments w --dry-run',
      'group add-witness payments w',
    ]),
  )
    .argument('<group>', 'name')
    .argument('<site>', 'the site; `antipode init witness` makes its folder')
    .addHelpText(
      'after',
      '\nAutomatic failover needs three sites that vote: two sites cannot tell a lost site from a cut link. A witness should\nbe at a place of its own, so that it is not lost together with a member. Any site without a member of the group can be\na witness, including a site with an HSM.',
    )
    .action((group, site, options) => run(group, { case: 'addWitness', value: { site } }, options));
}

export function removeWitnessCommand(): Command {
  return withChangeOptions(
    operatorCommand('remove-witness', 'take the vote of a witness away, whether its site is up or lost for good', [
      'group remove-witness payments w --yes',
    ]),
  )
    .argument('<group>', 'name')
    .argument('<site>', 'the site of the witness')
    .action((group, site, options) => run(group, { case: 'removeWitness', value: { site } }, options));
}

export function setScratchCommand(): Command {
  return withChangeOptions(
    operatorCommand('set-scratch', 'name the scratch partitions of a group, all of them', [
      'group set-scratch payments --scratch c=77aa... --scratch b=0c51...',
      'group set-scratch payments --none --yes',
    ]),
  )
    .argument('<group>', 'name')
    .option('--scratch <site=serial>', 'a partition for drills; repeatable', collect, [])
    .option('--none', 'remove all scratch partitions from the group')
    .action((group, options) => {
      if (options.scratch.length > 0 === (options.none === true))
        throw new AntipodeError('USAGE', 'expected either --scratch or --none', { details: { field: 'scratch' } });
      return run(group, { case: 'scratch', value: { partitions: options.scratch.map(seatFrom) } }, options);
    });
}

export function setArchiveCommand(): Command {
  return withChangeOptions(
    operatorCommand('set-archive', 'name the vaults that keep backups of a group, all of them', [
      'group set-archive payments --archive a=532018',
      'group set-archive payments --none --yes',
    ]),
  )
    .argument('<group>', 'name')
    .option('--archive <site=serial>', ARCHIVE_HELP, collect, [])
    .option('--none', 'the group has no archive any more; backups stay in their vaults')
    .addHelpText(
      'after',
      '\nDeclare the vault in `vaults` of agent.yaml at its site first. It must be for the partition of a member of the group.',
    )
    .action((group, options) => {
      if (options.archive.length > 0 === (options.none === true))
        throw new AntipodeError('USAGE', 'expected either --archive or --none', { details: { field: 'archive' } });
      return run(group, { case: 'archives', value: { vaults: options.archive.map(seatFrom) } }, options);
    });
}

export function deleteCommand(): Command {
  return withChangeOptions(
    operatorCommand('delete', 'delete a group; keys stay in every partition', [
      'group delete payments --dry-run',
      'group delete payments',
    ]),
  )
    .argument('<group>', 'name')
    .addHelpText(
      'after',
      '\nKeys of applications, domain keys and sealed generations stay where they are. The name can be used again: a new\ngroup begins above the epochs, versions and numbers of the deleted one.',
    )
    .action(async (group, options) => {
      const out = output(options);
      await withOperator(
        options.config,
        (operator) => changeGroup(operator, { group, change: { case: 'delete', value: {} }, output: out }, options),
        { orders: options.dryRun ? undefined : 'ChangeGroup' },
      );
      if (!options.dryRun)
        out.data({ deleted: group }, () => `group ${group} is deleted; its keys stay in every partition`);
    });
}
