import { processLog } from '@antipode/runtime';
import { loadAgentConfig, preparationOf, prepareVault } from '@antipode/site-agent';
import type { Command } from 'commander';
import { readApprovalFile } from '../../approvals/approval-file.ts';
import { confirm } from '../../confirm.ts';
import { EXIT } from '../../exit-codes.ts';
import { command, JSON_OPTION } from '../../options/options.ts';
import { output } from '../../output.ts';

interface Given {
  readonly config: string;
  readonly serial: string;
  readonly domainFile: string;
  readonly randomUserStringFile?: string;
  readonly verificationStringFile?: string;
  readonly restrictedRestore: boolean;
  readonly approval?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function prepareVaultCommand(): Command {
  return command('prepare-vault', 'take a Backup HSM of this site out of its factory state', [
    'luna prepare-vault vault --serial 532018 --domain-file domain.pin --config site-a/agent.yaml',
    'luna prepare-vault vault --serial 532018 --domain-file domain.pin --random-user-string-file sent.txt --verification-string-file told.txt',
  ])
    .argument('<vault>', 'name of the vault in agent.yaml')
    .requiredOption('--serial <serial>', 'its serial number, as it is on the device')
    .requiredOption('--domain-file <file>', 'file with the secret of the cloning domain, mode 0600')
    .option('--random-user-string-file <file>', 'file with the first string that came with a device in transport mode')
    .option('--verification-string-file <file>', 'file with the second string, which the device must show')
    .option('--no-restricted-restore', 'leave policy 55 off: backups restore to firmware before 7.7 too')
    .option('--approval <file>', 'the approval of operators, where the site guards the group of its partition')
    .option('-c, --config <file>', 'configuration of the site agent', 'agent.yaml')
    .option('-y, --yes', 'confirm without a question')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Run this at the site itself. It ends the transport mode if the device shows the second string, initialises the device
under its label, logs in as its officer and sets policy 55. A device that has a label, an officer or a backup is not
initialised. Each step looks first, so that the command can be repeated. Passwords come from the files in agent.yaml.`,
    )
    .action(async (name: string, given: Given) => {
      const { serial, randomUserStringFile, verificationStringFile } = given;
      const config = loadAgentConfig(given.config);
      const vault = config.vaults.find((one) => one.name === name);
      const out = output(given);
      if (vault !== undefined && given.yes !== true) {
        out.note(
          `Vault ${name}, serial number ${vault.serial}, gets the label "${vault.label}" and a new officer password.\nWhatever the device has is lost by that: it is initialised only if it shows that it has nothing.\nAn approval names it as ${preparationOf(vault)}.`,
        );
        await confirm(vault.serial, 'the device by its serial number');
      }
      const report = await prepareVault({
        ...{ config, name, serial, domainFile: given.domainFile, restrictedRestore: given.restrictedRestore },
        ...(randomUserStringFile === undefined || verificationStringFile === undefined
          ? {}
          : { transport: { randomUserStringFile, verificationStringFile } }),
        approval: given.approval === undefined ? undefined : readApprovalFile(given.approval),
        onStep: ({ step, state, code }) => out.note(`${step}: ${state}${code === '' ? '' : ` (${code})`}`),
        log: processLog(),
      });
      out.data(report, () =>
        report.verdict === 'ready'
          ? `Vault ${name} is ready. Next: \`antipode group set-archive GROUP --archive SITE=${serial}\`.`
          : `Vault ${name} is not ready. Run the command again once the reason is gone: it begins where it ended.`,
      );
      if (report.verdict !== 'ready') process.exitCode = EXIT.error;
    });
}
