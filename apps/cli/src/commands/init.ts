import { type Command, Option } from 'commander';
import { makeAuthority, makeCoordinatorFolder, makeOperatorFolder, makeSiteFolder } from '../folders.ts';
import { output } from '../output.ts';
import { command, parseCoordinator } from './common.ts';

function wrote(files: readonly string[], json: boolean | undefined): void {
  output({ json }).data({ files }, () => files.map((file) => `wrote ${file}`).join('\n'));
}

export function initCommand(): Command {
  const init = command('init', 'make the folder of an authority, a coordinator, a site or an operator', [
    'init authority --folder ca --trust-domain dr.example.org',
    'init coordinator --folder coordinator --authority ca --id main --listen 10.0.0.5:7400',
    'init site --folder site-a --authority ca --site a --listen 10.0.1.5:7401 --coordinator main@10.0.0.5:7400 --module /usr/lib/softhsm/libsofthsm2.so --token-label payments --pin-file payments.pin',
    'init operator --folder ~/.config/antipode --authority ca --name alice --coordinator main@10.0.0.5:7400',
  ]);
  init.addCommand(
    command('authority', 'make a certificate authority; keep its key offline')
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--trust-domain <domain>', 'name of the trust domain, such as dr.example.org')
      .option('--json', 'JSON on standard output')
      .action(async ({ folder, trustDomain, json }) => wrote(await makeAuthority({ folder, trustDomain }), json)),
  );
  init.addCommand(
    command('coordinator', 'make the folder of a coordinator: configuration and certificate')
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--authority <folder>', 'folder of the authority')
      .requiredOption('--id <id>', 'name of this coordinator')
      .requiredOption('--listen <host:port>', 'where agents and operators connect')
      .option('--http <host:port>', 'health endpoints /livez and /readyz')
      .addOption(new Option('--timings <profile>', 'how patient it is').choices(['default', 'wan', 'fast']))
      .option('--json', 'JSON on standard output')
      .action(async (options) => wrote(await makeCoordinatorFolder(options), options.json)),
  );
  init.addCommand(
    command('site', 'make the folder of a site agent: configuration and certificate')
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--authority <folder>', 'folder of the authority')
      .requiredOption('--site <site>', 'name of the site')
      .requiredOption('--listen <host:port>', 'where coordinator and other agents connect')
      .option('--advertise <host:port>', 'how they reach it, where that differs')
      .requiredOption('--coordinator <id@host:port>', 'the coordinator')
      .requiredOption('--module <file>', 'PKCS#11 module')
      .requiredOption('--token-label <label>', 'label of the token that is to be a member')
      .requiredOption('--pin-file <file>', 'file with its user PIN, mode 0600')
      .option('--partition <name>', 'name of the partition in the configuration', 'main')
      .option('--json', 'JSON on standard output')
      .action(async ({ coordinator, module, tokenLabel, pinFile, partition, ...rest }) =>
        wrote(
          await makeSiteFolder({
            ...rest,
            coordinator: parseCoordinator(coordinator),
            partitions: [{ name: partition, module, tokenLabel, pinFile, role: 'member' }],
          }),
          rest.json,
        ),
      ),
  );
  init.addCommand(
    command('operator', 'make the folder of an operator: configuration and certificate')
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--authority <folder>', 'folder of the authority')
      .requiredOption('--name <name>', 'name of the operator')
      .requiredOption('--coordinator <id@host:port>', 'the coordinator')
      .option('--json', 'JSON on standard output')
      .action(async ({ coordinator, ...rest }) =>
        wrote(await makeOperatorFolder({ ...rest, coordinator: parseCoordinator(coordinator) }), rest.json),
      ),
  );
  return init;
}
