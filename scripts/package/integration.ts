/** The parts that the system reads: the command, units, users, folders, manual pages, completion, and the documents. */
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { completionScript, SHELLS } from '../../apps/cli/src/commands/completion.ts';
import { program } from '../../apps/cli/src/main.ts';
import { manualPages } from '../generate-manual-pages.ts';
import { HOME, place } from './stage.ts';

const DOCUMENTS = 'usr/share/doc/antipode';

/** Where the shells of Debian look. */
const COMPLETIONS = {
  bash: 'usr/share/bash-completion/completions/antipode',
  zsh: 'usr/share/zsh/vendor-completions/_antipode',
  fish: 'usr/share/fish/vendor_completions.d/antipode.fish',
} as const;

const COMMANDS = await program();

export function stageIntegration({
  root,
  target,
  bom,
  copyright,
  epochSeconds,
}: {
  root: string;
  target: string;
  bom: string;
  copyright: string;
  epochSeconds: number;
}): void {
  const command = join(target, 'usr/bin/antipode');
  mkdirSync(dirname(command), { recursive: true });
  symlinkSync(relative(dirname(command), join(target, HOME, 'bin/antipode')), command);
  place(readFileSync(join(root, 'packaging/antipode-site')), join(target, 'usr/sbin/antipode-site'), true);
  const systemd = join(root, 'packaging/systemd');
  for (const name of readdirSync(systemd).sort()) {
    const folder = name.endsWith('.service')
      ? 'usr/lib/systemd/system'
      : name === 'sysusers.conf'
        ? 'usr/lib/sysusers.d'
        : name === 'tmpfiles.conf'
          ? 'usr/lib/tmpfiles.d'
          : `${DOCUMENTS}/examples`;
    const installed = /^(sysusers|tmpfiles)\.conf$/.test(name) ? 'antipode.conf' : name;
    place(readFileSync(join(systemd, name)), join(target, folder, installed));
  }
  for (const [name, text] of manualPages(COMMANDS, epochSeconds))
    place(zipped(text), join(target, `usr/share/man/man1/${name}.1.gz`));
  for (const shell of SHELLS) place(completionScript(shell, COMMANDS), join(target, COMPLETIONS[shell]));
  place(copyright, join(target, DOCUMENTS, 'copyright'));
  place(zipped(bom), join(target, DOCUMENTS, 'antipode.cdx.json.gz'));
}

/** Node's zlib writes no time and no name. */
const zipped = (text: string): Buffer => gzipSync(text, { level: 9 });
