/** Deleted, damaged and replaced objects of the active member, with their names: for a person at the site. */
import { processLog } from '@antipode/runtime';
import { acceptDeleted, type DeletedObject, listDeleted, loadAgentConfig, restoreDeleted } from '@antipode/site-agent';
import type { Command } from 'commander';
import { readApprovalFile } from '../../approvals/approval-file.ts';
import { command, JSON_OPTION } from '../../options/options.ts';
import { output, table } from '../../output.ts';
import { NAME_COLUMNS, nameCells } from '../../views/objects.ts';

const CONFIG = ['-c, --config <file>', 'configuration of the site agent', 'agent.yaml'] as const;
const DAY_MS = 86_400_000;

const STATES: Record<DeletedObject['state'], string> = {
  deleted: 'deleted, sealed',
  held: 'would be lost',
  replaced: 'replaced under its names',
  changed: 'another value',
  unreadable: 'not shown by the token',
  revived: 'deleted, and back in the token',
  'set-aside': 'set aside, sealed here',
};

export function deletedTable(objects: readonly DeletedObject[]): string {
  if (objects.length === 0) return 'nothing';
  const rows = objects.map((one) => [
    one.objectId,
    STATES[one.state] +
      (['held', 'replaced', 'changed', 'unreadable', 'revived'].includes(one.state) && one.isAccepted
        ? ', accepted'
        : ''),
    ...nameCells(one),
    one.deletedMs === undefined ? '-' : new Date(one.deletedMs).toISOString(),
    keptFor(one),
    one.isRestorable ? 'yes' : 'no',
  ]);
  return table(['OBJECT', 'STATE', ...NAME_COLUMNS, 'DELETED', 'KEPT', 'RESTORABLE'], rows);
}

const keptFor = ({ keptMs, retentionMs }: DeletedObject): string =>
  keptMs === undefined || retentionMs === undefined
    ? '-'
    : `${Math.floor(keptMs / DAY_MS)} of ${Math.ceil(retentionMs / DAY_MS)} days`;

export function deletedCommand(): Command {
  const deleted = command('deleted', 'deleted and replaced objects; run these at the site itself');
  deleted.addCommand(
    command(
      'list',
      'list objects that are deleted and still sealed, that a held capture would lose, or that have another value',
      ['deleted list payments --config site-a/agent.yaml'],
    )
      .argument('<group>', 'replication group')
      .option(...CONFIG)
      .option(...JSON_OPTION)
      .action(async (group, { config, json }) => {
        const objects = await listDeleted({ config: loadAgentConfig(config), group });
        output({ json }).data(objects, () => deletedTable(objects));
      }),
  );
  deleted.addCommand(
    command('accept', 'accept that objects are gone or have another value; the next capture leaves them out', [
      'deleted accept payments --config site-a/agent.yaml',
      'deleted accept payments 6f0c --config site-a/agent.yaml',
    ])
      .argument('<group>', 'replication group')
      .argument(
        '[object...]',
        'object ids or their first digits, CKA_IDs, or labels; by default all that are held or changed',
      )
      .option(...CONFIG)
      .option(...JSON_OPTION)
      .action(async (group, objectIds, { config, json }) => {
        const accepted = await acceptDeleted({ config: loadAgentConfig(config), group, objectIds });
        output({ json }).data(accepted, () => `${deletedTable(accepted)}\n\nThe next capture leaves these out.`);
      }),
  );
  deleted.addCommand(
    command('restore', 'put objects back into the token of the active member, from the sealed objects of this site', [
      'deleted restore payments 6f0c --config site-a/agent.yaml',
    ])
      .argument('<group>', 'replication group')
      .argument('<object...>', 'object ids or their first digits, CKA_IDs, or labels, from `deleted list`')
      .option(...CONFIG)
      .option('--approval <file>', 'the approval of operators for this restore, where the site guards its actions')
      .option(...JSON_OPTION)
      .addHelpText(
        'after',
        '\nIf another object now has the names of a restored one, that object is destroyed after the restore.',
      )
      .action(async (group, objectIds, { config, approval: file, json }) => {
        const approval = file === undefined ? undefined : readApprovalFile(file);
        const options = { config: loadAgentConfig(config), group, objectIds, approval, log: processLog() };
        const restored = await restoreDeleted(options);
        output({ json }).data(
          restored,
          () => `${deletedTable(restored)}\n\nThese objects are in the token again, and work.`,
        );
      }),
  );
  return deleted;
}
