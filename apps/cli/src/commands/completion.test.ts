import { spawnSync } from 'node:child_process';
import type { Command } from 'commander';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { program } from '../main.ts';
import { subcommandsOf } from '../options/options.ts';

let script = '';
const print = async (shell: string): Promise<string> => {
  let printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  await (await program()).parseAsync(['completion', shell], { from: 'user' });
  return printed;
};
beforeAll(async () => {
  script = await print('bash');
});
afterEach(() => void vi.restoreAllMocks());

/** The completions of bash for the last word of each command line. All in one shell. */
function offers(lines: readonly (readonly string[])[]): string[][] {
  const quoted = (word: string): string => `'${word}'`;
  const asks = lines.map(
    (words) =>
      `COMP_WORDS=(antipode ${words.map(quoted).join(' ')}); COMP_CWORD=${words.length}; _antipode; echo "\${COMPREPLY[*]}"`,
  );
  const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-u', '-c', `${script}\n${asks.join('\n')}`], {
    encoding: 'utf8',
    timeout: 5_000,
  });
  expect([status, stderr]).toEqual([0, '']);
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' ').filter((word) => word !== ''));
}
const offer = (...words: string[]): string[] => offers([words])[0]!;

/** Every command with the words that lead to it. */
function commands(one: Command, path: readonly string[] = []): { path: readonly string[]; command: Command }[] {
  return [{ path, command: one }, ...one.commands.flatMap((child) => commands(child, [...path, child.name()]))];
}

describe('completion in bash', () => {
  it('offers the subcommands and options of every command, and nothing else', async () => {
    const all = commands(await program()).filter(({ command }) => command.commands.length + command.options.length > 0);
    const offered = offers(all.map(({ path }) => [...path, '']));
    expect(offered).toEqual(
      all.map(({ command }) => [
        ...subcommandsOf(command).map((one) => one.name()),
        ...command.options.map(({ long }) => long),
      ]),
    );
  });

  it.each([
    [['re'], ['replicate', 'resolve']],
    [['scrub', 'r'], ['run']],
    [['failover', 'payments', '--d'], ['--dry-run']],
    [['failover', '--to', 'b', '--acc'], ['--accept-loss']],
    [['group', 'create', 'payments', '--member', 'a', '=', '1f', '--scra'], ['--scratch']],
    [['group', 'create', '--drill', '0 3 * * 0', '--rp'], ['--rpo']],
    [['group', 'sh'], ['show']],
    [['--json', 'drill', 'r'], ['run']],
    [['nonsense', 'sta'], ['status']],
    [['group', 'nonsense', 'li'], ['list']],
    [['status', 'x'], []],
  ])('completes %j to %j', (words, expected) => {
    expect(offer(...words)).toEqual(expected);
  });

  it('does not offer former names of commands', () => {
    expect(offer('partition', 'en')).toEqual([]);
    expect(offer('partition', 'enrol', '--scr')).toEqual(['--scratch-peer']);
  });

  it('is registered for the command', () => {
    const { stdout } = spawnSync('bash', ['--norc', '-c', `${script}\ncomplete -p antipode`], { encoding: 'utf8' });
    expect(stdout.trim()).toBe('complete -o default -F _antipode antipode');
  });

  it('offers the shells, and no command, where the name of a shell is expected', () => {
    expect(offer('completion', '')).toEqual(['bash', 'zsh', 'fish']);
  });

  it.each([
    ['status', '--config', ''],
    ['status', '--config', 'ope'],
    ['status', '--config', '=', 'ope'],
    ['group', 'show', 'payments', '-c', ''],
    ['doctor', '--agent', ''],
    ['init', 'site', '--pin-file', ''],
    ['failover', 'payments', '--to', ''],
  ])('leaves the value of an option to the completion of file names: %s %s', (...words) => {
    expect(offer(...words)).toEqual([]);
  });

  it('offers the values of an option that has a list of them', () => {
    expect(offer('group', 'create', 'payments', '--failover', '')).toEqual(['manual', 'automatic']);
    expect(offer('init', 'coordinator', '--timings', '=', 'w')).toEqual(['wan']);
  });

  it('goes on after the value of an option', () => {
    expect(offer('status', '--config', 'operator.yaml', '--')).toEqual([
      '--config',
      '--json',
      '--timeout',
      '--watch',
      '--every',
      '--output',
    ]);
  });
});

it('there is none for other shells', async () => {
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  await expect(print('powershell')).rejects.toMatchObject({ code: 'USAGE' });
});

describe('completion in fish', () => {
  it('offers what bash offers', async ({ skip }) => {
    skip(spawnSync('fish', ['--version']).status !== 0, 'fish is not installed');
    const fish = await print('fish');
    const offered = (line: string): string[] =>
      spawnSync('fish', ['--no-config', '-c', `${fish}\ncomplete -C '${line}'`], { encoding: 'utf8' })
        .stdout.split('\n')
        .map((one) => one.split('\t')[0] ?? '')
        .filter((one) => one !== '');
    expect(offered('antipode re')).toEqual(['replicate', 'resolve']);
    expect(offered('antipode scrub r')).toEqual(['run']);
    expect(offered('antipode completion ')).toEqual(expect.arrayContaining(['bash', 'zsh', 'fish']));
    expect(offered('antipode group create payments --failover ').sort()).toEqual(
      offer('group', 'create', 'p', '--failover', '').sort(),
    );
  });
});

describe('completion in zsh', () => {
  it('is that of bash, made to work there', async () => {
    const printed = await print('zsh');
    expect(printed).toMatch(/^#compdef antipode\n.*bashcompinit/);
    expect(printed).toContain(script);
  });

  const zsh = (commands: string) => spawnSync('zsh', ['-f', '-c', commands], { encoding: 'utf8', timeout: 10_000 });

  it('is registered by the script, read or loaded', async ({ skip }) => {
    skip(zsh('true').status !== 0, 'zsh is not installed');
    const registered = zsh(`autoload -U compinit && compinit -D\n${await print('zsh')}\necho $_comps[antipode]`);
    expect(registered.stderr).toBe('');
    expect(registered.stdout).toContain('_bash_complete');
  });
});
