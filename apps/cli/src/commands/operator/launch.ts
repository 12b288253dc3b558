import { systemClock } from '@antipode/runtime';
import type { Command } from 'commander';
import { loadOperatorConfig, operatorConfigFile } from '../../operator-connection.ts';
import { command, OPERATOR_CONFIG_HELP, seconds } from '../../options/options.ts';
import { Launcher, PASSED_ON } from '../../place/launcher.ts';
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
    .option('--grace <seconds>', 'how long the program may take to end before it is killed', seconds, GRACE_S)
    .addHelpText(
      'after',
      `
The program finds in its environment: ANTIPODE_GROUP, ANTIPODE_SITE, ANTIPODE_EPOCH, ANTIPODE_MODULE,
ANTIPODE_TOKEN_LABEL, ANTIPODE_TOKEN_SERIAL, ANTIPODE_URI (RFC 7512), and the module again as PKCS11_MODULE_PATH
(libp11) and PKCS11_PROVIDER_MODULE (pkcs11-provider). It never finds a PIN there.

The program starts once a site serves the group. When the group moves, the program gets SIGTERM, is killed after
--grace, and is started again with the new token. While nobody can say where the group is served, the program keeps
running as it is. Signals are passed on to the program. Its exit status becomes that of this command.`,
    )
    .action(async (group, [program, ...args], { config, at, every, grace }) => {
      const finder = new PlaceFinder(loadOperatorConfig(operatorConfigFile(config)));
      const stop = new AbortController();
      const launcher = new Launcher({
        command: [program, ...args],
        atSite: at,
        find: (signal) => finder.find(group, { timeoutMs: Math.max(every * 1_000, 5_000), signal }),
        isPassing,
        clock: systemClock,
        everyMs: every * 1_000,
        graceMs: grace * 1_000,
        stop: stop.signal,
        note: (line) => process.stderr.write(`antipode: ${line}\n`),
      });
      const listeners = PASSED_ON.map((signal) => [signal, () => launcher.receive(signal, stop)] as const);
      for (const [signal, listener] of listeners) process.on(signal, listener);
      try {
        process.exitCode = await launcher.run();
      } finally {
        for (const [signal, listener] of listeners) process.off(signal, listener);
        finder.close();
      }
    });
}
