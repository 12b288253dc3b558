/** `antipode site join`: makes the machine that it runs on to a site, or completes that. */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { SITE_TOKEN_PREFIX, siteTokenFrom } from '@antipode/protocol';
import { ADDRESS_EXPECTED, AntipodeError, isAddress, systemClock } from '@antipode/runtime';
import {
  addressTowards,
  agentConfigPath,
  defaultListen,
  joinCertificate,
  joinConfig,
  type PartitionDraft,
  partitionName,
} from '@antipode/setup';
import { type AgentConfig, loadAgentConfig } from '@antipode/site-agent';
import type { Command } from 'commander';
import { EXIT } from '../../exit-codes.ts';
import { collect, command, JSON_OPTION, parseEnvironment } from '../../options/options.ts';
import { output } from '../../output.ts';
import { PACKAGED } from '../../packaged.ts';
import { detect, theToken } from '../../place/detected.ts';
import { partitionsFrom } from '../init.ts';

const TOKEN_BYTES_MAX = 16 * 1024;
/** Where systemd puts the PINs of the packaged agent. */
const CREDENTIALS = '/run/credentials/antipode-agent.service';

export function joinCommand(): Command {
  return command(
    'join',
    'make this machine a site: key, certificate, configuration, checks; run again to complete it',
    [
      'site join b.token',
      'site join b.token --token-label payments',
      'site join - --witness',
      'site join b.token --folder site-b --module /usr/lib/softhsm/libsofthsm2.so --token-label payments --pin-file payments.pin',
    ],
  )
    .argument('<token>', 'file with the token of `site token`, or - for standard input; never the token itself')
    .option('--folder <folder>', `folder of the site (default: ${PACKAGED.site}, for a witness ${PACKAGED.witness})`)
    .option('--witness', 'a site without an HSM, which votes and watches')
    .option(
      '--listen <host:port>',
      'where coordinators and other agents connect (default: the address from which the coordinator is reached, port 7401)',
    )
    .option('--advertise <host:port>', 'how they reach it, if that differs')
    .option('--module <file>', 'PKCS#11 module (default: it is looked for)')
    .option('--token-label <label>', 'label of the token that will be a member (default: the only one)')
    .option('--pin-file <file>', `file with its user PIN, mode 0600 (default: ${CREDENTIALS}/<label>.pin)`)
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
    .addHelpText(
      'after',
      '\nThe key is made here and never leaves the folder. Before it says anything, the command verifies the coordinator by\nthe digest of the authority in the token. No key and no configuration is ever replaced.',
    )
    .action(async (source: string, options) => {
      const { witness = false, json } = options;
      const said = output({ json });
      const note = (text: string): void => said.note(text);
      const folder = resolve(options.folder ?? (witness ? PACKAGED.witness : PACKAGED.site));
      requireAddress('listen', options.listen);
      requireAddress('advertise', options.advertise);
      requireFolder(folder, options.folder);
      const token = siteTokenFrom(source === '-' ? await tokenFromInput() : tokenText(source, note));
      const config = agentConfigPath(folder);
      if (existsSync(config)) requireSite(config, token.site);
      const written = await joinCertificate(token, { folder, clock: systemClock, note });
      if (!existsSync(config)) {
        const [first] = token.coordinators;
        const made = joinConfig(folder, {
          site: token.site,
          listen: options.listen ?? defaultListen(await addressTowards(first!.join)),
          advertise: options.advertise,
          coordinators: token.coordinators.map(({ id, address }) => ({ id, address })),
          partitions: witness ? [] : await partitionsOf(options, note),
        });
        if (made) written.push(config);
      }
      const { joinFindings } = await import('../../doctor/join-checks.ts');
      const findings = await joinFindings(config);
      const next = nextCommands(folder, loadAgentConfig(config));
      const state = written.length > 0 ? 'joined' : 'already-joined';
      const checks = findings.map(({ check: name, ok, detail, hint }) => ({
        name,
        ok,
        detail,
        ...(hint === '' ? {} : { hint }),
      }));
      const { findingsTable } = await import('../../doctor/diagnosis.ts');
      said.data({ site: token.site, folder, state, written, checks, next }, () =>
        [
          ...(written.length > 0
            ? written.map((file) => `wrote ${file}`)
            : [`this machine is site ${token.site} already; nothing was changed in ${folder}`]),
          '',
          findingsTable(findings),
          '',
          'Next:',
          ...next.map((line) => `  ${line}`),
        ].join('\n'),
      );
      if (findings.some(({ ok }) => !ok)) process.exitCode = EXIT.degraded;
    });
}

interface PartitionOptions {
  readonly partition: string;
  readonly module?: string | undefined;
  readonly tokenLabel?: string | undefined;
  readonly pinFile?: string | undefined;
  readonly scratchTokenLabel?: string | undefined;
  readonly scratchPinFile?: string | undefined;
  readonly environment: readonly string[];
}

/** As far as they are named, and the rest as it is found. @throws PARTITION_NOT_FOUND */
async function partitionsOf(options: PartitionOptions, note: (text: string) => void): Promise<PartitionDraft[]> {
  const { module, tokenLabel, pinFile } = options;
  if (module !== undefined && !existsSync(module))
    throw new AntipodeError('MODULE_UNAVAILABLE', `the PKCS#11 module ${module} does not exist`, {
      details: { module },
      hint: 'Install the module of the HSM (SoftHSM: `apt-get install softhsm2`), or leave out --module to look for it. Then run the same command again.',
    });
  const environment = parseEnvironment(options.environment);
  const token = theToken(await detect({ modules: module === undefined ? [] : [module], environment }), tokenLabel);
  note(`Found token "${token.label}" (${token.serial}) in ${token.module}`);
  return partitionsFrom({
    ...options,
    module: token.module,
    tokenLabel: token.label,
    pinFile: pinFile ?? `${CREDENTIALS}/${partitionName(token.label)}.pin`,
  });
}

function requireAddress(field: string, value: string | undefined): void {
  if (value === undefined || isAddress(value)) return;
  throw new AntipodeError('USAGE', `--${field}: ${ADDRESS_EXPECTED}, found "${value}"`, { details: { field } });
}

/** The package makes its folders, with the user of the service. */
function requireFolder(folder: string, given: string | undefined): void {
  if (given !== undefined || existsSync(folder)) return;
  throw new AntipodeError('USAGE', `${folder} does not exist, expected the folder that the package makes`, {
    details: { field: 'folder' },
    hint: 'Install the Debian package of Antipode, or name a folder with --folder.',
  });
}

/** Waits for the other end of a pipe. A read of the descriptor would fail with EAGAIN while `site token` still works. */
async function tokenFromInput(): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of process.stdin as AsyncIterable<Buffer>) {
    parts.push(part);
    size += part.length;
    if (size > TOKEN_BYTES_MAX) throw tooLong();
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Nothing of it may appear in a message. */
export function tokenText(source: string, note: (text: string) => void): string {
  try {
    const bytes = readAtMost(source, TOKEN_BYTES_MAX + 1);
    if ((statSync(source).mode & 0o077) !== 0)
      note(`Warning: other users of this machine can read ${source}. Remove it when the machine has joined.`);
    if (bytes.length <= TOKEN_BYTES_MAX) return bytes.toString('utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const details = { field: 'token' };
    // Neither in the message nor in the cause, which names the path.
    if (source.includes(SITE_TOKEN_PREFIX))
      throw new AntipodeError('USAGE', 'the token itself must not be an argument: other users of this machine see it', {
        details,
        hint: 'Revoke it (`antipode site token revoke`) and make another one. Name the file that has it, or `-` and give it on standard input.',
      });
    throw new AntipodeError('USAGE', `cannot read the token from ${source}: ${code}`, {
      details,
      cause,
      hint: 'Name the file with the token, or `-` and give it on standard input. The token itself must not be an argument.',
    });
  }
  throw tooLong();
}

const tooLong = (): AntipodeError => new AntipodeError('SITE_TOKEN_INVALID', 'not a token of a site: it is too long');

/** From a file or a pipe. One that never ends is left alone after that. */
function readAtMost(source: string, bytesMax: number): Buffer {
  const file = openSync(source, 'r');
  try {
    const buffer = Buffer.alloc(bytesMax);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytesMax; length += read)
      read = readSync(file, buffer, length, bytesMax - length, null);
    return buffer.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

function requireSite(config: string, site: string): void {
  const found = loadAgentConfig(config).site;
  if (found === site) return;
  throw new AntipodeError('FILE_EXISTS', `${config} is of site ${found}, and the token is for site ${site}`, {
    details: { path: config, found, expected: site },
    hint: 'Take another folder with --folder. Nothing was changed here, and the token was not used.',
  });
}

/** From here to the first generation. With the package by its services, and else in the foreground. */
function nextCommands(folder: string, { witness, partitions }: AgentConfig): string[] {
  const isPackaged = folder === PACKAGED.site || folder === PACKAGED.witness;
  const start = isPackaged
    ? `systemctl enable --now antipode-${witness ? 'witness' : 'agent'}`
    : `antipode agent run --config ${join(folder, 'agent.yaml')}`;
  const here = isPackaged ? 'antipode-site' : `cd ${dirname(join(folder, 'agent.yaml'))} && antipode`;
  const names = partitions.map(({ name }) => name);
  return [
    start,
    ...names.map((name) => `${here} partition init ${name}`),
    ...names.map((name) => `${here} partition show-identity ${name}`),
  ];
}
