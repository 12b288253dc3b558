import type { Command } from 'commander';
import { loadOperatorConfig, operatorConfigFile } from '../../operator-connection.ts';
import { command, OPERATOR_CONFIG_HELP, seconds } from '../../options/options.ts';
import { launchHere } from '../../place/launch-here.ts';
import { PlaceFinder } from '../../place/place.ts';
import { isPassing } from './resolve.ts';

const EVERY_S = 1;
const GRACE_S = 10;

export function launchCommand(): Command {
  return command(
    'run',
    'run a program with the token of a group, and restart it with the new token when the group moves',
    [
      'run payments -- nginx -g "daemon off;"',
      'run payments --at a --config application/application.yaml -- /usr/local/bin/signer',
    ],
  )
    .argument('<group>', 'replication group')
    .argument('<command...>', 'program with its arguments, after --')
    .option('-c, --config <file>', OPERATOR_CONFIG_HELP)
    .option('--at <site>', 'run the program only while this site is the active one')
    .option('--every <seconds>', 'how often to ask where the group is served', seconds, EVERY_S)
    .option(
      '--grace <seconds>',
      'how long the program and its processes may take to end before they are killed',
      seconds,
      GRACE_S,
    )
    .addHelpText(
      'after',
      `
The program finds in its environment: ANTIPODE_GROUP, ANTIPODE_SITE, ANTIPODE_EPOCH, ANTIPODE_MODULE,
ANTIPODE_TOKEN_LABEL, ANTIPODE_TOKEN_SERIAL, ANTIPODE_URI (RFC 7512), and the module again as PKCS11_MODULE_PATH
(libp11) and PKCS11_PROVIDER_MODULE (pkcs11-provider). It never finds a PIN there.

The program starts once a site serves the group. When the group moves, the program and every process that it has started
get SIGTERM, are killed after --grace, and the program is started again with the new token. While nobody can say where
the group is served, the program keeps running as it is. Signals are passed on to the program. Its exit status becomes
that of this command. Processes that it leaves behind end with it, so start it in the foreground.`,
    )
    .action(async (group, [program, ...args], { config, at, every, grace }) => {
      const finder = new PlaceFinder(loadOperatorConfig(operatorConfigFile(config)), { hasCallIds: false });
      try {
        process.exitCode = await launchHere({
          command: [program, ...args],
          atSite: at,
          find: (signal) => finder.find(group, { timeoutMs: Math.max(every * 1_000, 5_000), signal }),
          isPassing,
          everyMs: every * 1_000,
          graceMs: grace * 1_000,
        });
      } finally {
        finder.close();
      }
    });
}
