import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { command } from './common.ts';

/** Words that may follow each command, as the command tree says. */
function tree(root: Command, path = ''): Map<string, string[]> {
  const words = [
    ...root.commands.map((child) => child.name()),
    ...root.options.map((option) => option.long ?? option.short ?? ''),
  ].filter((word) => word !== '');
  const all = new Map([[path, words]]);
  for (const child of root.commands)
    for (const [key, value] of tree(child, `${path} ${child.name()}`.trim())) all.set(key, value);
  return all;
}

function bash(root: Command): string {
  const cases = [...tree(root)].map(([path, words]) => `    "${path}") words="${words.join(' ')}" ;;`).join('\n');
  return `_antipode() {
  local path="" words="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  while :; do
    case "$path" in
${cases.replace(/^ {4}/gm, '    ')}
    esac
    [ -n "$words" ] || [ -z "$path" ] && break
    case "$path" in *" "*) path="\${path% *}" ;; *) path="" ;; esac
  done
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _antipode antipode
`;
}

export function completionCommand(root: () => Command): Command {
  return command('completion', 'print a completion script', [
    'completion bash > /etc/bash_completion.d/antipode',
    'completion zsh >> ~/.zshrc',
  ])
    .argument('<shell>', 'bash or zsh')
    .action((shell) => {
      if (shell !== 'bash' && shell !== 'zsh')
        throw new AntipodeError('USAGE', `no completion for "${shell}", expected bash or zsh`, {
          details: { field: 'shell' },
        });
      process.stdout.write(
        shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${bash(root())}` : bash(root()),
      );
    });
}
