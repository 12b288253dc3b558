/** Certificates of the processes and people of this system: what is in use, and another one with a new key. */
import { dirname, join, resolve } from 'node:path';
import {
  type CoordinatorAddress,
  coordinatorsFrom,
  describeCertificate,
  identityUri,
  installRenewal,
  operatorsSchema,
  type RevocationRules,
  renewalDueMs,
  renewedByAny,
  requestRenewal,
  revocationSchema,
  type TlsFiles,
} from '@antipode/protocol';
import {
  AntipodeError,
  isAddress,
  loadConfig,
  requireNoFile,
  sha256Hex,
  systemClock,
  within,
  writeFileDurably,
  writeNewFile,
} from '@antipode/runtime';
import { openRequest } from '@antipode/setup';
import { revocationRulesOf } from '@antipode/site-agent';
import type { Command } from 'commander';
import { z } from 'zod';
import { confirm } from '../../confirm.ts';
import { dialCoordinator, openTls, operatorConfigFile, refreshRevocations } from '../../operator-connection.ts';
import { command, days, JSON_OPTION } from '../../options/options.ts';
import { output } from '../../output.ts';
import { readFile } from './at-desk.ts';
import { revokeCommand, unrevokeCommand } from './revoke.ts';
import { revokedCommand } from './revoked.ts';

const PUBLIC = 0o644;
const RENEW_MS_MAX = 30_000;

const address = z.looseObject({ id: z.string(), address: z.string().refine(isAddress) });
/** The part that the files of all kinds share. The rest is checked by the processes that read it. */
const schema = z.looseObject({
  tls: z.strictObject({ ca: z.string().min(1), certificate: z.string().min(1), key: z.string().min(1) }),
  coordinator: address.optional(),
  coordinators: z.array(address).optional(),
});

/** Whose lists count. Read by a renewal only: a fault in it keeps nobody from putting a certificate in by hand. */
const rulesSchema = z.looseObject({
  /** Of an agent, whose list of revoked certificates is in it. Those of others are beside their configurations. */
  dataFolder: z.string().min(1).default('.'),
  revocation: revocationSchema.optional(),
  approvals: z.looseObject({ required: z.number(), operators: operatorsSchema }).optional(),
});

interface OwnFiles {
  readonly files: TlsFiles;
  readonly coordinators: readonly CoordinatorAddress[];
}

function load(given: string | undefined): OwnFiles {
  const file = operatorConfigFile(given);
  const { tls, coordinator, coordinators } = loadConfig(file, schema);
  const from = (path: string): string => resolve(dirname(file), path);
  const found = coordinatorsFrom({ coordinator, coordinators });
  return {
    files: { caFile: from(tls.ca), certificateFile: from(tls.certificate), keyFile: from(tls.key) },
    coordinators: 'list' in found ? found.list : [],
  };
}

function loadRules(given: string | undefined): { revocation: RevocationRules | undefined; revocationsFile: string } {
  const file = operatorConfigFile(given);
  const { dataFolder, ...rules } = loadConfig(file, rulesSchema);
  const folder = resolve(dirname(file), dataFolder);
  return { revocation: revocationRulesOf(rules), revocationsFile: join(folder, 'revocations.json') };
}

const CONFIG = [
  '-c, --config <file>',
  'agent.yaml, coordinator.yaml, operator.yaml or application.yaml (default: that of the operator)',
] as const;

function showCommand(): Command {
  return command('show', 'show the certificate in use, its end, and from when on it is renewed', [
    'certificate show --config agent.yaml',
  ])
    .option(...CONFIG)
    .option(...JSON_OPTION)
    .action(({ config, json }) => {
      const { certificateFile: path } = load(config).files;
      const pem = readFile(path);
      const { identity, notBefore, notAfter, fingerprint } = describeCertificate(pem);
      const found = {
        path,
        identity: identity === undefined ? '' : identityUri(identity),
        begins: notBefore.toISOString(),
        ends: notAfter.toISOString(),
        renewedFrom: new Date(renewalDueMs(pem)).toISOString(),
        fingerprint,
      };
      output({ json }).data(found, () =>
        [
          `identity       ${found.identity}`,
          `begins         ${found.begins}`,
          `ends           ${found.ends}`,
          `renewed from   ${found.renewedFrom}`,
          `fingerprint    ${found.fingerprint}`,
        ].join('\n'),
      );
    });
}

function requestCommand(): Command {
  return command('request', 'make the next key, and a request for its certificate', [
    'certificate request --config agent.yaml --out a.csr',
  ])
    .option(...CONFIG)
    .requiredOption('--out <file>', 'where to write the request; it is not secret')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nThe key stays beside the key in use. Repeating the command makes a request with the same key.',
    )
    .action(async ({ config, out, json }) => {
      const requestPem = await requestRenewal(load(config).files);
      writeFileDurably(out, requestPem, { mode: PUBLIC });
      output({ json }).data({ file: out }, () => `wrote ${out}`);
    });
}

function signCommand(): Command {
  return command('sign', 'sign a request with an authority or an issuer', [
    'certificate sign a.csr --authority ca --out a.crt',
  ])
    .argument('<file>', 'the request')
    .requiredOption('--authority <folder>', 'folder of the authority, or of an issuer')
    .requiredOption('--out <file>', 'where to write the certificate')
    .option('--days <days>', 'life of the certificate (default: 365)', days)
    .option('--yes', 'do not ask for confirmation')
    .option(...JSON_OPTION)
    .addHelpText('after', '\nThe certificate makes its holder the one that it names. Ask where the request comes from.')
    .action(async (file, options) => {
      const out = output(options);
      requireNoFile(options.out);
      const { request, uri, sign } = await openRequest(readFile(file), options);
      out.note(`The request is for ${uri}, with the key ${sha256Hex(request.spki)}.`);
      if (options.yes !== true) await confirm(request.identity.name, 'whoever the request is for');
      const certificatePem = await sign(options.days);
      writeNewFile(options.out, certificatePem, { mode: PUBLIC });
      const ends = describeCertificate(certificatePem).notAfter.toISOString();
      out.data({ file: options.out, identity: uri, ends }, () => `wrote ${options.out}: ${uri} until ${ends}`);
    });
}

function installCommand(): Command {
  return command('install', 'put the next key and its certificate into use; what runs needs no restart', [
    'certificate install a.crt --config agent.yaml',
  ])
    .argument('<file>', 'the certificate')
    .option(...CONFIG)
    .option(...JSON_OPTION)
    .action((file, { config, json }) => {
      const { files } = load(config);
      const ends = installRenewal(files, { certificatePem: readFile(file), clock: systemClock }).toISOString();
      output({ json }).data({ file: files.certificateFile, ends }, () => `The certificate in use ends on ${ends}`);
    });
}

function renewCommand(): Command {
  return command('renew', 'renew a certificate at a coordinator that holds an issuer', [
    'certificate renew',
    'certificate renew --config agent.yaml',
  ])
    .option(...CONFIG)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nAgents and coordinators do it by themselves, at two thirds of the life of their certificates. It calls no coordinator\nwhose certificate is revoked, if the configuration says whose lists count.',
    )
    .action(async ({ config, json }) => {
      const { files, coordinators } = load(config);
      if (coordinators.length === 0)
        throw new AntipodeError('USAGE', 'the configuration names no coordinator to ask', {
          details: { field: 'config' },
          hint: 'A coordinator with an issuer renews its own certificate while it runs. Without one, use `antipode certificate request`.',
        });
      const { caFile: ca, certificateFile: certificate, keyFile: key } = files;
      const { revocation, revocationsFile } = loadRules(config);
      const tls = openTls({ tls: { ca, certificate, key }, revocation, revocationsFile });
      await refreshRevocations({ coordinators, revocationsFile }, tls);
      const refusal = tls.ownRefusal();
      if (refusal !== undefined) throw refusal;
      const requestPem = await requestRenewal(files);
      const certificatePem = await within(
        { clock: systemClock, timeoutMs: RENEW_MS_MAX, what: 'the certificate' },
        () => renewedByAny(requestPem, { coordinators, dial: dialCoordinator(tls) }),
      );
      const ends = installRenewal(files, { certificatePem, clock: systemClock }).toISOString();
      output({ json }).data({ file: certificate, ends }, () => `The certificate in use ends on ${ends}`);
    });
}

export function certificateCommand(): Command {
  const certificate = command('certificate', 'the certificate of a process or a person: show it, renew it, revoke it');
  for (const one of [
    showCommand(),
    renewCommand(),
    requestCommand(),
    signCommand(),
    installCommand(),
    revokeCommand(),
    unrevokeCommand(),
    revokedCommand(),
  ])
    certificate.addCommand(one);
  return certificate;
}
