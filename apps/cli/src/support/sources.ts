/** The sources of a bundle for support: this machine, the configurations that are here, and the coordinator. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { cpus, freemem, loadavg, release, totalmem, uptime } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describeCertificate, identityUri } from '@antipode/protocol';
import { isAddress, systemClock, VERSION } from '@antipode/runtime';
import { parseDocument } from 'yaml';
import { tellEvents } from '../commands/operator/event-feed.ts';
import { eventJson } from '../commands/operator/events.ts';
import { withOperator } from '../operator-connection.ts';
import { plain } from '../output.ts';
import type { Collected, Source } from './bundle.ts';
import { type ConfigKind, viewOf } from './config-view.ts';

/** The configurations that were named, or found. */
export type Configs = Readonly<Partial<Record<ConfigKind, string>>>;

export interface Asking {
  readonly configs: Configs;
  readonly sinceMs: number;
  readonly timeoutMs: number;
  readonly isWithout: (part: string) => boolean;
}

const json = (value: unknown): string => `${JSON.stringify(value, plain, 2)}\n`;
const kinds = (configs: Configs): [ConfigKind, string][] => Object.entries(configs) as [ConfigKind, string][];

export function sourcesFor(asking: Asking): Source[] {
  const { configs, isWithout } = asking;
  const own = kinds(configs);
  const operatorFile = configs.operator;
  const parts: { part: string; source: Source }[] = [
    { part: 'machine', source: { name: 'machine.json', collect: () => ({ text: json(machine()) }) } },
    { part: 'machine', source: { name: 'libraries.json', collect: () => ({ text: json(libraries()) }) } },
    ...own.flatMap(([kind, file]) => [
      { part: 'config', source: { name: `config/${kind}.json`, collect: () => configuration(kind, file) } },
      { part: 'config', source: { name: `certificates/${kind}.json`, collect: () => certificates(file) } },
      { part: 'disk', source: { name: `disk/${kind}.json`, collect: () => disk(file) } },
      { part: 'doctor', source: { name: `doctor/${kind}.json`, collect: () => doctor(kind, file) } },
    ]),
    ...own
      .filter(([kind]) => kind === 'agent' || kind === 'coordinator')
      .flatMap(([kind, file]) =>
        ['readyz', 'livez', 'metrics'].map((page) => ({
          part: 'health',
          source: { name: `health/${kind}-${page}.txt`, collect: () => healthPage(file, page, asking) },
        })),
      ),
    { part: 'journal', source: { name: 'journal.txt', collect: () => journal(asking) } },
    ...(operatorFile === undefined ? [] : fromCoordinator(operatorFile, asking)),
  ];
  return parts.filter(({ part }) => !isWithout(part)).map(({ source }) => source);
}

export const PARTS = ['machine', 'config', 'disk', 'doctor', 'health', 'journal', 'coordinator'] as const;

function fromCoordinator(file: string, { sinceMs, timeoutMs }: Asking): { part: string; source: Source }[] {
  const asked = (
    name: string,
    ask: (operator: Parameters<Parameters<typeof withOperator>[1]>[0]) => Promise<string>,
  ) => ({
    part: 'coordinator',
    source: {
      name: `coordinator/${name}`,
      collect: async (): Promise<Collected> => {
        const { value, leftOut } = withoutLabels(await withOperator(file, ask, { timeoutMs }));
        return { text: value, leftOut, ...(leftOut === 0 ? {} : { note: 'filters, which may name labels of keys' }) };
      },
    },
  });
  return [
    asked('status.json', async (operator) => json(await operator.getStatus({}, { timeoutMs }))),
    asked('operations.json', async (operator) => json(await operator.listOperations({}, { timeoutMs }))),
    asked('notices.json', async (operator) => json(await operator.listNotices({}, { timeoutMs }))),
    {
      part: 'coordinator',
      source: {
        name: 'coordinator/events.jsonl',
        collect: async (): Promise<Collected> => ({ text: await events(file, { sinceMs, timeoutMs }) }),
      },
    },
  ];
}

/** Filters of groups choose objects by patterns of their labels. */
function withoutLabels(text: string): { value: string; leftOut: number } {
  let leftOut = 0;
  const value = JSON.parse(text, (key, one: unknown) => {
    if (!/^(filter|labels?|.*Label)$/.test(key) || one === null || one === '') return one;
    leftOut += 1;
    return '(left out)';
  }) as unknown;
  return { value: json(value), leftOut };
}

async function events(file: string, { sinceMs, timeoutMs }: { sinceMs: number; timeoutMs: number }): Promise<string> {
  const lines: string[] = [];
  const over = new AbortController();
  await withOperator(file, (operator) =>
    tellEvents(
      { sinceMs: BigInt(sinceMs) },
      {
        list: (page) => operator.listEvents(page, { timeoutMs }),
        clock: { sleep: async () => {} },
        tell: (event) => {
          lines.push(JSON.stringify(eventJson(event)));
          if (lines.length >= EVENTS_MAX) over.abort();
        },
        note: (text) => lines.push(JSON.stringify({ note: text })),
        signal: over.signal,
      },
    ),
  );
  return lines.map((line) => `${line}\n`).join('');
}

const EVENTS_MAX = 20_000;

function machine() {
  const system = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const [, name = 'unknown'] = /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(system) ?? [];
  return {
    antipode: VERSION,
    system: name,
    kernel: release(),
    architecture: process.arch,
    processors: cpus().length,
    load: loadavg(),
    memoryBytes: { total: totalmem(), free: freemem() },
    upSeconds: Math.round(uptime()),
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  };
}

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));

/** Of the program that runs this, and of every package that it uses. */
function libraries() {
  const { dependencies = {} } = packageAt(ROOT);
  const packages = Object.keys(dependencies).map((name) => {
    const folder = join(ROOT, 'node_modules', name);
    return [name, existsSync(folder) ? (packageAt(folder).version ?? 'unknown') : 'missing'];
  });
  return { node: process.versions, packages: Object.fromEntries(packages) as Record<string, string> };
}

const packageAt = (folder: string): { version?: string; dependencies?: Record<string, string> } =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));

function configuration(kind: ConfigKind, file: string): Collected {
  const { view, leftOut } = viewOf(readFileSync(file, 'utf8'), { kind, file });
  return { text: json(view), leftOut, note: 'all settings but known, harmless ones' };
}

interface Settings {
  readonly tls?: Readonly<Record<'ca' | 'certificate' | 'key', string>>;
  readonly dataFolder?: string;
  readonly http?: string;
}

/** An error must not quote the file. */
function settingsIn(file: string): Settings {
  const document = parseDocument(readFileSync(file, 'utf8'), { logLevel: 'silent', prettyErrors: false });
  if (document.errors.length > 0) throw new SyntaxError(`${file} is not YAML: ${document.errors[0]!.code}`);
  return (document.toJS() ?? {}) as Settings;
}

/** Public halves only: who, from when, until when. */
function certificates(file: string): Collected {
  const { tls } = settingsIn(file);
  const described = (['ca', 'certificate'] as const).map((name) => {
    const pem = readFileSync(resolve(dirname(file), String(tls?.[name])), 'utf8');
    const { identity, notBefore, notAfter, fingerprint } = describeCertificate(pem);
    return [name, { identity: identity && identityUri(identity), notBefore, notAfter, fingerprint }];
  });
  return { text: json(Object.fromEntries(described)) };
}

/** Sizes and owners, so that a full disk and a wrong owner are seen. No contents. */
function disk(file: string): Collected {
  const { dataFolder } = settingsIn(file);
  const folders = [dirname(resolve(file)), ...(dataFolder === undefined ? [] : [resolve(dirname(file), dataFolder)])];
  const told = [...new Set([...folders, '/tmp', '/dev/shm', '/'])]
    .filter((one) => existsSync(one))
    .map((folder) => {
      const { bsize, blocks, bavail, files, ffree } = statfsSync(folder);
      const space = { bytes: bsize * blocks, freeBytes: bsize * bavail, files, freeFiles: ffree };
      return { folder, ...space, ...(folders.includes(folder) ? { entries: entriesOf(folder) } : {}) };
    });
  return { text: json(told) };
}

const ENTRIES_MAX = 500;

function entriesOf(folder: string) {
  return readdirSync(folder)
    .sort()
    .slice(0, ENTRIES_MAX)
    .map((name) => {
      const found = statSync(join(folder, name), { throwIfNoEntry: false });
      if (found === undefined) return { name, state: 'gone, or a link to nothing' };
      const { size, mode, uid, gid, mtime } = found;
      return { name, bytes: size, mode: (mode & 0o7777).toString(8), uid, gid, changed: mtime };
    });
}

async function doctor(kind: ConfigKind, file: string): Promise<Collected> {
  const diagnosis = await import('../doctor/diagnosis.ts');
  const findings = {
    agent: diagnosis.agentFindings,
    coordinator: diagnosis.coordinatorFindings,
    operator: diagnosis.operatorFindings,
    application: diagnosis.applicationFindings,
  }[kind];
  return { text: json(await findings(file)) };
}

const PAGE_BYTES_MAX = 8 * 1024 * 1024;

async function healthPage(file: string, page: string, { timeoutMs }: Asking): Promise<Collected> {
  const { http } = settingsIn(file);
  if (typeof http !== 'string' || !isAddress(http)) throw new Error('the configuration has no `http` address');
  const at = http.replace(/^(0\.0\.0\.0|\[::\]):/, 'localhost:');
  const over = new AbortController();
  void systemClock.sleep(timeoutMs, over.signal).then(() => over.abort());
  try {
    const answer = await fetch(`http://${at}/${page}`, { signal: over.signal, redirect: 'error' });
    const parts: Buffer[] = [];
    let bytes = 0;
    for await (const part of answer.body ?? []) {
      parts.push(Buffer.from(part));
      bytes += part.length;
      if (bytes > PAGE_BYTES_MAX) throw new Error(`the page has more than ${PAGE_BYTES_MAX} bytes`);
    }
    return { text: `${answer.status}\n${Buffer.concat(parts).toString()}` };
  } catch (thrown) {
    throw thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  } finally {
    over.abort();
  }
}

const UNITS = ['antipode-agent', 'antipode-coordinator', 'antipode-witness'];
const JOURNAL_LINES = 20_000;
const JOURNAL_BYTES_MAX = 32 * 1024 * 1024;

async function journal({ sinceMs, timeoutMs }: Asking): Promise<Collected> {
  const { stdout } = await promisify(execFile)(
    'journalctl',
    [
      ...['--no-pager', '--quiet', '--output=short-iso-precise', `--lines=${JOURNAL_LINES}`],
      ...[`--since=@${Math.floor(sinceMs / 1_000)}`, ...UNITS.map((unit) => `--unit=${unit}`)],
    ],
    { timeout: timeoutMs * 4, maxBuffer: JOURNAL_BYTES_MAX, killSignal: 'SIGKILL' },
  );
  return { text: stdout };
}
