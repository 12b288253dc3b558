import { CATALOGUE, type Disposition } from '../packages/runtime/src/errors.ts';
import { wrap } from './wrap.ts';

const DISPOSITIONS: Record<Disposition, string> = {
  retry: 'Transient. Antipode tries again by itself, more and more slowly, up to a limit.',
  'stand-down': 'The caller has a stale view. It stops at once. Nothing needs to be done.',
  operator: 'A person must decide. The work is parked until then.',
  defect: 'An invariant broke. The process logs it and ends. Its supervisor starts it again. Please report it.',
};

const CALLS = wrap(
  [
    'An error of a command whose call failed at a coordinator or an agent also names that call:',
    '`Call 5f0c7a1be2d94803: search the log of coordinator main for it.`',
    'In `--json` the id is `callId` in the details. The log of that process has a line with the id',
    '(`journalctl -u antipode-coordinator -g 5f0c7a1be2d94803`). An error without such a line is in no log of another',
    'process: no server was reached, or it is of an earlier release, or it writes no lines of level `info`. A caller gets',
    '60 such lines a minute. Failures of an operation are in the log under the id of the operation.',
  ].join(' '),
);

/** `docs/errors.md`: the catalogue for people, by what is to be done. */
export function errorDocs(): string {
  const sections = (Object.keys(DISPOSITIONS) as Disposition[]).map(section);
  return `<!-- Generated from packages/runtime/src/errors.ts by \`npm run generate\`. Do not edit. -->

# Errors

Every error has a stable code. A message starts with it in brackets, and it is \`code\` in \`--json\`. A code is never
reused for something else. An error never shows a PIN, a key label or key material. The exit status of each code is in
[docs/cli.md](cli.md#exit-status).

${CALLS}

${sections.join('\n\n')}
`;
}

function section(disposition: Disposition): string {
  const entries = Object.entries(CATALOGUE)
    .filter(([, entry]) => entry.disposition === disposition)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, { summary, hint }]) => [`### ${code}`, wrap(summary), wrap(`_What to do:_ ${hint}`)].join('\n\n'));
  return [`## ${disposition}`, wrap(DISPOSITIONS[disposition]), ...entries].join('\n\n');
}
