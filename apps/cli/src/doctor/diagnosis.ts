/** The checks of the doctor. This loads all of agent and coordinator, so only the doctor loads it. */
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  checkDatabase,
  checkHooks,
  checkQueue,
  checkReceivers,
  loadCoordinatorConfig,
  postgresFolders,
} from '@antipode/coordinator';
import { openPartition, ownersOf, type PartitionDescription, swapState, swapWarning } from '@antipode/hsm-core';
import {
  type CoordinatorAddress,
  CoordinatorService,
  createClient,
  isUnreachable,
  ResolverService,
} from '@antipode/protocol';
import { AntipodeError, hasCode, readPinFile, requireProgram, silentLog, systemClock } from '@antipode/runtime';
import {
  type AgentConfig,
  ApprovalRules,
  initialisePartition,
  loadAgentConfig,
  Pins,
  partitionConfig,
  seatedGroups,
  showIdentity,
} from '@antipode/site-agent';
import { loadOperatorConfig, type OperatorConfig, withOperator } from '../operator-connection.ts';
import { table } from '../output.ts';
import { certificateWarnings } from '../views/status.ts';
import { type Check, issuerChecks, machineChecks, tlsChecks } from './checks.ts';
import { cloningChecks } from './cloning.ts';
import { vaultChecks } from './vault-checks.ts';

export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
  /** Says what to do. Empty if the check passed. */
  readonly hint: string;
  /** Code of the error, if the check failed. */
  readonly code?: string;
  /** The place of the first fault of a configuration file, from 1. */
  readonly place?: { readonly file: string; readonly line: number; readonly column: number };
}

async function perform([name, work]: Check): Promise<Finding> {
  try {
    const detail = await work();
    const said = typeof detail === 'string' ? detail : 'ok';
    return { check: name, ok: true, detail: said, hint: '' };
  } catch (thrown) {
    const { message, code, hint, details } = AntipodeError.from(thrown);
    const { path, line, column } = details;
    const place =
      line === undefined ? {} : { place: { file: String(path), line: Number(line), column: Number(column) } };
    return { check: name, ok: false, detail: message, hint, code, ...place };
  }
}

/** The configuration first; what depends on it is checked only where it can be read. */
export async function performAll<T>(
  name: string,
  load: () => T,
  checks: (config: T) => readonly Check[],
): Promise<Finding[]> {
  let config: T | undefined;
  const first = await perform([
    name,
    () => {
      config = load();
    },
  ]);
  if (config === undefined) return [first];
  const findings = [first];
  for (const check of checks(config)) findings.push(await perform(check));
  return findings;
}

export const coordinatorFindings = (file: string): Promise<Finding[]> =>
  performAll(
    'coordinator configuration',
    () => loadCoordinatorConfig(file),
    (config) => {
      const { id, tls, dataFolder, databaseUrl, redisUrl, hooks, notifications } = config;
      const child = (program: string, options: Parameters<typeof requireProgram>[1]): Check => [
        program,
        () => requireProgram(program, options),
      ];
      const postgres = { debianPackage: 'postgresql', folders: postgresFolders() };
      return [
        ...tlsChecks('coordinator', { kind: 'coordinator', name: id, tls, dataFolder }),
        ...machineChecks('coordinator', config),
        ...issuerChecks(config),
        ...(hooks.roleChange.length + hooks.veto.length === 0
          ? []
          : [['hooks', () => checkHooks(hooks)] satisfies Check]),
        ...(notifications.receivers.length + notifications.heartbeats.length === 0
          ? []
          : [['receivers of notices', () => checkReceivers(notifications, { id })] satisfies Check]),
        ...(databaseUrl === undefined
          ? [child('postgres', postgres), child('initdb', postgres)]
          : [['database', () => checkDatabase(databaseUrl)] satisfies Check]),
        ...(redisUrl === undefined
          ? [child('redis-server', { debianPackage: 'redis-server' })]
          : [['queue', () => checkQueue(redisUrl)] satisfies Check]),
        ...(databaseUrl === undefined || redisUrl === undefined
          ? [child('setpriv', { debianPackage: 'util-linux' })]
          : []),
      ];
    },
  );

export const agentFindings = (file: string): Promise<Finding[]> =>
  performAll(
    'agent configuration',
    () => loadAgentConfig(file),
    (config) => [
      ...tlsChecks('agent', { kind: 'site', name: config.site, tls: config.tls, dataFolder: config.dataFolder }),
      ...machineChecks('agent', config),
      ...coordinatorChecks('of the agent', config),
      ['pins', () => checkPins(config)],
      ['approvals', () => describeApprovals(config)],
      ['swap', () => checkSwap()],
      ...config.partitions.flatMap((partition): Check[] => [
        [
          `PIN file of ${partition.name}`,
          () => readPinFile(partition.pinFile, { owners: ownersOf(config.dataFolder) }).wipe(),
        ],
        [`token of ${partition.name}`, () => describeToken(config, partition)],
        [`identity of ${partition.name}`, () => proveIdentity(config, partition.name)],
        ...cloningChecks(config, partition),
      ]),
      ...vaultChecks(config),
    ],
  );

/** Each of them, by itself: one that cannot be reached is missed on the day on which it should lead. */
export const coordinatorChecks = (
  of: string,
  { coordinators, tls }: Pick<OperatorConfig, 'coordinators' | 'tls'>,
): Check[] =>
  coordinators.map((coordinator) => [
    coordinators.length === 1 ? `coordinator ${of}` : `coordinator ${coordinator.id} ${of}`,
    () => reachCoordinator(coordinator, tls),
  ]);

/** Not a fault without any: the site behaves as it did before there were approvals. */
function describeApprovals({ approvals }: AgentConfig): string {
  const rules = new ApprovalRules(approvals).listed;
  if (rules.length === 0) return 'none configured: one operator is enough for every action (docs/howto/approvals.md)';
  return rules
    .map(({ group, policy: { required, operators } }) => {
      const names = operators.map(({ name }) => name).join(', ');
      return `${group === '' ? '' : `group ${group}: `}${required} of ${names}, without the requester`;
    })
    .join('; ');
}

/** Every coordinator answers this, once it has checked our certificate. */
async function reachCoordinator(coordinator: CoordinatorAddress, tls: OperatorConfig['tls']): Promise<string> {
  const client = createClient(CoordinatorService, {
    address: coordinator.address,
    tls: { caFile: tls.ca, certificateFile: tls.certificate, keyFile: tls.key },
    expected: { kind: 'coordinator', name: coordinator.id },
    hasCallIds: true,
    defaultTimeoutMs: REACH_MS_MAX,
  });
  try {
    const { term } = await client.getLeader({});
    return `${coordinator.id} at ${coordinator.address} ${term > 0n ? 'leads' : 'stands by'}`;
  } finally {
    client.close();
  }
}

const REACH_MS_MAX = 5_000;

function checkPins({ pinsFile, site, dataFolder }: AgentConfig): string {
  const groups = Object.entries(new Pins(pinsFile).read());
  const owner = statSync(pinsFile, { throwIfNoEntry: false })?.uid;
  const [expected = owner] = ownersOf(dirname(pinsFile));
  if (owner !== undefined && owner !== expected)
    throw new AntipodeError('FILE_UNWRITABLE', `${pinsFile} belongs to user ${owner}, expected ${expected}`, {
      details: { path: pinsFile },
      hint: `Run \`chown ${expected} ${pinsFile}\`. The agent cannot read the file, so it takes no generation from a peer.`,
    });
  const own = groups.find(([, pins]) => pins.some((pin) => pin.site === site));
  if (own !== undefined)
    throw new AntipodeError('CONFIG_INVALID', `${pinsFile} pins a partition of this site for group ${own[0]}`, {
      details: { path: pinsFile, group: own[0] },
      hint: 'Remove that pin from the file by hand. The agent knows its own partitions from the journal.',
    });
  const pinned = new Map(groups.map(([group, pins]) => [group, pins.length]));
  const seats = existsSync(join(dataFolder, 'journal.db')) ? seatedGroups(dataFolder) : [];
  const lacking = seats.filter((group) => (pinned.get(group) ?? 0) === 0);
  if (lacking.length > 0 || (seats.length === 0 && ![...pinned.values()].some((count) => count > 0)))
    throw new AntipodeError(
      'PEER_NOT_PINNED',
      lacking.length > 0
        ? `this site has a seat in group ${lacking.join(', ')} and trusts no partition of another site for it`
        : `${pinsFile} has no partition of another site: this site takes no domain key and no generation from anybody`,
      {
        details: { path: pinsFile, groups: lacking.join(',') },
        hint: 'Run `antipode partition show-identity` at each of the other sites, and compare the fingerprints by telephone or on paper. Then run `antipode peer trust <group> --peer SITE=SERIAL=SHA256` here.',
      },
    );
  return groups.map(([group, pins]) => `${group}: ${pins.length}`).join(', ');
}

export function checkSwap(): string {
  const state = swapState();
  const warning = swapWarning(state);
  if (warning === '') return state;
  throw new AntipodeError('CONFIG_INVALID', warning, { hint: 'See docs/adr/0024-swap-is-kept-away-by-the-system.md.' });
}

/** Opens it as the agent would: a PIN that the token has refused is not tried again. */
async function describeToken(config: AgentConfig, partition: AgentConfig['partitions'][number]): Promise<string> {
  const provider = await openPartition(partitionConfig(partition, config), { log: silentLog, clock: systemClock });
  try {
    const { model, firmware, serial, unenforced, silentSlots, mechanisms } = await provider.describe();
    const weakness = unenforced.length === 0 ? '' : `; accepted without these protections: ${unenforced.join(', ')}`;
    const silent = silentSlots.length === 0 ? '' : `; other slots do not answer: ${silentSlots.join(', ')}`;
    return `${model} ${firmware}, serial ${serial}${mechanismsSaid(mechanisms)}${weakness}${silent}${storeSaid(model, partition)}`;
  } finally {
    await provider.close();
  }
}

/** A damaged file of an unseen store looks like a deletion, up to the loss limit of the group. */
const storeSaid = (model: string, { native }: AgentConfig['partitions'][number]): string =>
  model.startsWith('SoftHSM') && native === undefined
    ? '; damage of its store does not show: set `native: { kind: softhsm }` (docs/devices/softhsm2.md)'
    : '';

/** The mechanisms in use: the self-test found them, or the configuration sets them. */
function mechanismsSaid(mechanisms: PartitionDescription['mechanisms']): string {
  if (mechanisms === undefined) return '';
  const { keyWrap, kdfs, pointEncoding, takesSecrets } = mechanisms;
  const crossing = takesSecrets ? '' : ', takes no secret in the clear';
  return `; wraps by 0x${keyWrap.toString(16)}, agrees by ${kdfs.join(' ')} with ${pointEncoding} points${crossing}`;
}

/** Makes nothing: only one that was made before is proved. */
async function proveIdentity(config: AgentConfig, name: string): Promise<string> {
  if (!existsSync(join(config.dataFolder, 'journal.db')))
    throw new AntipodeError('IDENTITY_MISSING', `partition ${name} has not been initialised`, {
      details: { partition: name },
      hint: `Run \`antipode partition init ${name}\` at this site. It makes the identity key.`,
    });
  showIdentity(config, name);
  return (await initialisePartition({ config, name, log: silentLog })).identitySha256;
}

export const operatorFindings = (file: string): Promise<Finding[]> =>
  performAll(
    'operator configuration',
    () => loadOperatorConfig(file),
    ({ tls, coordinators }) => [
      ...tlsChecks('operator', { kind: 'operator', tls }),
      ...(coordinators.length === 1 ? [] : coordinatorChecks('of the operator', { tls, coordinators })),
      [
        'coordinator reachable',
        async () => {
          const options = { timeoutMs: REACH_MS_MAX };
          const status = await withOperator(file, (client) => client.getStatus({}), options);
          const warnings = certificateWarnings(status, systemClock.wallMs());
          if (warnings.length > 0)
            throw new AntipodeError('CERTIFICATE_INVALID', warnings.join('; '), {
              hint: 'Renew them with `antipode certificate renew`, or by hand as docs/howto/certificates.md says. No restart is needed.',
            });
          return `${status.coordinator}${status.isLeader ? '' : ' (does not lead)'}`;
        },
      ],
    ],
  );

/** A certificate of an application may ask for the status and for places, and nothing else. */
export const applicationFindings = (file: string): Promise<Finding[]> =>
  performAll(
    'application configuration',
    () => loadOperatorConfig(file),
    (config) => {
      const { tls, agent, coordinators } = config;
      return [
        ...tlsChecks('application', { kind: 'application', tls }),
        ...(coordinators.length === 1 ? [] : coordinatorChecks('of the application', config)),
        [
          'coordinator of the application',
          async () => {
            const options = { timeoutMs: REACH_MS_MAX };
            const { coordinator, isLeader } = await withOperator(file, (client) => client.getStatus({}), options);
            return `${coordinator}${isLeader ? '' : ' (does not lead)'}`;
          },
        ],
        ...(agent === undefined ? [] : [['agent of the application', () => reachAgent(agent, tls)] satisfies Check]),
      ];
    },
  );

/** Asks for a group that does not exist. The agent answers that only after it has checked our certificate. */
async function reachAgent(
  { site, address }: { site: string; address: string },
  { ca, certificate, key }: { ca: string; certificate: string; key: string },
): Promise<string> {
  const client = createClient(ResolverService, {
    address,
    tls: { caFile: ca, certificateFile: certificate, keyFile: key },
    expected: { kind: 'site', name: site },
    hasCallIds: true,
    defaultTimeoutMs: REACH_MS_MAX,
  });
  try {
    await client.lastKnown({ group: '' });
  } catch (thrown) {
    if (!hasCode(thrown, 'NOT_FOUND') || isUnreachable(thrown)) throw thrown;
  } finally {
    client.close();
  }
  return `site ${site} at ${address}`;
}

export function findingsTable(findings: readonly Finding[]): string {
  return table(
    ['CHECK', 'RESULT', 'DETAIL'],
    findings.map(({ check, ok, detail, hint }) => [
      check,
      ok ? 'ok' : 'FAILED',
      hint === '' ? detail : `${detail}\n  ${hint}`,
    ]),
  );
}
