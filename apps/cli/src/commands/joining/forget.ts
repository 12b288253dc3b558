/** `antipode site forget` and `antipode site readmit`: a site that is retired, and one that is taken back. */
import type { Command } from 'commander';
import { confirm } from '../../confirm.ts';
import { withOperator } from '../../operator-connection.ts';
import { operatorCommand } from '../../options/options.ts';
import { output } from '../../output.ts';

export function forgetCommand(): Command {
  return operatorCommand('forget', 'retire a site that has no place in any group: its agent is refused from then on', [
    'site forget b --dry-run',
    'site forget b',
  ])
    .argument('<site>', 'name of the site')
    .option('--dry-run', 'only say what follows, or why the site cannot be forgotten')
    .option('--keep-certificate', 'leave its certificates in force: the keys of its agent are destroyed')
    .option('-y, --yes', 'do not ask for the name of the site')
    .addHelpText(
      'after',
      '\nTake the site out of every group, stop its agent, and revoke its certificates first\n(`antipode certificate revoke site/b`). Nothing at the site changes. Events and evidence stay. Safe to repeat.\nAn operator with role security does it.',
    )
    .action(async (site: string, options) => {
      const said = output(options);
      const keepCertificate = options.keepCertificate === true;
      const plan = await withOperator(options.config, (operator) =>
        operator.forgetSite({ site, planOnly: true, keepCertificate }),
      );
      if (options.dryRun) {
        said.data({ site, consequences: plan.consequences, isNew: plan.isNew }, () => plan.consequences.join('\n'));
        return;
      }
      for (const one of plan.consequences) said.note(one);
      if (plan.isNew && !options.yes) await confirm(site, 'the site');
      const { isNew, forgottenMs } = await withOperator(
        options.config,
        (operator) => operator.forgetSite({ site, keepCertificate }),
        { orders: 'ForgetSite' },
      );
      const forgotten = new Date(Number(forgottenMs)).toISOString();
      said.data({ site, isNew, forgotten }, () =>
        isNew ? `site ${site} is forgotten` : `site ${site} has been forgotten since ${forgotten}`,
      );
    });
}

export function readmitCommand(): Command {
  return operatorCommand('readmit', 'take a forgotten site back: its heartbeats count again', ['site readmit b'])
    .argument('<site>', 'name of the site')
    .addHelpText(
      'after',
      '\nIt gets no seat by that, and no certificate: `antipode site token b` makes one where its own was revoked.',
    )
    .action(async (site: string, options) => {
      const { isNew } = await withOperator(options.config, (operator) => operator.readmitSite({ site }), {
        orders: 'ReadmitSite',
      });
      output(options).data({ site, isNew }, () =>
        isNew ? `site ${site} is taken back` : `site ${site} was not forgotten`,
      );
    });
}
