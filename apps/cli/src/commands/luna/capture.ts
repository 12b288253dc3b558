import { existsSync } from 'node:fs';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { command, JSON_OPTION } from '../../options/options.ts';
import { output } from '../../output.ts';
import { type ToolOptions, withTool, withToolOptions } from './tool.ts';

export function captureCommand(): Command {
  return withToolOptions(
    command(
      'capture',
      'record what `lunacm` prints, for its driver to be corrected by: only reads, and logs in nowhere',
      [
        'luna capture lunacm-capture',
        'luna capture lunacm-capture --lunacm /opt/safenet/lunaclient/bin/lunacm --client-config /etc',
      ],
    ),
  )
    .argument('<folder>', 'a new folder for the transcripts and a list of what each would replace')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
It types \`slot list\`, and at each slot \`showinfo\`, \`showpolicies\`, \`role show\` and \`partition archive list\`,
through a pipe and at a terminal. It answers no question. Serial numbers, labels and identifiers are masked, each
by one mask. Read the files before you send them. README.md in the folder says which recalled text each replaces.`,
    )
    .action(async (folder: string, options: ToolOptions & { json?: boolean }) => {
      if (existsSync(folder))
        throw new AntipodeError('FILE_EXISTS', `${folder} is there already`, {
          details: { path: folder },
          hint: 'Name a new folder. Nothing was written.',
        });
      const { capture } = await import('@antipode/hsm-core/luna');
      const report = await withTool(options, ({ launcher, clock, phrases, settings: { limits } }) =>
        capture(folder, { launcher, clock, phrases, limits }),
      );
      output(options).data(
        report,
        () =>
          `${report.folder}: ${report.files.join(', ')}\n${report.covered.length} recalled texts and commands are covered: ${report.covered.join(', ')}\nRead the files before you send them.`,
      );
    });
}
