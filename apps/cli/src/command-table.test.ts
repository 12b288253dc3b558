import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { COMMANDS, loadCommands } from './command-table.ts';
import { program } from './main.ts';

const ROOT = join(import.meta.dirname, '../../..');
const MAIN = join(ROOT, 'apps/cli/src/main.ts');

/** Writes the files and the parts of Node that the process has loaded, when it ends. */
const RECORDER = `
import { writeSync } from 'node:fs';
import { registerHooks } from 'node:module';
const loaded = [];
registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
process.once('exit', () => writeSync(3, [...loaded, ...process.moduleLoadList].join('\\n')));
`;

/** The places under the root from which a process has loaded files, and the parts of Node, of those that are named. */
function loadedBy(words: readonly string[], places: readonly string[]): string[] {
  const preload = `data:text/javascript,${encodeURIComponent(RECORDER)}`;
  const { output, status, stderr } = spawnSync(process.execPath, ['--import', preload, ...words], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  const loaded = (output[3] ?? '').split('\n');
  return places.filter((place) => loaded.some((one) => one.includes(place)));
}

describe('a command', () => {
  it('is in the table under its own name, and once', async () => {
    const all = await loadCommands(new Command(), []);
    expect(all.map((one) => one.name())).toEqual(Object.keys(COMMANDS));
  });

  it.each(Object.keys(COMMANDS))('is the same by itself as among all others: %s', async (name) => {
    const helpIn = (root: Command): string => root.commands.find((one) => one.name() === name)!.helpInformation();
    expect(helpIn(await program([name]))).toBe(helpIn(await program()));
  });

  it('that completes words knows all others', async () => {
    expect((await program(['completion', 'bash'])).commands).toHaveLength(Object.keys(COMMANDS).length);
  });

  it.each(['constructor', '--help', 'statu', undefined])('is looked for among all after %s', async (word) => {
    const words = word === undefined ? [] : [word];
    expect((await program(words)).commands).toHaveLength(Object.keys(COMMANDS).length);
  });
});

/** Each takes a tenth of the processor time of a start, or more. */
const HEAVY = [
  '/services/site-agent/',
  '/services/coordinator/',
  '/packages/hsm-core/',
  '/node_modules/@peculiar/x509/',
  'NativeModule internal/deps/undici/undici',
];

describe('a start', () => {
  it('of a command of an operator loads no agent, no coordinator and no client of an HSM', () => {
    expect(loadedBy([MAIN, 'status', '--help'], [...HEAVY, '/commands/operator/status.ts'])).toEqual([
      '/commands/operator/status.ts',
    ]);
  });

  it('of a coordinator loads no agent', () => {
    expect(loadedBy([MAIN, 'coordinator', 'run', '--help'], [...HEAVY, '/commands/run.ts'])).toEqual([
      '/commands/run.ts',
    ]);
  });

  it.each(['site-agent', 'coordinator'])('of the service %s makes no certificate', (service) => {
    const index = join(ROOT, 'services', service, 'src/index.ts');
    expect(loadedBy([index], HEAVY.slice(3))).toEqual([]);
  });

  it('of the process beside an HSM knows no network', () => {
    const main = join(ROOT, 'packages/hsm-core/src/pkcs11/provider.ts');
    expect(loadedBy([main], HEAVY)).toEqual(['/packages/hsm-core/']);
  });
});
