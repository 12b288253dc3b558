/** The list of revoked certificates that is in force: who goes by which, who is on it, and a new one brought in. */

import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { spokenDigest } from '@antipode/operator';
import {
  describeCertificate,
  parseIdentity,
  type Revocation,
  RevocationBook,
  type RevocationList,
  revocationIn,
  revocationListText,
  revocationSchema,
  revocationsFromFileText,
  revokedText,
  type SignedRevocations,
  type Tls,
} from '@antipode/protocol';
import { AntipodeError, loadConfig } from '@antipode/runtime';
import { loadAgentConfig, revocationRulesOf } from '@antipode/site-agent';
import type { Command } from 'commander';
import { z } from 'zod';
import { confirm } from '../../confirm.ts';
import { EXIT } from '../../exit-codes.ts';
import { command, JSON_OPTION, operatorCommand, readCommand, seconds } from '../../options/options.ts';
import { output, table, warn } from '../../output.ts';
import type { Answered, ListInForce } from '../../revocations/revocation-desk.ts';
import { isNamed } from '../../revocations/revocation-plan.ts';
import { isHeard } from '../../views/heard.ts';
import { type Desk, MS, planOf, readFile, statusOf, TIMEOUT_S, tellPlan, withDesk } from './at-desk.ts';

function submitCommand(): Command {
  return operatorCommand('submit', 'bring a list that operators have signed to the processes', [
    'certificate revoked submit list.json --dry-run',
    'certificate revoked submit list.json',
  ])
    .argument('<file>', 'the list')
    .option('--dry-run', 'print what would be refused and what groups lose; change nothing')
    .option('--yes', 'do not ask for confirmation')
    .option('--timeout <seconds>', 'how long to wait for each process', seconds, TIMEOUT_S)
    .addHelpText(
      'after',
      '\nIt goes to every coordinator, and to the agent of the configuration. All others have it within a minute. It needs a\ncertificate with role security. Without a connection, use `certificate revoked install` at a site.',
    )
    .action((path, options) =>
      withDesk(options, async (at) => {
        const out = output(options);
        const { parsed: list, ...signed } = revocationsFromFileText(readFile(path));
        const { newest } = await at.desk.read();
        const plan = await planOf(at, { list, inForce: newest?.list, timeoutMs: options.timeout * MS });
        for (const line of revocationListText(list)) out.note(line);
        tellPlan(out, plan);
        if (options.dryRun === true) return out.data(plan, () => 'Nothing was changed (--dry-run).');
        if (options.yes !== true) await confirm(list.trustDomain, 'the trust domain');
        const processes = await at.desk.submit(signed);
        takeHere(at.tls, signed);
        if (processes.some(({ error }) => error !== undefined)) process.exitCode = EXIT.degraded;
        out.data({ version: list.version, processes: processes.map(shown) }, () =>
          processTable(processes, list.version),
        );
      }),
    );
}

/** The operator's own commands go by it too. Its own rules may name other people. */
function takeHere({ revocations }: Tls, signed: SignedRevocations): void {
  try {
    revocations?.take(signed);
    if (revocations !== undefined && revocations.problem !== '') warn(`${revocations.problem}.`);
  } catch (thrown) {
    if (!(thrown instanceof AntipodeError)) throw thrown;
    warn(`this configuration does not take the list: ${thrown.message}`);
  }
}

const shown = ({ process, version, problem }: Answered) => ({ process, version, problem });

function processTable(processes: readonly Answered[], version: number): string {
  return table(
    ['PROCESS', 'VERSION', 'PROBLEM'],
    processes.map((one) => [
      one.process,
      one.error === undefined ? String(one.version) : '-',
      one.problem || (one.version < version ? 'older' : '-'),
    ]),
  );
}

const AWAY: ReadonlySet<string> = new Set(['suspect', 'down', 'unknown']);

function listCommand(): Command {
  return readCommand('list', 'list what is revoked, and which process goes by which list', [
    'certificate revoked list',
    'certificate revoked list --json',
  ]).action((options) =>
    withDesk(options, async (at) => {
      const [{ newest, processes }, status] = await Promise.all([at.desk.read(), statusOf(at, options.timeout * MS)]);
      const told = new Set(processes.map(({ process }) => process));
      const sites = (status?.sites ?? []).flatMap(({ site, state, revocations }): Answered[] => {
        if (told.has(`site/${site}`)) return [];
        if (!isHeard(state)) return [{ process: `site/${site}`, version: revocations?.version ?? 0, problem: state }];
        const problem = revocations?.hasRules === true ? revocations.problem : 'REVOCATION_RULES_MISSING';
        return [{ process: `site/${site}`, version: revocations?.version ?? 0, problem }];
      });
      const all = [...processes, ...sites];
      if (processes.every(({ error }) => error !== undefined)) throw processes[0]!.error!;
      const version = newest?.list.version ?? 0;
      // A site that is down takes the list when it is back; the revoked one among them never does.
      if (all.some((one) => !AWAY.has(one.problem) && (one.version !== version || one.problem !== '')))
        process.exitCode = EXIT.degraded;
      const { list, digest = '' } = newest ?? {};
      output(options).data({ version, digest, entries: list?.entries ?? [], processes: all.map(shown) }, () =>
        [
          list === undefined ? 'No list of revoked certificates is in force.' : listText(list, digest),
          processTable(all, version),
        ].join('\n\n'),
      );
    }),
  );
}

function listText(list: RevocationList, digest: string): string {
  const { version, made, madeBy, entries } = list;
  const head = `Version ${version} (${spokenDigest(digest)}), made by ${madeBy} at ${made}`;
  if (entries.length === 0) return `${head}. Nothing is revoked.`;
  return [
    head,
    table(
      ['SINCE', 'WHAT', 'REASON'],
      entries.map((entry) => [entry.since, revokedText(entry), entry.reason]),
    ),
  ].join('\n');
}

function showCommand(): Command {
  return readCommand('show', 'say whether a certificate or an identity is revoked, by which entry and why', [
    'certificate revoked show site-b/tls.crt',
    'certificate revoked show site/b',
  ])
    .argument('<what>', 'the file of a certificate, or KIND/NAME, or the first digits of a SHA-256')
    .addHelpText('after', `\nIt ends with ${EXIT.refused} if the certificate, or one of that name, is revoked.`)
    .action((what: string, options) =>
      withDesk(options, async (at) => {
        const { newest } = await at.desk.read();
        const entries = newest === undefined ? [] : entriesFor(what, newest, at);
        if (entries.length > 0) process.exitCode = EXIT.refused;
        output(options).data({ what, version: newest?.list.version ?? 0, entries }, () =>
          entries.length === 0
            ? `${what} is not revoked.`
            : entries
                .map((entry) => `Revoked since ${entry.since}: ${revokedText(entry)}. Reason: ${entry.reason}`)
                .join('\n'),
        );
      }),
    );
}

function entriesFor(what: string, { list }: ListInForce, { tls }: Desk): Revocation[] {
  if (!existsSync(what) || parseIdentity(`spiffe://${tls.identity.trustDomain}/${what}`) !== undefined)
    return list.entries.filter((entry) => isNamed(entry, what));
  const found = revocationIn(list.entries, new X509Certificate(readFile(what)));
  return found === undefined ? [] : [found];
}

const installSchema = z.looseObject({
  id: z.string(),
  tls: z.looseObject({ certificate: z.string() }),
  dataFolder: z.string(),
  revocation: revocationSchema.optional(),
});

function installCommand(): Command {
  return command('install', 'put a list that operators have signed beside the process here, without a connection', [
    'certificate revoked install list.json --config agent.yaml',
  ])
    .argument('<file>', 'the list')
    .requiredOption('-c, --config <file>', 'agent.yaml or coordinator.yaml')
    .option(...JSON_OPTION)
    .addHelpText('after', '\nThe process takes it within 20 s, and brings it to all others that it reaches.')
    .action((path, { config, json }) => {
      const { file, rules, certificateFile } = placeOf(config);
      const { identity } = describeCertificate(readFile(certificateFile));
      const book = new RevocationBook({ file, trustDomain: identity?.trustDomain ?? '', rules });
      const { parsed: _, ...signed } = revocationsFromFileText(readFile(path));
      const isNew = book.take(signed);
      output({ json }).data({ file, version: book.version, isNew }, () =>
        isNew ? `Version ${book.version} is in ${file}` : `Version ${book.version} was in ${file} already`,
      );
    });
}

function placeOf(config: string) {
  const from = (path: string): string => resolve(dirname(config), path);
  const loose = loadConfig(config, z.looseObject({ site: z.string().optional() }));
  if (loose.site !== undefined) {
    const agent = loadAgentConfig(config);
    return {
      file: resolve(agent.dataFolder, 'revocations.json'),
      rules: revocationRulesOf(agent),
      certificateFile: agent.tls.certificate,
    };
  }
  const { dataFolder, revocation, tls } = loadConfig(config, installSchema);
  return {
    file: resolve(from(dataFolder), 'revocations.json'),
    rules: revocation,
    certificateFile: from(tls.certificate),
  };
}

export function revokedCommand(): Command {
  const revoked = command('revoked', 'the list of revoked certificates: who goes by which, and bring in a new one');
  for (const one of [listCommand(), showCommand(), submitCommand(), installCommand()]) revoked.addCommand(one);
  return revoked;
}
