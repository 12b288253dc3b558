import { OPERATOR_ROLES } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import {
  makeApplicationFolder,
  makeAuthority,
  makeCoordinatorFolder,
  makeIssuer,
  makeOperatorFolder,
  makeSiteFolder,
  type PartitionDraft,
} from '@antipode/setup';
import { type Command, Option } from 'commander';
import {
  collect,
  command,
  days,
  JSON_OPTION,
  parseAgent,
  parseCoordinator,
  parseEnvironment,
} from '../options/options.ts';
import { output } from '../output.ts';

function wrote(files: readonly string[], json: boolean | undefined): void {
  output({ json }).data({ files }, () => files.map((file) => `wrote ${file}`).join('\n'));
}

const coordinators = (texts: readonly string[]) => texts.map(parseCoordinator);

interface TokenOptions {
  readonly partition: string;
  readonly module: string;
  readonly tokenLabel: string;
  readonly pinFile: string;
  readonly scratchTokenLabel?: string | undefined;
  readonly scratchPinFile?: string | undefined;
  readonly environment: readonly string[];
}

const SCRATCH_NAME = 'scratch';

/** The partitions that the options of `init site` declare: a member, and a scratch partition where one is named. */
export function partitionsFrom(options: TokenOptions): PartitionDraft[] {
  const { partition, module, tokenLabel, pinFile, scratchTokenLabel, scratchPinFile } = options;
  const environment = parseEnvironment(options.environment);
  const refuse = (why: string): never => {
    throw new AntipodeError('USAGE', why, { details: { field: 'scratch-token-label' } });
  };
  const common = { module, ...(Object.keys(environment).length === 0 ? {} : { environment }) };
  const member: PartitionDraft = { name: partition, ...common, tokenLabel, pinFile, role: 'member' };
  if (scratchTokenLabel === undefined && scratchPinFile === undefined) return [member];
  if (scratchTokenLabel === undefined || scratchPinFile === undefined)
    return refuse('expected --scratch-token-label and --scratch-pin-file together');
  if (scratchTokenLabel === tokenLabel)
    return refuse(`token "${tokenLabel}" cannot be both member and scratch: a drill empties its scratch token`);
  if (partition === SCRATCH_NAME)
    return refuse(`--partition must not be ${SCRATCH_NAME}, the name of the scratch partition`);
  return [
    member,
    { name: SCRATCH_NAME, ...common, tokenLabel: scratchTokenLabel, pinFile: scratchPinFile, role: 'scratch' },
  ];
}

export function initCommand(): Command {
  const init = command(
    'init',
    'make the folder of an authority, an issuer, a coordinator, a site, a witness, an operator or an application',
  );
  init.addCommand(
    command('authority', 'make a certificate authority; keep its key offline', [
      'init authority --folder ca --trust-domain dr.example.org',
    ])
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--trust-domain <domain>', 'name of the trust domain, such as dr.example.org')
      .option(...JSON_OPTION)
      .action(async ({ folder, trustDomain, json }) => wrote(await makeAuthority({ folder, trustDomain }), json)),
  );
  init.addCommand(
    command(
      'issuer',
      'make an issuer below an authority: its certificates are trusted, and the authority stays offline',
      ['init issuer --folder issuer --authority ca --name main'],
    )
      .requiredOption('--folder <folder>', 'folder to make; it serves wherever `--authority` is asked for')
      .requiredOption('--authority <folder>', 'folder of the authority')
      .requiredOption('--name <name>', 'name of the issuer')
      .option('--days <days>', 'life of the issuer (default: 730)', days)
      .option(...JSON_OPTION)
      .action(async ({ json, ...options }) => wrote(await makeIssuer(options), json)),
  );
  init.addCommand(
    command('coordinator', 'make the folder of a coordinator: configuration and certificate', [
      'init coordinator --folder coordinator --authority ca --id main --listen 10.0.0.5:7400',
      'init coordinator --folder coordinator --authority ca --id main --listen 10.0.0.5:7400 --issuer issuer --join 10.0.0.5:7402',
      'init coordinator --folder coordinator --authority ca --id south --listen 10.0.9.5:7400',
    ])
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--authority <folder>', 'folder of the authority')
      .requiredOption('--id <id>', 'name of this coordinator')
      .requiredOption('--listen <host:port>', 'where agents and operators connect')
      .option('--http <host:port>', 'health endpoints /livez and /readyz, and /metrics')
      .option(
        '--issuer <folder>',
        'folder of `init issuer`, which is copied: this coordinator signs certificates of sites',
      )
      .option('--join <host:port>', 'where machines with a token of `site token` join')
      .addOption(new Option('--timings <profile>', 'timing profile').choices(['default', 'wan', 'fast']))
      .option(...JSON_OPTION)
      .action(async (options) => wrote(await makeCoordinatorFolder(options), options.json)),
  );
  init.addCommand(
    command('site', 'make the folder of a site agent: configuration and certificate', [
      'init site --folder site-a --authority ca --site a --listen 10.0.1.5:7401 --coordinator main@10.0.0.5:7400 --module /usr/lib/softhsm/libsofthsm2.so --token-label payments --pin-file payments.pin',
      'init site --folder site-c --authority ca --site c --listen 10.0.3.5:7401 --coordinator main@10.0.0.5:7400 --module /usr/lib/softhsm/libsofthsm2.so --token-label payments --pin-file payments.pin --scratch-token-label scratch --scratch-pin-file scratch.pin --environment SOFTHSM2_CONF=/etc/antipode/softhsm2.conf',
    ])
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--authority <folder>', 'folder of the authority')
      .requiredOption('--site <site>', 'name of the site')
      .requiredOption('--listen <host:port>', 'where coordinator and other agents connect')
      .option('--advertise <host:port>', 'how they reach it, if that differs')
      .requiredOption('--coordinator <id@host:port>', 'a coordinator; repeat the option to name all of them', collect)
      .requiredOption('--module <file>', 'PKCS#11 module')
      .requiredOption('--token-label <label>', 'label of the token that will be a member')
      .requiredOption('--pin-file <file>', 'file with its user PIN, mode 0600')
      .option('--partition <name>', 'name of the partition in the configuration', 'main')
      .option('--scratch-token-label <label>', 'label of an empty token for drills; each drill empties it again')
      .option('--scratch-pin-file <file>', 'file with its user PIN, mode 0600')
      .option(
        '--environment <name=value>',
        'variable that the module needs, such as SOFTHSM2_CONF; repeatable; never a PIN',
        collect,
        [],
      )
      .option(...JSON_OPTION)
      .action(async (options) => {
        const { folder, authority, site, listen, advertise, coordinator, json } = options;
        const files = await makeSiteFolder({
          folder,
          authority,
          site,
          listen,
          advertise,
          coordinators: coordinators(coordinator),
          partitions: partitionsFrom(options),
        });
        wrote(files, json);
      }),
  );
  init.addCommand(
    command('witness', 'make the folder of a witness: a site agent without an HSM, which votes and watches', [
      'init witness --folder site-w --authority ca --site w --listen 10.0.9.5:7401 --coordinator main@10.0.0.5:7400',
    ])
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--authority <folder>', 'folder of the authority')
      .requiredOption('--site <site>', 'name of the site')
      .requiredOption('--listen <host:port>', 'where coordinator and other agents connect')
      .option('--advertise <host:port>', 'how they reach it, if that differs')
      .requiredOption('--coordinator <id@host:port>', 'a coordinator; repeat the option to name all of them', collect)
      .option(...JSON_OPTION)
      .action(async ({ coordinator, json, ...rest }) =>
        wrote(await makeSiteFolder({ ...rest, coordinators: coordinators(coordinator), partitions: [] }), json),
      ),
  );
  init.addCommand(
    command('operator', 'make the folder of an operator: configuration and certificate', [
      'init operator --folder ~/.config/antipode --authority ca --name alice --coordinator main@10.0.0.5:7400 --coordinator south@10.0.9.5:7400',
      'init operator --folder wall-display --authority ca --name display --role viewer --coordinator main@10.0.0.5:7400',
    ])
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--authority <folder>', 'folder of the authority')
      .requiredOption('--name <name>', 'name of the operator')
      .addOption(
        new Option('--role <role>', 'viewer only looks, operator gives orders, security also brings approvals')
          .choices(OPERATOR_ROLES)
          .default('operator'),
      )
      .requiredOption('--coordinator <id@host:port>', 'a coordinator; repeat the option to name all of them', collect)
      .option('--agent <site@host:port>', 'an agent, which says what it knows while no coordinator answers')
      .option(...JSON_OPTION)
      .action(async ({ coordinator, agent, json, ...rest }) => {
        const files = await makeOperatorFolder({
          ...rest,
          coordinators: coordinators(coordinator),
          agent: agent === undefined ? undefined : parseAgent(agent),
        });
        wrote(files, json);
      }),
  );
  init.addCommand(
    command('application', 'make the folder of an application, which may only ask where its groups are served', [
      'init application --folder application --authority ca --name signer --coordinator main@10.0.0.5:7400 --agent a@10.0.1.5:7401',
    ])
      .requiredOption('--folder <folder>', 'folder to make')
      .requiredOption('--authority <folder>', 'folder of the authority')
      .requiredOption('--name <name>', 'name of the application')
      .requiredOption('--coordinator <id@host:port>', 'a coordinator; repeat the option to name all of them', collect)
      .option('--agent <site@host:port>', 'the agent of its site, which answers while no coordinator does')
      .option(...JSON_OPTION)
      .action(async ({ coordinator, agent, json, ...rest }) => {
        const files = await makeApplicationFolder({
          ...rest,
          coordinators: coordinators(coordinator),
          agent: agent === undefined ? undefined : parseAgent(agent),
        });
        wrote(files, json);
      }),
  );
  return init;
}
