import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { AntipodeError, requireNoFile, systemClock, writeNewFile } from '@antipode/runtime';
import { type Command, InvalidArgumentError } from 'commander';
import { ask } from '../confirm.ts';
import { command, JSON_OPTION, seconds } from '../options/options.ts';
import { output, type Structure, table } from '../output.ts';
import { type Bundle, collected, LIST } from '../support/bundle.ts';
import type { ConfigKind } from '../support/config-view.ts';
import { secretsOf } from '../support/known-secrets.ts';
import { Scrubber } from '../support/scrubber.ts';
import { type Configs, PARTS, sourcesFor } from '../support/sources.ts';
import { moment } from './operator/events.ts';

/** Of one question to a server. */
const TIMEOUT_S = 10;
const DAY_MS = 86_400_000;
const KINDS = ['agent', 'coordinator', 'operator', 'application'] as const satisfies readonly ConfigKind[];

interface SupportOptions extends Partial<Record<ConfigKind, string>> {
  readonly out?: string;
  readonly since?: number;
  readonly without: readonly string[];
  readonly timeout: number;
  readonly yes?: true;
  readonly json?: Structure;
}

export function supportBundleCommand(): Command {
  return command('support-bundle', 'collect what a supporter needs into one file, without secrets', [
    'support-bundle',
    'support-bundle --agent /etc/antipode/agent.yaml --operator operator.yaml',
    'support-bundle --since 2d --without doctor --out case-17.tar.gz',
    'support-bundle --yes --json',
  ])
    .option('--agent <file>', 'configuration of a site agent')
    .option('--coordinator <file>', 'configuration of a coordinator')
    .option('--operator <file>', 'configuration of an operator, to ask the coordinator')
    .option('--application <file>', 'configuration of an application')
    .option('-o, --out <file>', 'file to write (default: antipode-support-<time>.tar.gz here)')
    .option('--since <time>', 'events and journal since then, as of `events` (default: 1d)', moment)
    .option(`--without <part>`, `leave a part out: ${PARTS.join(', ')}; repeatable`, part, [])
    .option('--timeout <seconds>', 'how long to wait for each answer', seconds, TIMEOUT_S)
    .option('--yes', 'write it without a question')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nWithout a configuration, it looks for agent.yaml, coordinator.yaml, operator.yaml and application.yaml in this\nfolder. Everything that goes into the file is listed before it is written. A source that fails is listed too.\nThe doctor logs in to the tokens of an agent; `--without doctor` does not.',
    )
    .action(async (options: SupportOptions) => makeBundle(options));
}

async function makeBundle(options: SupportOptions): Promise<void> {
  const nowMs = systemClock.wallMs();
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  const folder = `antipode-support-${stamp}`;
  const out = options.out ?? `${folder}.tar.gz`;
  requireNoFile(out);
  const shown = output(options);
  const configs = configsOf(options);
  const bundle = await collected(
    sourcesFor({
      configs,
      sinceMs: options.since ?? nowMs - DAY_MS,
      timeoutMs: options.timeout * 1_000,
      isWithout: (one) => options.without.includes(one),
    }),
    { clock: systemClock, scrubber: new Scrubber(secretsOf(Object.values(configs))), folder },
  );
  const { files, missing } = bundle;
  const archive = bundle.archive();
  if (options.yes !== true) {
    shown.note(listText(bundle));
    const answer = await ask(`Write these files to ${out} (${archive.length} bytes)? [y/N] `, { option: '--yes' });
    if (!/^y(es)?$/i.test(answer.trim()))
      throw new AntipodeError('USAGE', 'it was not confirmed; nothing was written', { details: { field: 'yes' } });
  }
  writeNewFile(out, archive, { mode: 0o600 });
  const written = { path: resolve(out), bytes: archive.length, files, missing };
  shown.data(
    written,
    () => `${options.yes === true ? `${listText(bundle)}\n\n` : ''}Wrote ${out}: ${archive.length} bytes.`,
  );
}

/** Those that were named, else those in this folder. One that is missing is in the list of what was not collected. */
function configsOf(given: SupportOptions): Configs {
  const isNamed = KINDS.some((kind) => given[kind] !== undefined);
  const found = KINDS.flatMap((kind): [ConfigKind, string][] => {
    const named = given[kind];
    if (named !== undefined) return [[kind, named]];
    return !isNamed && existsSync(`${kind}.yaml`) ? [[kind, `${kind}.yaml`]] : [];
  });
  return Object.fromEntries(found);
}

function listText({ files, missing }: Bundle): string {
  const rows = files.map(({ file, bytes, redacted, leftOut, note, isCut }) => {
    const taken = [
      redacted > 0 && `${redacted} secrets`,
      leftOut > 0 && `${leftOut} values${note === '' ? '' : ` (${note})`}`,
      isCut && 'its beginning: too large',
    ];
    return [file, String(bytes), taken.filter(Boolean).join('; ') || '-'];
  });
  const absent = missing.map(({ file, code, message }) => `  ${file}: [${code}] ${message.split('\n')[0]}`);
  return [
    table(['FILE', 'BYTES', 'TAKEN OUT'], [...rows, [LIST, '-', '-']]),
    ...(absent.length === 0 ? [] : ['', 'Not collected:', ...absent]),
  ].join('\n');
}

function part(value: string, previous: readonly string[] = []): string[] {
  if (!(PARTS as readonly string[]).includes(value))
    throw new InvalidArgumentError(`It must be one of ${PARTS.join(', ')}.`);
  return [...previous, value];
}
