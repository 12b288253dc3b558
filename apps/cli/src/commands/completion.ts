import { Argument, type Command, type Option } from 'commander';
import { command, subcommandsOf } from '../options/options.ts';

/** Words that may stand at one place of the command line. */
interface Place {
  /** Subcommands, options and the values of arguments that have a list of them. */
  readonly words: readonly string[];
  /** The values of options that take one; none where any text or a file is meant. */
  readonly values: ReadonlyMap<string, readonly string[]>;
}

function placeOf(one: Command): Place {
  const { options, registeredArguments } = one;
  const flagsOf = ({ long, short }: Option): string[] =>
    [long, short].filter((flag) => flag !== undefined && flag !== null);
  return {
    words: [
      ...subcommandsOf(one).map((child) => child.name()),
      ...registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
      ...options.map((option) => option.long ?? option.short ?? ''),
    ].filter((word) => word !== ''),
    values: new Map(
      options
        .filter(({ required, optional }) => required || optional)
        .flatMap((option) => flagsOf(option).map((flag) => [flag, option.argChoices ?? []] as const)),
    ),
  };
}

/** Every place, by the words that lead to it. */
function tree(root: Command, path = ''): Map<string, Place> {
  const all = new Map([[path, placeOf(root)]]);
  for (const child of root.commands)
    for (const [key, place] of tree(child, `${path} ${child.name()}`.trim())) all.set(key, place);
  return all;
}

/**
 * Unknown words are passed over, so that arguments and the values of options do not hide the command before them. Where
 * nothing is offered, bash completes file names (`-o default`), which is what most values are.
 */
function bash(root: Command): string {
  const cases = [...tree(root)].flatMap(([path, { words, values }]) => [
    ...[...values].map(([flag, choices]) => `      "${path}:${flag}") words="${choices.join(' ')}"; break ;;`),
    `      "${path}:"*) words="${words.join(' ')}"; break ;;`,
  ]);
  return `_antipode() {
  local path="" words="" word last="" before=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -* | =) ;; *) path="\${path:+$path }$word" ;; esac
    before="$last" last="$word"
  done
  case "$last" in -*) ;; =) last="$before" ;; *) last="" ;; esac
  while :; do
    case "$path:$last" in
${cases.join('\n')}
    esac
    case "$path" in *" "*) path="\${path% *}" ;; *) path="" ;; esac
  done
  word="\${COMP_WORDS[COMP_CWORD]}"
  [ "$word" != "=" ] || word=""
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _antipode antipode
`;
}

/** The bash completion inside zsh. Read from `~/.zshrc`, or put into a folder of `$fpath` as `_antipode`. */
function zsh(root: Command): string {
  return `#compdef antipode
autoload -U +X bashcompinit && bashcompinit
${bash(root)}# Loaded by the first use: zsh waits for the words of that use too.
if [ "\${funcstack[1]-}" = _antipode ]; then _bash_complete -o default -F _antipode; fi
`;
}

/** Passes over unknown words as bash does. Where nothing is offered, fish completes file names. */
function fish(root: Command): string {
  const words = (list: readonly string[]): string =>
    list.length === 0 ? 'return' : `printf '%s\\n' ${list.join(' ')}; return`;
  const cases = [...tree(root)].flatMap(([path, { words: all, values }]) => [
    ...[...values].map(([flag, choices]) => `      case '${path}:${flag}'\n        ${words(choices)}`),
    `      case '${path}:*'\n        ${words(all)}`,
  ]);
  return [
    'function __antipode_words',
    '  set -l words (commandline -opc)',
    '  set -e words[1]',
    "  set -l path ''",
    "  set -l last ''",
    '  for word in $words',
    '    set last $word',
    '    string match -q -- \'-*\' $word; or set path (string trim "$path $word")',
    '  end',
    "  string match -q -- '-*' $last; or set last ''",
    '  while true',
    '    switch "$path:$last"',
    ...cases,
    '    end',
    "    if string match -q -- '* *' $path",
    "      set path (string replace -r ' [^ ]*$' '' -- $path)",
    '    else',
    "      set path ''",
    '    end',
    '  end',
    'end',
    "complete -c antipode -n 'count (__antipode_words) > /dev/null' -f",
    "complete -c antipode -a '(__antipode_words)'",
    '',
  ].join('\n');
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** Also in the Debian package, which puts each where its shell looks. */
export function completionScript(shell: (typeof SHELLS)[number], root: Command): string {
  return { bash, zsh, fish }[shell](root);
}

export function completionCommand(root: () => Command): Command {
  return command('completion', 'print a completion script', [
    'completion bash > /etc/bash_completion.d/antipode',
    'completion zsh >> ~/.zshrc',
    'completion fish > ~/.config/fish/completions/antipode.fish',
  ])
    .addArgument(new Argument('<shell>', 'bash, zsh or fish').choices([...SHELLS]))
    .action((shell) => {
      process.stdout.write(completionScript(shell, root()));
    });
}
