import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VERSION } from '@antipode/runtime';
import type { Command } from 'commander';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EXIT, EXIT_MEANINGS } from './exit-codes.ts';
import { main, program } from './main.ts';

const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-main-'));
afterAll(() => rmSync(folder, { recursive: true }));

const written = { stdout: '', stderr: '' };
beforeEach(() => {
  for (const stream of ['stdout', 'stderr'] as const) {
    written[stream] = '';
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += String(text);
      return true;
    });
  }
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

/** How a command line ends, and what it wrote. */
async function antipode(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  process.exitCode = undefined;
  await main(argv);
  return { code: Number(process.exitCode ?? 0), ...written };
}

interface Entry {
  readonly name: string;
  readonly command: Command;
  readonly help: string;
}

/** Every command of the tree with its help, as `--help` prints it. */
function entries(command: Command, path: readonly string[] = []): Entry[] {
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) });
  command.outputHelp();
  const children = command.commands.flatMap((child) => entries(child, [...path, child.name()]));
  return [{ name: path.join(' '), command, help }, ...children];
}
const ALL = entries(await program());
const has = (command: Command, option: string): boolean => command.options.some(({ long }) => long === option);
/** They run something, or print what a shell reads. */
const WITHOUT_ANSWER: readonly string[] = ['agent run', 'completion', 'coordinator run', 'dashboard', 'run'];
const EXAMPLES = ALL.flatMap(({ help }) =>
  [...help.matchAll(/^ {2}\$ antipode (.+)$/gm)].map(([, example]) => example!),
);

describe('help', () => {
  it.each(ALL.map((one) => [one.name || 'antipode', one] as const))(
    'of "%s" describes it, its options and arguments',
    (_name, one) => {
      const { command } = one;
      const described = [
        command.description(),
        ...[...command.options, ...command.registeredArguments].map((part) => part.description),
      ];
      for (const text of described) expect(text.trim()).not.toBe('');
      expect(command.commands.every((child) => one.help.includes(child.description().split(' ')[0]!))).toBe(true);
    },
  );

  it.each(ALL.map((one) => [one.name || 'antipode', one] as const))('of "%s" shows an example of it', (_name, one) => {
    const start = `  $ antipode ${one.name}`.trimEnd();
    expect(one.help.split('\n').some((line) => line === start || line.startsWith(`${start} `))).toBe(true);
  });

  it('shows no default that is empty', () => {
    for (const { help } of ALL) expect(help).not.toMatch(/default:\s+(?:\[\]|"")/);
  });

  it('says how programs receive an error', () => {
    expect(ALL[0]!.help).toContain('{"error":{"code":');
    for (const { command, help } of ALL)
      if (command.options.some(({ long }) => long === '--json')) expect(help).toContain('JSON');
  });

  it.each([...new Set(EXAMPLES)])('has an example that the command line takes: %s', async (example) => {
    const words = [...example.replace(/ >>? .*$/, '').matchAll(/"([^"]*)"|(\S+)/g)].map(
      ([, quoted, bare]) => quoted ?? bare!,
    );
    const root = await program(words);
    const taken: string[] = [];
    for (const { command, name } of entries(root))
      if (command.commands.length === 0) command.action(() => void taken.push(name));
    await root.parseAsync(words, { from: 'user' });
    expect(taken).toHaveLength(1);
    expect(example.startsWith(taken[0]!)).toBe(true);
  });

  it('offers every form of the answer wherever there is an answer', () => {
    const without = ALL.filter(({ command }) => command.commands.length === 0 && !has(command, '--output'));
    expect(without.map(({ name }) => name).sort()).toEqual(WITHOUT_ANSWER);
    for (const { command, help } of ALL)
      if (has(command, '--output')) {
        expect(has(command, '--json')).toBe(true);
        expect(help).toMatch(/choices:\s+"table",\s+"json",\s+"yaml"/);
      }
  });

  it('explains the exit codes', () => {
    for (const [code, meaning] of EXIT_MEANINGS)
      expect(ALL[0]!.help).toMatch(new RegExp(`^ +${code}  ${meaning.replace(/[.*+?^()|[\]\\]/g, '\\$&')}$`, 'm'));
  });

  it('goes to standard output and is not an error', async () => {
    const { code, stdout, stderr } = await antipode('failover', '--help');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('--accept-loss');
  });
});

describe('a command line', () => {
  it.each([
    ['nonsense'],
    ['group', 'nonsense'],
    ['failover'],
    ['status', '--no-such-option'],
    ['group', 'create', 'payments'],
    ['group', 'create', 'payments', '--member', 'a=1', '--failover', 'sometimes'],
    ['init', 'coordinator', '--folder', 'x'],
    ['failover', 'payments', '--timeout', 'soon'],
    ['completion', 'csh'],
    ['doctor'],
    ['drill', 'list', '--limit', 'some'],
  ])('that is not valid ends with 2, and says so on standard error only: %s %s', async (...argv) => {
    const { code, stdout, stderr } = await antipode(...argv);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr.trim()).not.toBe('');
  });

  it('may ask for the version', async () => {
    expect(await antipode('--version')).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' });
  });
});

describe('JSON', () => {
  const make = (): ReturnType<typeof antipode> =>
    antipode('init', 'authority', '--folder', join(folder, 'ca'), '--trust-domain', 'dr.example.org', '--json');

  it('is all there is on standard output', async () => {
    const { code, stdout, stderr } = await make();
    expect([code, stderr]).toEqual([0, '']);
    const files = ['ca.crt', 'ca.key', 'trust-domain'].map((name) => join(folder, 'ca', name));
    expect(JSON.parse(stdout)).toEqual({ files });
    expect(readdirSync(join(folder, 'ca')).sort()).toEqual(['ca.crt', 'ca.key', 'trust-domain']);
  });

  it('tells of an error with its code, what to do, and what it is about', async () => {
    const { code, stdout, stderr } = await make();
    expect([code, stdout]).toEqual([1, '']);
    expect(JSON.parse(stderr)).toEqual({
      error: {
        code: 'FILE_EXISTS',
        message: expect.any(String),
        hint: expect.any(String),
        details: { path: join(folder, 'ca', 'ca.crt') },
      },
    });
  });

  it('has a finding for every check of the doctor, and the status says whether all are well', async () => {
    const authority = join(folder, 'ca');
    const site = join(folder, 'coordinator');
    const common = ['--authority', authority, '--folder', site, '--id', 'main', '--listen', 'localhost:0'];
    await antipode('init', 'coordinator', ...common);
    written.stdout = '';
    const file = join(site, 'coordinator.yaml');
    const well = await antipode('doctor', '--json', '--coordinator', file);
    expect([well.code, (JSON.parse(well.stdout) as { ok: boolean }[]).every(({ ok }) => ok)]).toEqual([0, true]);
    expect(JSON.parse(well.stdout).slice(0, 2)).toEqual([
      { check: 'coordinator configuration', ok: true, detail: 'ok', hint: '' },
      { check: 'coordinator certificate', ok: true, detail: expect.stringMatching(/^coordinator main, /), hint: '' },
    ]);
    written.stdout = '';
    const ill = await antipode('doctor', '--json', '--coordinator', file, '--agent', join(folder, 'missing.yaml'));
    expect(ill.code).toBe(1);
    const findings = JSON.parse(ill.stdout) as { check: string; ok: boolean; detail: string; hint: string }[];
    expect(findings.map(({ check }) => check)).toEqual([
      'coordinator configuration',
      'coordinator certificate',
      'coordinator key file',
      'coordinator data folder',
      'coordinator address',
      'coordinator clock',
      'postgres',
      'initdb',
      'redis-server',
      'setpriv',
      'agent configuration',
    ]);
    for (const { ok, hint } of findings) expect(hint !== '').toBe(!ok);
    expect(findings.at(-1)).toMatchObject({ ok: false });
  });
});

describe('a command line that is not valid', () => {
  it.each([
    ['an argument is missing', ['failover'], ["'group'"], 'failover'],
    ['an option is unknown', ['drill', 'run', 'payments', '--nope'], ['--nope'], 'drill run'],
    ['a number is none', ['drill', 'list', '--limit', 'x'], ['--limit', "'x'"], 'drill list'],
    ['a time is none', ['status', '--timeout', 'soon'], ['--timeout', "'soon'"], 'status'],
    ['a command is unknown', ['statu'], ["'statu'", 'status?'], ''],
  ])('is refused with the name of what is wrong and a hint where %s', async (_why, argv, named, path) => {
    const { code, stdout, stderr } = await antipode(...argv);
    expect([code, stdout]).toEqual([EXIT.usage, '']);
    const [message, hint] = stderr.split('\n');
    expect(message).toMatch(/^\[USAGE\] /);
    for (const name of named) expect(message).toContain(name);
    expect(hint).toBe(`  Run \`${`antipode ${path}`.trim()} --help\`.`);
    const { error } = JSON.parse((await antipode(...argv, '--json')).stderr.slice(stderr.length));
    expect([error.code, error.hint]).toEqual(['USAGE', hint!.trim()]);
  });

  it.each([12, 400])('does not repeat a token that was given as an argument, cut to %i characters', async (length) => {
    const token = `antipode-site-1.${'secret'.repeat(100)}`.slice(0, 'antipode-site-1.'.length + length);
    const { code, stdout, stderr } = await antipode('site', 'join', token, '--folder', folder);
    expect([code, stdout]).toEqual([EXIT.usage, '']);
    expect(stderr).toContain('must not be an argument');
    expect(stderr).not.toContain('secret');
  });

  it('shows its help where only a subcommand is missing', async () => {
    const { code, stderr } = await antipode('group');
    expect([code, stderr.split('\n')[0]]).toEqual([EXIT.usage, 'Usage: antipode group [options] [command]']);
  });
});
