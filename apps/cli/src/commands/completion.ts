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

export function completionCommand(root: () => Command): Command {
  return command('completion', 'print a completion script', [
    'completion bash > /etc/bash_completion.d/antipode',
    'completion zsh >> ~/.zshrc',
  ])
    .addArgument(new Argument('<shell>', 'bash or zsh').choices(['bash', 'zsh']))
    .action((shell) => {
      process.stdout.write(
        shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${bash(root())}` : bash(root()),
      );
    });
}
