import type { PreflightRow } from '@antipode/hsm-core/luna';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { EXIT } from '../../exit-codes.ts';
import { command, JSON_OPTION } from '../../options/options.ts';
import { output, table } from '../../output.ts';
import { type ToolOptions, withTool, withToolOptions } from './tool.ts';

interface Given extends ToolOptions {
  readonly source?: string;
  readonly target?: string;
  readonly vault?: string;
  readonly archive?: string;
  readonly json?: boolean;
}

export function preflightCommand(): Command {
  return withToolOptions(
    command('preflight', 'compare both ends of a clone, backup or restore by what they show without a login', [
      'luna preflight --source 154438865287 --target 154438865301',
      'luna preflight --source 154438865287 --vault 532018',
      'luna preflight --vault 532018 --archive payments-2026-06 --target 154438865301 --json',
    ]),
  )
    .option('--source <serial>', 'the partition that objects come from')
    .option('--target <serial>', 'the partition that objects go to')
    .option('--vault <serial>', 'the Backup HSM: of a backup with --source, of a restore with --target')
    .option('--archive <name>', 'the backup to be restored')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nIt changes nothing and logs in nowhere. A rule that cannot be judged without that is "not known". The exit status is\n1 if one of them will fail.',
    )
    .action(async (given: Given) => {
      const rows = await preflight(given);
      output(given).data(rows, () =>
        table(
          ['RULE', 'RESULT', 'FOUND'],
          rows.map(({ rule, verdict, found, advice }) => [
            rule,
            verdict,
            advice === '' ? found : `${found}\n  ${advice}`,
          ]),
        ),
      );
      if (rows.some(({ verdict }) => verdict === 'will fail')) process.exitCode = EXIT.error;
    });
}

/** @throws USAGE, and what stops the reading */
async function preflight(given: Given): Promise<PreflightRow[]> {
  const { source, target, vault, archive } = given;
  const ends = [source, target, vault].filter((serial) => serial !== undefined);
  if (ends.length !== 2)
    throw new AntipodeError(
      'USAGE',
      'name two ends: --source and --target, --source and --vault, or --vault and --target',
      {
        details: { field: 'source' },
      },
    );
  if ((archive === undefined) !== (vault === undefined || target === undefined))
    throw new AntipodeError('USAGE', '--archive names the backup of a restore: give it with --vault and --target', {
      details: { field: 'archive' },
    });
  const { LunaDriver } = await import('@antipode/hsm-core/luna');
  return withTool(given, async (ports) => {
    const driver = new LunaDriver(ports);
    const { slots } = await driver.survey();
    const addressOf = (serial = '') => ({ serial, label: slots.find((one) => one.serial === serial)?.label ?? '' });
    return driver.compareEnds({
      move: vault === undefined ? 'clone' : source === undefined ? 'restore' : 'backup',
      from: addressOf(source ?? vault),
      to: addressOf(target ?? vault),
      ...(archive === undefined ? {} : { archive }),
    });
  });
}
